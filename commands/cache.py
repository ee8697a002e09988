"""List or clear what is kept on disk from one run to the next: compiled code, what ONNX files
became, and that graphs and sizes were found to be right.

It lies in CAUCE_CACHE_DIR, else in ~/.cache/cauce, and takes up at most 512 MiB; CAUCE_CACHE=0
switches it off. Nothing depends on it: what is removed is made again."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from ..backends.llvm.runtime.cache import default_store
from ..kept import Kept, kept
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
    entries = [_as_json(entry) for entry in kept(store)]
    if options.json:
        output.emit({**about, "entries": entries})
        return
    texts = ("name", "what", "target", "used")
    if entries:
        rows = [
            (*(entry[name] for name in texts), output.nbytes_text(entry["bytes"]))
            for entry in entries
        ]
        output.show_table(("network", "what", "for", "last used", "size"), rows, names=4)
    place = store.folder or "no folder"
    output.say(f"{len(files)} files, {output.nbytes_text(total)} in {place}")
    if about["problem"]:
        output.say(f"nothing is kept: {about['problem']}")


def _as_json(entry: Kept) -> dict[str, Any]:
    when = datetime.fromtimestamp(entry.file.used / 1e9).astimezone()
    return {
        "name": entry.name,
        "what": entry.what,
        "target": entry.target,
        "used": when.isoformat(" ", "seconds"),
        "bytes": entry.file.nbytes,
        "path": entry.file.path,
    }
