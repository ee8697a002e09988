"""The argument MODEL of the commands: a file, or a network as Python code names it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..frontends.model import Model

Shape = tuple[int | str, ...]

_MODEL = (
    "a file of Model.save (net.safetensors), an ONNX file (net.onnx), or a network as FILE.py:NAME "
    "or PACKAGE.MODULE:NAME (cauce.models:resnet18)"
)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The argument MODEL and what belongs to it."""
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    group = parser.add_argument_group("the model")
    group.add_argument(
        "--shape",
        metavar="[NAME=]SIZES",
        type=shape,
        action="append",
        default=[],
        help="the shape of an input, such as image=N,3,224,224; a network in Python needs it, in "
        "a file it puts numbers in the place of symbols",
    )
    group.add_argument(
        "--seed", type=int, default=0, help="of the first weights of a network in Python (0)"
    )
    group.add_argument(
        "--option",
        metavar="NAME=VALUE",
        type=_option,
        action="append",
        default=[],
        help="an option of a network in Python, such as classes=10",
    )


def add_run(parser: argparse.ArgumentParser, *, backend: str = "auto") -> None:
    """The options of commands that compile."""
    group = parser.add_argument_group("how it is compiled")
    group.add_argument("--backend", default=backend, help=f"auto, llvm or numpy ({backend})")
    group.add_argument(
        "--batch", type=count, help="a fixed size for the batch; any size where not given"
    )
    group.add_argument("--threads", type=count, help="how many; all processors where not given")
    group.add_argument(
        "--precision",
        choices=("strict", "default", "fast"),
        help="of native code, as in cauce.compile",
    )


