"""Every public name is documented: shapes, dtypes, errors, and an example that runs."""

from __future__ import annotations

import doctest
import importlib
import io
import re
from pathlib import Path

import pytest

import cauce

from .house import ROOT
from .public import EXAMPLE_NAMES, SECTIONS, Public, error, everything
from .test_docs_code import ELSEWHERE, blocks

ALL = everything()
NAMES = [public.name for public in ALL]
# What has to do with texts, files and numbers alone.
WITHOUT_ARRAYS = {
    "cauce.training.Constant",
    "cauce.training.Cosine",
    "cauce.training.MultiStep",
    "cauce.training.OneCycle",
    "cauce.training.Step",
    "cauce.training.WarmUp",
    "cauce.training.epochs_to_steps",
    "cauce.CauceError",
    "cauce.CauceWarning",
    "cauce.training.Checkpoints",
    "cauce.training.EarlyStopping",
    "cauce.training.Epoch",
    "cauce.training.History",
    "cauce.training.plot_confusion",
    "cauce.training.plot_history",
    "cauce.nn.block",
    "cauce.nn.scope",
    "cauce.backends.profile.Profile",
    "cauce.comparison.NodeDifference",
    "cauce.viewing.View",
    "cauce.predicting.Ranking",
    "cauce.distributed.RayExecutor",
    "cauce.distributed.Report",
    "cauce.distributed.Result",
    "cauce.distributed.Share",
    "cauce.distributed.mpi",
    "cauce.ir.Cost",
    "cauce.ir.Frame",
    "cauce.ir.Location",
    "cauce.ir.Role",
}
# What needs more than Python: pages whose blocks the tests run where it is there.
ON_A_PAGE = {
    "cauce.distributed.RayExecutor": "clusters",
    "cauce.distributed.mpi": "distributed",
}
SHAPES = re.compile(
    r"(?i)\bshapes?\b|\[N|\[B|\[\.\.\.|\[C\]|\[out|\[K|\[end\]|\bscalars?\b|\bsizes?\b"
)
DTYPES = re.compile(
    r"(?i)\bdtypes?\b|floating-point|\bintegers?\b|\bints?\b|\bbools?\b|\b[fiu](8|16|32|64)\b"
    r"|\bfloats?\b|\bfloat64\b|\bint64\b|\bnumbers\b"
)
# Every layer takes them; nn says what they are.
OF_EVERY_LAYER = {"x", "name"}


TOP = [public for public in ALL if public.owner is None and public.name not in WITHOUT_ARRAYS]


def test_there_are_public_names() -> None:
    assert {"cauce.compile", "cauce.nn.conv2d", "cauce.models.resnet18", "cauce.Model.save"} <= set(
        NAMES
    )
    assert len(ALL) > 250


def test_all_have_a_docstring_and_an_example() -> None:
    silent = [public.name for public in ALL if not public.doc]
    assert not silent, "say what they do"
    without = [
        public.name
        for public in ALL
        if not public.example and not public.name.startswith(tuple(ON_A_PAGE))
    ]
    assert not without, "show how they are used: an example, in its docstring or that of its class"


@pytest.mark.parametrize(("name", "page"), ON_A_PAGE.items())
def test_the_example_of_others_is_on_a_page_that_runs(name: str, page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert f"docs/{page}.md" in ELSEWHERE
    assert f"{name}(" in "".join(block.code for block in blocks(text) if not block.reason)


def test_their_errors_are_said() -> None:
    unknown = {
        f"{public.name}: {name}"
        for public in ALL
        for name in public.documented_errors
        if error(name) is None
    }
    assert not unknown, "there are no such errors"
    left = set()
    for public in ALL:
        said = {error(name) for name in public.documented_errors}
        for name in public.raised:
            kind = error(name)
            if kind is not None and not said & set(kind.__mro__):
                left.add(f"{public.name}: {name}")
    assert not left, "they raise these, and do not say so"


def test_shapes_and_dtypes_are_said() -> None:
    said = {public.name: public.doc.partition("Examples:")[0] for public in TOP}
    assert not [name for name, text in said.items() if not SHAPES.search(text)]
    assert not [name for name, text in said.items() if not DTYPES.search(text)]


def test_every_parameter_is_said() -> None:
    left = []
    for public in TOP:
        said = public.doc.partition("Examples:")[0]
        known = OF_EVERY_LAYER if public.name.startswith(("cauce.nn.", "cauce.models.")) else ()
        left += [
            f"{public.name}: {name}"
            for name in public.parameters
            if name not in known and not re.search(rf"\b{name}\b", said)
        ]
    assert not left


# pytest runs the examples of functions and classes with the modules that they stand in.
NETWORKS = [public for public in ALL if isinstance(public.thing, cauce.Network)]


def test_pytest_finds_the_examples_of_all_others() -> None:
    found: dict[str, set[str]] = {}
    for public in ALL:
        if public in NETWORKS or ">>>" not in public.doc:
            continue
        home = public.thing.fget if isinstance(public.thing, property) else public.thing
        if home.__module__ not in found:
            module = importlib.import_module(home.__module__)
            tests = doctest.DocTestFinder(exclude_empty=True).find(module)
            found[home.__module__] = {test.name for test in tests if test.examples}
        assert f"{home.__module__}.{home.__qualname__}" in found[home.__module__], public.name
    assert sum(map(len, found.values())) > 150


@pytest.mark.parametrize("public", NETWORKS, ids=[public.name for public in NETWORKS])
def test_the_example_of_a_network_runs(
    public: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = dict(EXAMPLE_NAMES)
    test = doctest.DocTestParser().get_doctest(public.doc, names, public.name, None, None)
    assert test.examples
    output = io.StringIO()
    result = doctest.DocTestRunner(verbose=False).run(test, out=output.write)
    assert not result.failed, output.getvalue()


def test_sections_have_their_names() -> None:
    """What a generator of pages knows; another title would be a paragraph."""
    found = {
        title
        for public in ALL
        for title in re.findall(r"^([A-Z][a-z ]+):$", public.doc, re.MULTILINE)
    }
    assert found <= set(SECTIONS), found - set(SECTIONS)


def test_what_is_missing_would_be_found() -> None:
    def bare(x: object, other: object) -> None:
        raise cauce.ir.errors.ShapeError("no")

    def silent(x: object) -> None:
        """Do."""
        raise ValueError("no")

    assert not Public("bare", bare).doc
    assert Public("silent", silent).raised == {"ValueError"}
    assert not Public("silent", silent).documented_errors
    assert not Public("silent", silent).example
