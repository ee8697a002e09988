"""The README says what is so."""

from __future__ import annotations

import re

from cauce.ir import registry
from cauce.support import support_table

from .house import ROOT
from .readme import updated


def test_the_table_of_ops_is_up_to_date() -> None:
    assert (ROOT / "README.md").read_text() == updated(), "run `make docs`"


def test_every_backend_supports_every_op() -> None:
    rows = support_table().splitlines()[2:]
    assert len(rows) == len(registry())
    assert not [row for row in rows if row.endswith("| no |") or "| no |" in row]


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_example_of_the_readme_runs() -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    text = code[1]
    # The demo and the examples train; here only what the README shows must work.
    body = text.replace("epochs=5, validate=test", "epochs=1, progress=False")
    assert body != text
    body = re.sub(r"^(model\.save|cauce\.export_onnx|model\.summary).*\n", "", body, flags=re.M)
    exec(compile(body, "README.md", "exec"), {})
