"""What of cauce is public, and what its docstrings say."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import EnumType
from functools import cache
from types import FunctionType, GenericAlias, ModuleType, UnionType
from typing import Any

import numpy as np

import cauce
from cauce import distributed, ir, models, nn, training
from cauce.backends.executable import Executable
from cauce.backends.profile import Profile
from cauce.comparison import Comparison, NodeDifference
from cauce.explaining import Explained
from cauce.ir import errors
from cauce.ir.communicator import Communicator
from cauce.predicting import Ranking
from cauce.training_step import TrainState
from cauce.viewing import View

# What every example begins with; docs/reference/README.md says so.
EXAMPLE_NAMES: dict[str, Any] = {
    "cauce": cauce,
    "models": models,
    "nn": nn,
    "np": np,
    "training": training,
}
# What public functions give, though no public name makes it.
RESULTS = (
    *(Executable, Profile, TrainState, Comparison, NodeDifference),
    *(Explained, View, Ranking, Communicator),
)
SECTIONS = ("Args", "Attributes", "Class variables", "Examples", "Raises", "Returns", "Warns")


@dataclass(frozen=True)
class Public:
    """A public function, class, network, or a method or property of a public class."""

    name: str
    thing: Any
    owner: type | None = None

    @property
    def doc(self) -> str:
        """Its docstring, or what it inherits; empty where there is none of cauce's."""
        if isinstance(self.thing, type):
            # That of a dataclass without one is made of its fields.
            own = self.thing.__doc__ or ""
            return inspect.cleandoc("" if own.startswith(f"{self.thing.__name__}(") else own)
        return inspect.getdoc(self.thing) or ""

    @property
    def example(self) -> bool:
        """Whether it has an example, its own or in that of its class."""
        if ">>>" in self.doc:
            return True
        if self.owner is None:
            return False
        used = re.compile(rf"^\s*(?:>>>|\.\.\.) .*\.{self.short}\b", re.MULTILINE)
        return any(used.search(base.__doc__ or "") for base in self.owner.__mro__)

    @property
    def short(self) -> str:
        """Its name alone."""
        return self.name.rpartition(".")[2]

    @property
    def functions(self) -> list[FunctionType]:
        """What runs when it is called, made or read."""
        if isinstance(self.thing, type):
            made = (vars(self.thing).get(name) for name in ("__init__", "__post_init__"))
            found = [one for one in made if isinstance(one, FunctionType)]
        elif isinstance(self.thing, property):
            found = [self.thing.fget] if isinstance(self.thing.fget, FunctionType) else []
        elif isinstance(self.thing, cauce.Network):
            found = [self.thing.function]
        else:
            found = [self.thing]
        unwrapped = (inspect.unwrap(one) for one in found)
        return [one for one in unwrapped if "<string>" not in one.__code__.co_filename]

    def section(self, title: str) -> str:
        """The lines of a section of its docstring."""
        within = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)*)", self.doc, re.MULTILINE)
        return textwrap.dedent(within[1]) if within else ""

    @property
    def documented_errors(self) -> list[str]:
        """The names of the errors in its section of them."""
        heads = re.findall(r"^([A-Z]\w+(?:, [A-Z]\w+)*):", self.section("Raises"), re.MULTILINE)
        return [name for head in heads for name in head.split(", ")]

    @property
    def raised(self) -> set[str]:
        """The errors that it raises by itself, by name."""
        return {name for function in self.functions for name in _raised(function)}

    @property
    def parameters(self) -> list[str]:
        """What it takes, by name."""
        if isinstance(self.thing, (property, EnumType)):
            return []
        made = self.thing.function if isinstance(self.thing, cauce.Network) else self.thing
        return [name for name in inspect.signature(made).parameters if name not in ("self", "cls")]


@cache
def _raised(function: FunctionType) -> frozenset[str]:
    found = set()

    def visit(node: ast.AST, caught: frozenset[str]) -> None:
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name))) if name not in caught:
                found.add(name)
            case ast.Try(body=body, handlers=handlers):
                kinds = (kind for one in handlers if one.type for kind in ast.walk(one.type))
                names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
                for child in body:
                    visit(child, caught | names)
                body.clear()
        for child in ast.iter_child_nodes(node):
            visit(child, caught)

    visit(ast.parse(textwrap.dedent(inspect.getsource(function))), frozenset())
    return frozenset(found)


def error(name: str) -> type[BaseException] | None:
    """The error of that name, one of cauce's or of Python's."""
    found = getattr(errors, name, getattr(builtins, name, None))
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def top_level() -> Iterator[Public]:
    """Functions, classes and networks that a user can name."""
    for module, space in (
        ("cauce", cauce),
        ("cauce.nn", nn),
        ("cauce.models", models),
        ("cauce.training", training),
        ("cauce.distributed", distributed),
        ("cauce.ir", ir),
    ):
        for name in space.__all__:
            thing = getattr(space, name)
            # Types that stand for others, Array and Dim, can say nothing of themselves.
            named = not isinstance(thing, (ModuleType, str, GenericAlias, UnionType))
            if named and not (space is ir and name in cauce.__all__):
                yield Public(f"{module}.{name}", thing)
    for name, thing in vars(nn.init).items():
        own = isinstance(thing, FunctionType) and thing.__module__ == nn.init.__name__
        if own and thing.__name__ == name:
            yield Public(f"cauce.nn.init.{name}", thing)
    for result in RESULTS:
        yield Public(f"{result.__module__}.{result.__name__}", result)


def members(public: Public) -> Iterator[Public]:
    """The public methods and properties of a class, those that it inherits from cauce too."""
    for name in dir(public.thing):
        maker = next((base for base in public.thing.__mro__ if name in vars(base)), object)
        thing = inspect.getattr_static(public.thing, name)
        if isinstance(thing, (staticmethod, classmethod)):
            thing = thing.__func__
        if name.startswith("_") or not maker.__module__.startswith("cauce."):
            continue
        if isinstance(thing, (FunctionType, property)):
            yield Public(f"{public.name}.{name}", thing, public.thing)


def everything() -> list[Public]:
    """All that is public."""
    found = []
    for public in top_level():
        found.append(public)
        if isinstance(public.thing, type):
            found += members(public)
    return found
