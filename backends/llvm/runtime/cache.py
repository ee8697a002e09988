"""A bounded store of byte blobs on disk: compiled code, kept from one process to the next.

The store is an optimisation and nothing depends on it: what cannot be read is a miss, what cannot
be written (a full disk, a read-only or missing home) is not kept, and neither is an error.

Machine code is loaded from here into the process, so what the files say must not be up to anybody
else. A digest in a file only finds damage, for whoever can write the file can write the digest.
What protects is the file system: the folder and each file must belong to this user and nobody
else may write to them. The file is asked once it is open, so that it cannot be exchanged between
the question and the reading, and links in the folder are not followed.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import time
from contextlib import suppress
from typing import NamedTuple

from ....ir.digest import digest

DEFAULT_LIMIT = 512 * 2**20

# What a file begins with: magic, version of this format, length of the key and of the blob, and
# the digest of the blob. The key and the blob follow.
_HEAD = struct.Struct("<8sIIQ32s")
_MAGIC = b"cauceobj"
_VERSION = 2

_SUFFIX = ".blob"
# A finished file, or one that a writer is at, or was at when it died: both count and are evicted.
_NAME = rf"[0-9a-f]{{8,128}}\{_SUFFIX}(\.[0-9a-f]+)?"

# Where the platform has it: links are not followed, and a pipe is not waited for.
_READ = os.O_RDONLY
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
for _name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
    _READ |= getattr(os, _name, 0)
    _WRITE |= getattr(os, _name, 0)
_READ |= getattr(os, "O_NONBLOCK", 0)


class Store:
    """Blobs by key in one folder; any number of threads and processes may use it at a time.

    A file appears whole, under its name, or not at all. Each says what it is: its key, its length
    and the digest of its contents are checked before a blob is given out; a file that fails is
    removed. Once the files exceed the limit, those used least recently are removed.

    Args:
        folder: where the files lie; :func:`default_folder` where None. It may be a link itself.
        limit: how many bytes the files may take up together; with 0 nothing is kept or found.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, limit: int = DEFAULT_LIMIT
    ) -> None:
        folder = default_folder() if folder is None else folder
        self.folder = None if folder is None else os.path.abspath(folder)
        self.limit = limit

    def get(self, key: str, *, used: bool = True) -> bytes | None:
        """The blob of a key, or None.

        Args:
            key: of the blob.
            used: whether this is a use, after which the blob is removed later than others.
        """
        path = self._path(key)
        if path is None or not self._trusted():
            return None
        try:
            descriptor = os.open(path, _READ)
        except OSError:
            if os.path.islink(path):
                _remove(path)
            return None
        try:
            blob = self._checked(descriptor, key)
        finally:
            os.close(descriptor)
        if blob is None:
            _remove(path)
            return None
        if used:
            with suppress(OSError):
                now = time.time_ns()
                os.utime(path, ns=(now, now))  # what was used last goes last
        return blob

    def put(self, key: str, blob: bytes) -> None:
        """Keep a blob under a key, in the place of an older one; where it cannot be, do nothing."""
        path = self._path(key)
        if path is None or self.folder is None or _HEAD.size + len(key) + len(blob) > self.limit:
            return
        with suppress(OSError):
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            if not self._trusted():
                return
            draft = f"{path}.{os.urandom(8).hex()}"
            try:
                with open(os.open(draft, _WRITE, 0o600), "wb") as file:
                    file.write(_head(key, blob))
                    file.write(blob)
                os.replace(draft, path)
            except OSError:
                _remove(draft)
            self._trim(path)

    def clear(self) -> int:
        """Remove all blobs; returns how many bytes they took up."""
        files = self.files()
        for file in files:
            _remove(file.path)
        return sum(file.nbytes for file in files)

    def problem(self) -> str | None:
        """Why nothing is kept or found here; None where nothing speaks against it."""
        if self.limit <= 0:
            return "it is switched off"
        if self.folder is None:
            return "there is no home folder to keep it in"
        if not os.path.exists(self.folder):
            return None  # it is made when something is kept
        if not self._trusted():
            return "it is no folder that this user owns and nobody else may write to"
        return None if os.access(self.folder, os.W_OK) else "its folder cannot be written"

    def _path(self, key: str) -> str | None:
        hexadecimal = 8 <= len(key) <= 128 and set(key) <= set("0123456789abcdef")
        assert hexadecimal, f"a key is a hexadecimal digest, not {key!r}"
        if self.folder is None or self.limit <= 0:
            return None
        return os.path.join(self.folder, key + _SUFFIX)

    def _trusted(self) -> bool:
        """Whether the folder is there and only this user can put files into it."""
        try:
            status = None if self.folder is None else os.stat(self.folder)
        except OSError:
            return False
        return status is not None and stat.S_ISDIR(status.st_mode) and _only_ours(status)

    def _checked(self, descriptor: int, key: str) -> bytes | None:
        """The blob in an open file, if all that the file says is true."""
        try:
            status = os.fstat(descriptor)
            plain = stat.S_ISREG(status.st_mode) and _only_ours(status)
            if not plain or status.st_size > self.limit:
                return None
            content = _read(descriptor, status.st_size)
        except OSError:
            return None
        start = _HEAD.size + len(key)
        blob = content[start:]
        return blob if content[:start] == _head(key, blob) else None

    def files(self) -> list[StoredFile]:
        """The files of the store, and only those: the folder may be used for other things."""
        files: list[StoredFile] = []
        if self.folder is None or not self._trusted():
            return files
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if re.fullmatch(_NAME, entry.name):
                    with suppress(FileNotFoundError):  # somebody else removed it
                        status = entry.stat(follow_symlinks=False)
                        files.append(StoredFile(status.st_mtime_ns, status.st_size, entry.path))
        return files

    def _trim(self, new: str) -> None:
        """Remove what was used least recently, but not the file just written, to fit the limit."""
        files = self.files()
        total = sum(file.nbytes for file in files)
        if total <= self.limit:
            return
        for file in sorted(files):
            if file.path != new:
                _remove(file.path)
                total -= file.nbytes
            if total <= self.limit:
                return


