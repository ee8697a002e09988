"""Writes the pages that are made of the code itself: ``python -m tests.project.pages``.

The table of ops, the passes with the equations of their rules, and the reference, whose pages name
what the site fills in from docstrings.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

from cauce.ir.pass_manager import Pass, Repeat, Rewrite
from cauce.passes import pipelines
from cauce.support import support_table

from .house import ROOT, sources
from .public import Public, top_level

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
MADE = "<!-- Written by `make docs`. -->\n\n"
ROLE = re.compile(r":(?:func|class|meth|attr|mod|data):`~?([^`]+)`")


def code(text: str) -> str:
    """A docstring with roles as code, and one backtick around code."""
    return ROLE.sub(r"`\1`", text).replace("``", "`")


def prose(text: str) -> str:
    """A docstring as Markdown: a power is not the beginning of what is bold."""
    parts = re.split(r"(`[^`]*`)", code(text))
    return "".join(p if p.startswith("`") else p.replace("**", r"\*\*") for p in parts)


def filled(page: str, made: str) -> str:
    """A page of ``docs`` with what is made between the comments that have its name."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    begin, end = f"<!-- {page} -->\n", f"<!-- end of {page} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{made}{end}{after}"


# ---- ops ---------------------------------------------------------------------------------------


def ops() -> str:
    """The page of ops with the table as the registry has it now."""
    return filled("ops", f"{prose(support_table())}\n")


# ---- passes ------------------------------------------------------------------------------------

LISTED = ("SIMPLIFY", "CLEAN", "INFERENCE", "TRAINING", "FUSE", "PRIMITIVES")


def passes() -> str:
    """The page of passes with all of them as the code has them now."""
    made = "\n".join([*_pipelines(), *_passes()])
    return filled("passes", f"\n{made}\n")


def _pipelines() -> Iterator[str]:
    yield "## Pipelines\n"
    yield "| pipeline | passes, in order; those in brackets are repeated until nothing changes |"
    yield "|---|---|"
    for name in LISTED:
        yield f"| `{name}` | {_chain(getattr(pipelines, name))} |"
    yield ""


def _chain(passes: Iterable[Pass]) -> str:
    return ", ".join(
        f"({_chain(one.passes)})" if isinstance(one, Repeat) else f"[`{one.name}`](#{one.name})"
        for one in passes
    )


def _passes() -> Iterator[str]:
    for module in _modules("passes"):
        own = [
            thing
            for thing in vars(module).values()
            if inspect.isclass(thing)
            and issubclass(thing, Pass)
            and thing.__module__ == module.__name__
            and not thing.__name__.startswith("_")
        ]
        for number, found in enumerate(own):
            yield f"## {found.name}\n"
            place = module.__name__.removeprefix("cauce.").replace(".", "/")
            yield f"*`{found.__name__}` in `{place}.py`.* {prose(inspect.getdoc(found) or '')}\n"
            if not number and module.__doc__:
                yield f"{prose(inspect.cleandoc(module.__doc__))}\n"
            if issubclass(found, Rewrite):
                yield "```text"
                for rule in found.rules:
                    doc = code(inspect.getdoc(rule) or "")
                    yield f"{type(rule).__name__}:"
                    yield from (f"    {line}" if line else "" for line in doc.splitlines())
                yield "```\n"


def _modules(folder: str) -> Iterator[ModuleType]:
    for path in sources(folder):
        if path.name != "__init__.py":
            name = path.relative_to(ROOT).with_suffix("")
            yield importlib.import_module(f"cauce.{'.'.join(name.parts)}")


# ---- kernels -----------------------------------------------------------------------------------


def kernels() -> str:
    """The page of kernels with the files that write them, and their ops."""
    from cauce.backends.llvm.codegen import kernels as package
    from cauce.backends.llvm.registry import registered

    assert package  # which registers them
    of_module: dict[str, list[str]] = {}
    for op, known in registered().items():
        if op.__module__.startswith("cauce."):  # tests register ops of their own
            module = inspect.unwrap(known.emit).__module__
            of_module.setdefault(module, []).append(op.name)
    lines = []
    for module in _modules("backends/llvm/codegen/kernels"):
        names = ", ".join(f"`{name}`" for name in sorted(of_module.get(module.__name__, ())))
        lines.append(f"## {module.__name__.rpartition('.')[2]}.py\n")
        lines.append(f"{prose(inspect.cleandoc(module.__doc__ or ''))}\n")
        lines += [f"Ops: {names}.\n"] if names else []
    made = "\n".join(lines)
    return filled("kernels", f"\n{made}\n")


# ---- the reference -----------------------------------------------------------------------------

PAGES = {
    "cauce": ("cauce", "What `import cauce` gives: networks, training, running, files, graphs."),
    "nn": ("cauce.nn", "What networks are made of, with the names and defaults of PyTorch."),
    "init": ("cauce.nn.init", "How parameters get their first values."),
    "models": ("cauce.models", "Well-known networks, each with its source."),
    "training": ("cauce.training", "Data sets, augmentation, schedules, checkpoints, histories."),
    "distributed": ("cauce.distributed", "Several processes: images on workers, ranks that train."),
    "ir": (
        "cauce.ir",
        "The graph and what it is made of, for ops, passes and tools of your own. `Array` stands "
        "for a NumPy array, `Dim` for an int or a `DimExpr`; `cauce.ir.ops` holds "
        "[the ops](../ops.md).",
    ),
    "results": ("What calls return", "Classes that are not made by name: a call gives them."),
}
_HOMES = {"cauce": "cauce", "cauce.nn": "nn", "cauce.nn.init": "init"}
_HOMES |= {"cauce.models": "models", "cauce.training": "training"}
_HOMES |= {"cauce.distributed": "distributed", "cauce.ir": "ir"}


def reference() -> dict[Path, str]:
    """The pages of the reference: a heading for each module, a line for each name."""
    on_page: dict[str, list[Public]] = {page: [] for page in PAGES}
    for public in top_level():
        on_page[_HOMES.get(public.name.rpartition(".")[0], "results")].append(public)
    return {REFERENCE / f"{page}.md": _reference(page, on_page[page]) for page in PAGES}


def _reference(page: str, found: list[Public]) -> str:
    title, about = PAGES[page]
    shown = title if " " in title else f"`{title}`"
    lines = [f"# {shown}\n", f"{about}\n"]
    groups: dict[str, list[Public]] = {}
    for public in found:
        home = inspect.getmodule(_home(public))
        assert home is not None
        about = prose(inspect.cleandoc(home.__doc__ or "")).partition("\n\n")[0].replace("\n", " ")
        groups.setdefault(about.rstrip("."), []).append(public)
    for about, members in groups.items():
        if len(groups) > 1:
            lines.append(f"## {about.partition(':')[0].partition(';')[0]}\n")
        lines += [f"::: {public.name}\n" for public in sorted(members, key=lambda p: p.name)]
    return MADE + "\n".join(lines)


def _home(public: Public) -> object:
    return public.functions[0] if hasattr(public.thing, "function") else public.thing


# ---- writing -----------------------------------------------------------------------------------

WHOLE: dict[Path, Callable[[], str]] = {
    DOCS / "kernels.md": kernels,
    DOCS / "ops.md": ops,
    DOCS / "passes.md": passes,
}


def pages() -> dict[Path, str]:
    """Every page as it should be, by its path."""
    return {**{path: made() for path, made in WHOLE.items()}, **reference()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
