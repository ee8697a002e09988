"""Pages that are made of the code are up to date; links lead somewhere; nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cauce.ir import registry
from cauce.support import support_table

from .house import ROOT
from .pages import pages
from .public import top_level

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
MADE = pages()


@pytest.mark.parametrize("path", MADE, ids=[str(path.relative_to(ROOT)) for path in MADE])
def test_a_page_made_of_the_code_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == MADE[path], "run `make docs`"


def test_every_backend_supports_every_op() -> None:
    rows = support_table().splitlines()[2:]
    assert len(rows) == len(registry())
    assert not [row for row in rows if row.endswith("| no |") or "| no |" in row]


def test_every_public_name_is_in_the_reference_once() -> None:
    named = [
        name
        for page in (ROOT / "docs" / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert sorted(named) == sorted(public.name for public in top_level())


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_site_and_the_list_of_pages_have_every_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    reference = ROOT / "docs" / "reference"
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        assert f": {name}\n" in navigation, f"{name} is not in the nav of mkdocs.yml"
        if ROOT / "docs" in page.parents and reference not in page.parents:
            short = str(page.relative_to(ROOT / "docs"))
            assert short == "README.md" or f"]({short})" in listed, f"docs/README.md lacks {short}"


@pytest.mark.slow
def test_the_picture_is_what_the_script_draws() -> None:
    import importlib.util

    script = ROOT / "docs" / "images" / "residual_block.py"
    spec = importlib.util.spec_from_file_location("residual_block", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PICTURE.read_text(encoding="utf-8") == module.picture()
