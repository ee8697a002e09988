"""Files: reading large ones, and writing so that a failure leaves the earlier file whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .errors import MissingFile, did_you_mean, need
from .machine import processors

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path


def _name(path: str | os.PathLike[str]) -> str:
    """A path as text; TypeMismatch for what cannot be one."""
    need(path, (str, os.PathLike), "a file is named by text or a Path", "write 'net.safetensors'")
    return os.fspath(path)


def existing(path: str | os.PathLike[str]) -> str:
    """The name of a file that is there.

    Raises:
        MissingFile: there is none.
    """
    name = _name(path)
    if os.path.isfile(name):
        return name
    from pathlib import Path

    file = Path(name)
    if file.is_dir():
        raise MissingFile(f"{file} is a folder, not a file", fix="give a file in it")
    beside = sorted(os.listdir(file.parent)) if file.parent.is_dir() else []
    raise MissingFile(
        f"there is no file {file}",
        fix=did_you_mean(
            file.name,
            beside,
            "check the name; a path without a folder counts from where Python was started",
        ),
    )


# Bytes that one thread reads: for fewer, another one does not pay. More threads than these are no
# faster, for memory is not.
_PART, _READERS = 2**25, 4


def read_into(file: BufferedReader, memory: memoryview) -> int:
    """Read what follows in a file, as ``file.readinto`` does; returns how many bytes that were.

    To copy what the system has of a file into fresh memory keeps a processor busy, so several
    threads read a large one.
    """
    count = min(len(memory) // _PART, _READERS, processors())
    if count < 2 or not hasattr(os, "preadv"):
        return file.readinto(memory)
    from threading import Thread

    start, bounds = file.tell(), [len(memory) * part // count for part in range(count + 1)]
    done = [0] * count

    def read(part: int) -> None:
        at, end = bounds[part], bounds[part + 1]
        with suppress(OSError):
            while at < end and (got := os.preadv(file.fileno(), [memory[at:end]], start + at)):
                at += got
        done[part] = at - bounds[part]

    threads = [Thread(target=read, args=(part,)) for part in range(1, count)]
    with suppress(RuntimeError):  # the system gives no more threads
        for thread in threads:
            thread.start()
    read(0)
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    if sum(done) == len(memory):
        return len(memory)
    file.seek(start)  # the same in one thread, which says what is wrong
    return file.readinto(memory)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside ``path``, which takes its place when the block ends well.

    The data reach the disk before the name does (fsync of the file, then of its folder), so that
    after a crash there is the old file or the new one, each of them whole. When the block fails,
    the temporary file is removed and ``path`` is as it was. As with a file that is written in
    place, a symbolic link stays and its target is replaced, and the permissions of an earlier file
    stay.

    Raises:
        MissingFile: there is no such folder, or ``path`` is one.
        OSError: the folder cannot be written, or the disk is full.
    """
    import tempfile
    from pathlib import Path

    target = resolved(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
        temporary.replace(target)
        _sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def resolved(path: str | os.PathLike[str]) -> Path:
    """The file that is written where ``path`` is named: links are followed.

    Raises:
        MissingFile: a folder or a device has the name, or there is no folder to write it in.
    """
    from pathlib import Path

    given = Path(_name(path))
    target = Path(os.path.realpath(given)) if given.is_symlink() else given
    if target.is_dir():
        raise MissingFile(
            f"{given} is a folder, not a file", fix="name a file in it, or another file"
        )
    if target.exists() and not target.is_file():
        raise MissingFile(
            f"{given} is a device or a pipe, not a file that another can replace",
            fix="write a file, and send that on",
        )
    if not target.parent.is_dir():
        blocking = next((p for p in target.parents if p.exists() and not p.is_dir()), None)
        raise MissingFile(
            f"there is no folder {target.parent} to write {target.name} in"
            + (f": {blocking} is a file" if blocking else ""),
            fix="choose another folder"
            if blocking
            else f"make it first: Path({str(target.parent)!r}).mkdir(parents=True)",
        )
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