class StoredFile(NamedTuple):
    """A file of the store; the first in order is the one to be removed first.

    Attributes:
        used: when last, in nanoseconds since 1970.
        nbytes: its size.
        path: where it lies.
    """

    used: int
    nbytes: int
    path: str

    @property
    def key(self) -> str | None:
        """The key of its blob; None for one that a writer is at, or left behind."""
        name = os.path.basename(self.path)
        return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else None


def default_folder() -> str | None:
    """``CAUCE_CACHE_DIR``, or ``cauce`` in ``XDG_CACHE_HOME`` or in ``~/.cache``; None: no home."""
    chosen = os.environ.get("CAUCE_CACHE_DIR")
    if chosen:
        return chosen
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # XDG Base Directory Specification: others are to be ignored
        return os.path.join(shared, "cauce")
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache", "cauce") if os.path.isabs(home) else None


def default_store() -> Store:
    """The store of this user; ``CAUCE_CACHE=0`` (or ``off``) gives one that keeps nothing."""
    off = os.environ.get("CAUCE_CACHE", "").lower() in ("0", "off")
    return Store(limit=0 if off else DEFAULT_LIMIT)


def _head(key: str, blob: bytes) -> bytes:
    """All that stands before the blob of a key."""
    return _HEAD.pack(_MAGIC, _VERSION, len(key), len(blob), digest(blob)) + key.encode()


def _only_ours(status: os.stat_result) -> bool:
    """Whether this user is the owner and the only one who may write.

    With access control lists the bits of the group are their upper bound, so they are covered.
    A platform without user numbers is not asked.
    """
    if not hasattr(os, "geteuid"):
        return True
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid == os.geteuid() and not others


def _read(descriptor: int, size: int) -> bytes:
    """That many bytes, or fewer where the file ends before."""
    parts = []
    while size > 0 and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