def run_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The options of :func:`add_run` as arguments of ``cauce.compile``; those given alone."""
    names = ("backend", "batch", "threads", "precision")
    given = {name: getattr(options, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def count(text: str) -> int:
    """An argument that is a number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def amount(text: str) -> float:
    """An argument that is a finite number from 0 on."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return found


def size(text: str) -> tuple[str, int]:
    """``N=1`` as a name and a number."""
    name, _, number = text.partition("=")
    if not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is no size of a symbol: write it as N=1")
    return name, count(number)


def shape(text: str) -> tuple[str, Shape]:
    """``image=N,3,224,224`` as a name, "" where none is given, and sizes."""
    name, equals, sizes = text.rpartition("=")
    dims = tuple(_dim(dim.strip()) for dim in sizes.split(",")) if sizes else ()
    if not equals and not dims:
        raise argparse.ArgumentTypeError("a shape is written as image=N,3,224,224")
    return name, dims


def _dim(text: str) -> int | str:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    if text.isidentifier():
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is no size: a shape is written as image=N,3,224,224, with numbers from 1 on and "
        "names for sizes that stay open"
    )


def _option(text: str) -> tuple[str, Any]:
    import ast

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is no option: write it as classes=10")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value  # a text without quotes


# ---- reading -----------------------------------------------------------------------------------


def read_model(
    options: argparse.Namespace, *, shape: Shape | None = None, classes: int | None = None
) -> Model:
    """The model that the arguments name.

    Args:
        options: of the command line.
        shape: of the one input of a network in Python, where the options do not say it.
        classes: for its option ``classes``, likewise.

    Raises:
        MissingFile: there is no such file.
        CauceError: it holds no model, or the shapes do not fit it.
    """
    home, colon, name = options.model.rpartition(":")
    if colon and name.isidentifier() and not os.path.exists(options.model):
        return _from_code(home, name, options, shape, classes)
    if options.option:
        from ..ir.errors import AttributeMistake

        raise AttributeMistake(
            f"{options.model} is a file: its network is made, and takes no options",
            fix="leave out --option",
        )
    _check_exists(options.model)
    if options.model.lower().endswith(".onnx"):
        return _from_onnx(options)
    from ..loading import load

    return _with_shapes(load(options.model), options)


def closed_model(
    options: argparse.Namespace, *, shape: Shape | None = None, classes: int | None = None
) -> Model:
    """The same for commands that need the graph.

    Raises:
        GraphError: a model that has one graph for each size of some inputs, which are not given.
    """
    model = read_model(options, shape=shape, classes=classes)
    from ..frontends.open_model import OpenModel

    if isinstance(model, OpenModel):
        from ..ir.errors import GraphError

        taken = " ".join(
            f"--shape {value.name}={_sizes(value.type.shape)}" for value in model.inputs
        )
        raise GraphError(
            f"{model.name} has one graph for each {model.needs}, so a size must be given",
            fix=f"add {taken}, with numbers for what the graph depends on",
        )
    return model


def _sizes(dims: tuple[object, ...]) -> str:
    return ",".join(str(dim).replace(" ", "") for dim in dims)


def _check_exists(path: str) -> None:
    """Raise MissingFile where a file is not there; what names no network of a module is told how.

    Raises:
        MissingFile: there is no such file.
        DataError: a file of Python.
    """
    from ..ir.errors import DataError, MissingFile

    if not path:
        raise MissingFile("the name of the model is empty", fix="give a file, or net.py:resnet18")
    if os.path.isfile(path) and path.lower().endswith(".py"):
        raise DataError(
            f"{path} is a file of Python, which may hold several networks",
            fix=f"name the one: {path}:resnet18, with its name in the place of resnet18",
        )
    if os.path.exists(path):
        return
    from ..ir.files import existing

    parts = path.split(".")
    if len(parts) > 1 and all(part.isidentifier() for part in parts) and _is_module(path):
        raise MissingFile(
            f"{path} is a module, not a model", fix=f"name a network in it: {path}:resnet18"
        )
    if path.isidentifier():
        from .. import models

        if path in models.__all__:
            raise MissingFile(
                f"there is no file {path}",
                fix=f"name the network by its module: cauce.models:{path}",
            )
    existing(path)


def _is_module(name: str) -> bool:
    from importlib import util

    try:
        return util.find_spec(name) is not None
    except (ImportError, AttributeError, ValueError):
        return False


def _from_onnx(options: argparse.Namespace) -> Model:
    from ..importing import load_onnx

    if not options.shape:
        return load_onnx(options.model)
    if all(name for name, _ in options.shape):
        return load_onnx(options.model, inputs=dict(options.shape))
    from ..frontends.onnx.importer import OnnxFile
    from ..frontends.onnx.reading import read

    _, inputs, _ = OnnxFile(read(options.model)).interface({})
    return load_onnx(options.model, inputs=_named(options, [value.name for value in inputs]))


def _named(options: argparse.Namespace, inputs: list[str]) -> dict[str, Shape]:
    """The given shapes by the names of inputs.

    Raises:
        GraphError: a name that no input has, or none where there are several inputs.
    """
    from ..ir.errors import GraphError, did_you_mean

    found: dict[str, Shape] = {}
    for name, sizes in options.shape:
        if not name and len(inputs) != 1:
            raise GraphError(
                f"--shape {_sizes(sizes)} is for one of the {len(inputs)} inputs "
                f"{', '.join(inputs)}",
                fix="say for which: " + " ".join(f"--shape {name}=..." for name in inputs[:3]),
            )
        if name and name not in inputs:
            raise GraphError(
                f"--shape {name}={_sizes(sizes)} is for an input that {options.model} has not",
                fix=did_you_mean(name, inputs, f"it takes {', '.join(inputs)}"),
            )
        found[name or inputs[0]] = sizes
    return found


# ---- networks in Python ------------------------------------------------------------------------


def _from_code(
    home: str, name: str, options: argparse.Namespace, shape: Shape | None, classes: int | None
) -> Model:
    from ..frontends.model import Model
    from ..frontends.network import Network, network
    from ..ir.errors import GraphError, TypeMismatch, did_you_mean, shown

    module = _module(home)
    found = getattr(module, name, None)
    if found is None:
        known = [key for key, value in vars(module).items() if isinstance(value, (Network, Model))]
        raise GraphError(
            f"{home} has nothing called {name!r}",
            fix=did_you_mean(name, known, f"it has {', '.join(known) or 'no networks'}"),
        )
    if isinstance(found, Model):
        return _with_shapes(found, options)
    if not callable(found):
        raise TypeMismatch(
            f"{options.model} is {shown(found)}, not a network",
            fix="name a function of tensors, decorated with @cauce.network",
        )
    made = found if isinstance(found, Network) else network(found)
    shapes, given = _named(options, made.inputs), dict(options.option)
    if shape is not None and not shapes and len(made.inputs) == 1:
        shapes = {made.inputs[0]: shape}
    if classes is not None and "classes" in made.options:
        given.setdefault("classes", classes)
    missing = [input_ for input_ in made.inputs if input_ not in shapes]
    if missing:
        raise GraphError(
            f"{options.model} needs the shape of {', '.join(missing)}",
            fix="add "
            + " ".join(f"--shape {input_}=N,3,224,224" for input_ in missing)
            + ", with the sizes of yours; a name is a size that stays open",
        )
    with _code_of_the_user(f"{options.model} cannot be made"):
        return made.init(seed=options.seed, **shapes, **given)


def _module(home: str) -> Any:
    """A module by its name or by its file; what it prints goes to stderr."""
    from importlib import import_module, util

    from ..ir.errors import MissingFile
    from ..ir.files import existing

    if home.endswith(".py"):
        path = os.path.abspath(existing(home))
        sys.path.insert(0, os.path.dirname(path))  # as `python net.py` does
        name = os.path.splitext(os.path.basename(path))[0]
        spec = util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None  # it ends in .py
        module = util.module_from_spec(spec)
        sys.modules[name] = module
        with _code_of_the_user(f"{home} cannot be imported"):
            spec.loader.exec_module(module)
        return module
    if not all(part.isidentifier() for part in home.split(".")):
        raise MissingFile(
            f"{home!r} is neither a Python file nor a module",
            fix="write net.py:resnet18, or cauce.models:resnet18",
        )
    sys.path.append(os.getcwd())
    if not _is_module(home):
        raise MissingFile(
            f"there is no module {home}: No module named {home!r}",
            fix="check the name; modules are looked for where packages are installed, and in the "
            f"folder that this is called in. A file is named with its ending: {home}.py:NAME",
        )
    with _code_of_the_user(f"{home} cannot be imported"):
        return import_module(home)


@contextmanager
def _code_of_the_user(what: str) -> Iterator[None]:
    """What fails in code of the user's is an error at the line where it did.

    ``CAUCE_FULL_TRACEBACK=1`` lets it through.
    """
    from ..ir.errors import CauceError, GraphError
    from ..ir.location import Frame, Location, is_library
    from ..ir.tracebacks import SWITCH

    try:
        with redirect_stdout(sys.stderr):
            yield
    except CauceError:
        raise
    except (Exception, SystemExit) as error:
        if os.environ.get(SWITCH):
            raise
        frames, traceback = [], error.__traceback__
        while traceback is not None:
            file = traceback.tb_frame.f_code.co_filename
            if not is_library(file):
                frames.append(Frame(file, traceback.tb_lineno))
            traceback = traceback.tb_next
        if isinstance(error, SyntaxError) and error.filename and error.lineno:
            frames = [Frame(error.filename, error.lineno)]
        raise GraphError(
            f"{what}: {type(error).__name__}: {error}",
            fix=f"mend it; {SWITCH}=1 in the environment shows the whole traceback",
            loc=Location(tuple(frames)) if frames else None,
        ) from error


# ---- shapes of models that are made ------------------------------------------------------------


def _with_shapes(model: Model, options: argparse.Namespace) -> Model:
    """The model with sizes in the place of symbols, where shapes are given."""
    if not options.shape:
        return model
    from ..ir import Role

    inputs = {value.name: value for value in model.graph.inputs_with(Role.DATA)}
    sizes: dict[str, int] = {}
    for name, given in _named(options, list(inputs)).items():
        _learn(name, inputs[name].type.shape, given, sizes)
    from ..sizes import with_sizes

    return with_sizes(model, sizes)


def _learn(name: str, dims: tuple[Any, ...], given: Shape, sizes: dict[str, int]) -> None:
    """Add the sizes of symbols that a given shape tells.

    Raises:
        ShapeError: it does not fit.
    """
    from ..ir.dims import solve
    from ..ir.errors import ShapeError

    fits = len(dims) == len(given) and all(
        solve(dim, size, sizes) is not False if isinstance(size, int) else str(dim) == size
        for dim, size in zip(dims, given)
    )
    if not fits:
        raise ShapeError(
            f"--shape {name}={_sizes(given)} does not fit: {name} is [{', '.join(map(str, dims))}]",
            fix="give numbers for its symbols alone",
        )
