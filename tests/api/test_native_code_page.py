"""The page about native code runs as it stands, and shows what is printed."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from collections import Counter

import pytest

from cauce.backends.llvm.target import Target
from cauce.ir.errors import AttributeMistake
from tests.project.house import ROOT

PAGE = (ROOT / "docs" / "native-code.md").read_text(encoding="utf-8")
# A block of code with what it prints, if that stands right behind it.
CODE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)


def has_avx2() -> bool:
    with contextlib.suppress(AttributeMistake):
        return Target.host("avx2").name == "avx2"
    return False


def unnumbered(text: str) -> str:
    """Without the numbers of values and functions, which any change of an emitter moves."""
    return re.sub(r"(?<=%[vci]|l\.)\d+", "", text)


def shown(text: str, printed: str) -> bool:
    """Whether ``text`` is what was printed, with ``...`` for what is left out."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(unnumbered(text), unnumbered(printed), flags)


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    """What the code of the page defines; what it prints is as the page says."""
    if not has_avx2():
        pytest.skip("the page shows code for AVX2")
    names: dict[str, object] = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUCE_TARGET", "avx2")  # as the page does, but put back afterwards
        patch.delenv("CAUCE_GUARD", raising=False)
        blocks = CODE.findall(PAGE)
        assert len(blocks) == PAGE.count("```python") == 7
        for number, (block, expected) in enumerate(blocks):
            file = f"native-code.md, block {number + 1}"
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(block, file, "exec", dont_inherit=True), names)
            assert expected, block
            assert shown(expected, output.getvalue()), output.getvalue()
    return names


def test_the_page_prints_what_it_shows(names: dict[str, object]) -> None:
    assert "predict" in names


def test_the_innermost_loop_is_the_one_shown(names: dict[str, object]) -> None:
    """Registers and addresses are LLVM's choice; what is multiplied and loaded is not."""

    def counted(lines: str) -> Counter[str]:
        found = re.findall(r"vfmadd|vbroadcastss", lines)
        return Counter(found)

    (loop,) = re.findall(r"^```asm\n(.*?)^```", PAGE, re.M | re.S)
    predict: object = names["predict"]
    assembly: str = predict.code("assembly", "conv2")  # type: ignore[attr-defined]
    blocks = re.split(r"^\.L\w+:\n", assembly, flags=re.M)
    (innermost,) = [block for block in blocks if "vfmadd" in block]
    assert counted(innermost) == counted(loop) == {"vfmadd": 12, "vbroadcastss": 6}


def test_every_file_that_the_page_names_is_there() -> None:
    folder = ROOT / "backends" / "llvm"
    for name in set(re.findall(r"`([\w/]+\.py)`", PAGE)):
        assert (folder / name).is_file() or (ROOT / name).is_file(), name
