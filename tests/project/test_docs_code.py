"""Every block of code in the documentation runs, or says why not."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from .house import ROOT
from .public import EXAMPLE_NAMES
from .test_pages import PAGES

# Pages with tests of their own, which run them.
ELSEWHERE = {
    "README.md": "tests/project/test_readme.py",
    "docs/clusters.md": "tests/clusters/test_page.py",
    "docs/coming-from-pytorch.md": "tests/api/test_pytorch_page.py",
    "docs/distributed.md": "tests/distributed/test_mpi.py",
    "docs/explain.md": "tests/api/test_explain.py",
    "docs/fine-tuning.md": "tests/api/test_fine_tuning_page.py",
    "docs/mistakes.md": "tests/mistakes/test_mistakes.py",
    "docs/native-code.md": "tests/api/test_native_code_page.py",
    "docs/photographs.md": "tests/api/test_photographs_page.py",
    "docs/training.md": "tests/api/test_training_guide.py",
    **{
        f"docs/recipes/{path.name}": "tests/project/test_recipes.py"
        for path in (ROOT / "docs" / "recipes").glob("*.md")
    },
}
SLOW = {"docs/start.md"}
# A block with the comment before it that says why it is not run, and what it prints behind it.
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]+) -->\n\n?)?```python\n(?P<code>.*?)^```\n"
    r"(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """Code, what it prints (None where the page does not say), and why it is not run."""

    code: str
    output: str | None
    reason: str | None


def blocks(text: str) -> list[Block]:
    """The blocks of Python of a page."""
    return [Block(m["code"], m["output"], m["reason"]) for m in BLOCK.finditer(text)]


def run(name: str, text: str) -> None:
    """Run the blocks of a page one after the other, and compare what they print."""
    names: dict[str, object] = {**EXAMPLE_NAMES, "__name__": "page"}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for number, block in enumerate(blocks(text)):
        if block.reason:
            continue
        code = compile(block.code, f"{name}, block {number + 1}", "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        got = printed.getvalue()
        if block.output is not None:
            assert doctest.OutputChecker().check_output(block.output, got, flags), got
        else:
            assert not got.strip(), f"the page does not say that this is printed: {got}"


NAMES = {str(path.relative_to(ROOT)): path for path in PAGES}
WITH_CODE = [name for name, path in NAMES.items() if blocks(path.read_text(encoding="utf-8"))]
OWN = [name for name in WITH_CODE if name not in ELSEWHERE]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in OWN]
)
def test_the_code_of_the_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("CAUCE_TARGET", "CAUCE_GUARD"):  # put back afterwards, whatever the page does
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    run(name, NAMES[name].read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_run_elsewhere_is_named_there(name: str) -> None:
    assert name in NAMES
    assert (ROOT / ELSEWHERE[name]).is_file()


def test_every_block_is_found() -> None:
    for name, path in NAMES.items():
        text = path.read_text(encoding="utf-8")
        assert len(blocks(text)) == text.count("\n```python\n"), name


def test_a_page_that_prints_something_else_fails(tmp_path: Path) -> None:
    page = "a\n\n```python\nprint(1 + 1)\n```\n\n```text\n{}\n```\n"
    run("page", page.format("2"))
    run("page", page.format("..."))
    run("page", "a\n\n<!-- not run: it needs a printer -->\n```python\nprint(1)\n```\n")
    with pytest.raises(AssertionError, match="2"):
        run("page", page.format("3"))
    with pytest.raises(AssertionError, match="does not say"):
        run("page", "a\n\n```python\nprint(1)\n```\n")
