"""An earlier revision of cauce beside the code at hand."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A folder with the project as it was at ``revision``, as git names it; gone at the end."""
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "earlier"
        add = [*git, "worktree", "add", "-q", "--detach", str(root), revision]
        subprocess.run(add, check=True)
        try:
            yield root
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(root)], check=True)
