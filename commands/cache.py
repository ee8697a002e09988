"""List or clear the compiled code that is kept on disk from one run to the next.

It lies in CAUCE_CACHE_DIR, else in ~/.cache/cauce, and takes up at most 512 MiB; CAUCE_CACHE=0
switches it off. Nothing depends on it: what is removed is compiled again."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from ..backends.llvm.runtime.cache import Store, default_store
from . import output


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "action",
        nargs="?",
        default="list",
        choices=("list", "size", "clear"),
        help="print what is there (list), how many bytes it takes up (size), or remove it (clear)",
    )
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    store = default_store()
    files = store.files()
    total = sum(file.nbytes for file in files)
    if options.action == "clear":
        freed = store.clear()
        left = sum(file.nbytes for file in store.files())
        if options.json:
            output.emit({"folder": store.folder, "files": len(files), "freed": freed, "left": left})
        else:
            output.say(f"removed {len(files)} files, {output.nbytes_text(freed - left)}")
        return
    about = {
        "folder": store.folder,
        "problem": store.problem(),
        "limit": store.limit,
        "files": len(files),
        "bytes": total,
    }
    if options.action == "size":
        if options.json:
            output.emit(about)
        else:
            output.say(str(total))
        return
    entries = [_entry(store, *file, file.key) for file in sorted(files, reverse=True)]
    if options.json:
        output.emit({**about, "entries": entries})
        return
    if entries:
        rows = [
            (entry["name"], entry["target"], entry["used"], output.nbytes_text(entry["bytes"]))
            for entry in entries
        ]
        output.show_table(("network", "for", "last used", "size"), rows, names=3)
    place = store.folder or "no folder"
    output.say(f"{len(files)} files, {output.nbytes_text(total)} in {place}")
    if about["problem"]:
        output.say(f"nothing is kept: {about['problem']}")


def _entry(store: Store, used: int, nbytes: int, path: str, key: str | None) -> dict[str, Any]:
    """One file; its name and target are "" where it holds no code of this version."""
    from ..backends.llvm.abi import Artifact
    from ..ir.errors import CompileError

    name = target = ""
    blob = store.get(key, used=False) if key is not None else None
    if blob is not None:
        try:
            artifact = Artifact.from_bytes(blob)
            name, target = artifact.interface.name, artifact.target.name
        except CompileError:
            pass
    when = datetime.fromtimestamp(used / 1e9).astimezone().isoformat(" ", "seconds")
    return {"name": name, "target": target, "used": when, "bytes": nbytes, "path": path}
