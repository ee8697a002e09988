"""Builds the documentation as a site: ``python docs/site/build.py``; ``--serve`` shows it.

The source of the site mirrors the checkout, so that a link between files is right in both: pages,
and whatever else they link to. It is made anew in ``build/site-source``; the site lies in
``build/site``. Any warning is an error: a link that leads nowhere, a name without a docstring, a
page that the navigation does not have.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "build" / "site-source"
PAGES = ("*.md", "docs/**/*.md", "benchmarks/README.md")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    """The pages of the site, as they lie in the checkout."""
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def linked(page: Path) -> set[Path]:
    """The files that a page links to, other pages among them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = {(page.parent / link).resolve() for link in LINK.findall(text)}
    return {path for path in found if path.is_file()}


def gather() -> None:
    """Make the source of the site."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    files = {path for page in pages() for path in linked(page)} | set(pages())
    for path in sorted(files):
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--serve", action="store_true", help="show it at http://127.0.0.1:8000")
    options = parser.parse_args()
    gather()
    command = ["serve"] if options.serve else ["build", "--strict"]
    return subprocess.call([sys.executable, "-m", "mkdocs", *command], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
