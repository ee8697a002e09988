"""Writes the table of ops into the README: ``python -m tests.project.readme``."""

from __future__ import annotations

from cauce.support import support_table

from .house import ROOT

BEGIN, END = "<!-- ops -->\n", "<!-- end of ops -->"


def updated() -> str:
    """The README with the table as the registry has it now."""
    text = (ROOT / "README.md").read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{support_table()}\n{END}{after}"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(updated())
