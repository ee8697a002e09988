"""The store of compiled code: what it keeps, what it refuses, and that it never gets in the way."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cauce.backends.llvm.runtime.cache import Store, default_folder, default_store

posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")


def digest(name: object) -> str:
    return hashlib.sha256(repr(name).encode()).hexdigest()


KEY, OTHER = digest("key"), digest("other")
BLOB = bytes(range(256)) * 3


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "deep" / "store")


def file_of(store: Store, key: str = KEY) -> Path:
    assert store.folder is not None
    (path,) = Path(store.folder).glob(f"{key}*")
    return path


def names(store: Store) -> set[str]:
    assert store.folder is not None
    return {path.name for path in Path(store.folder).iterdir()}


# ---- what it keeps -----------------------------------------------------------------------------


@pytest.mark.parametrize("blob", [b"", b"x", BLOB, bytes(2**20)], ids=len)
def test_a_blob_comes_back(store: Store, blob: bytes) -> None:
    assert store.get(KEY) is None
    store.put(KEY, blob)
    assert store.get(KEY) == blob
    assert store.get(OTHER) is None
    assert Store(store.folder).get(KEY) == blob


def test_the_last_put_counts(store: Store) -> None:
    store.put(KEY, b"old")
    store.put(KEY, b"new")
    assert store.get(KEY) == b"new"
    assert len(names(store)) == 1


def test_clear_removes_blobs_and_nothing_else(store: Store) -> None:
    store.put(KEY, BLOB)
    store.put(OTHER, BLOB)
    stranger = file_of(store).with_name("letter.txt")
    stranger.write_text("dear reader")
    store.clear()
    assert store.get(KEY) is None and names(store) == {"letter.txt"}
    store.put(KEY, BLOB)
    assert store.get(KEY) == BLOB


@pytest.mark.parametrize("key", ["", "../etc", "a/b", "ABCDEF0123", "short", KEY + "\n", "0" * 200])
def test_keys_are_digests(store: Store, key: str) -> None:
    for ask in (lambda: store.get(key), lambda: store.put(key, BLOB)):
        with pytest.raises(AssertionError, match="hexadecimal digest"):
            ask()


# ---- damage ------------------------------------------------------------------------------------


def test_truncated_files_are_misses_and_go(store: Store) -> None:
    store.put(KEY, BLOB)
    path = file_of(store)
    whole = path.read_bytes()
    for length in [*range(0, 160, 3), *range(160, len(whole), 41), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert store.get(KEY) is None, length
        assert not path.exists(), length
    path.write_bytes(whole)
    assert store.get(KEY) == BLOB


def test_longer_files_are_misses(store: Store) -> None:
    store.put(KEY, BLOB)
    path = file_of(store)
    path.write_bytes(path.read_bytes() + b"\0")
    assert store.get(KEY) is None


def test_any_flipped_bit_is_a_miss(store: Store) -> None:
    store.put(KEY, BLOB[:64])
    path = file_of(store)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert store.get(KEY) is None, place


def test_the_file_of_another_key_is_a_miss(store: Store) -> None:
    store.put(KEY, BLOB)
    store.put(OTHER, b"other")
    os.replace(file_of(store, OTHER), file_of(store))
    assert store.get(KEY) is None
    assert names(store) == set()


# ---- hostility ---------------------------------------------------------------------------------


@posix
def test_only_the_user_can_read_and_write(store: Store) -> None:
    before = os.umask(0)
    try:
        store.put(KEY, BLOB)
    finally:
        os.umask(before)
    path = file_of(store)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_files_that_others_may_write_are_refused(store: Store, mode: int) -> None:
    store.put(KEY, BLOB)
    path = file_of(store)
    path.chmod(mode)
    assert store.get(KEY) is None
    assert not path.exists()


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_folders_that_others_may_write_are_refused(store: Store, mode: int) -> None:
    store.put(KEY, BLOB)
    folder = file_of(store).parent
    folder.chmod(mode)
    assert store.get(KEY) is None
    store.put(OTHER, BLOB)
    store.clear()
    assert len(names(store)) == 1
    folder.chmod(0o755)
    assert store.get(KEY) == BLOB and store.get(OTHER) is None


@posix
def test_files_of_another_user_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, BLOB)
    mine = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: mine + 1)
        assert store.get(KEY) is None
        store.put(OTHER, BLOB)
    assert store.get(KEY) == BLOB and store.get(OTHER) is None
    real = os.fstat

    def foreign(descriptor: int) -> os.stat_result:
        fields = list(real(descriptor))
        fields[stat.ST_UID] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", foreign)  # the folder is ours, the open file is not
    assert store.get(KEY) is None


@posix
def test_links_are_not_followed(store: Store, tmp_path: Path) -> None:
    store.put(KEY, BLOB)
    path = file_of(store)
    away = tmp_path / "away"
    os.replace(path, away)  # a good file, of this user, but elsewhere
    path.symlink_to(away)
    assert store.get(KEY) is None
    assert not path.is_symlink() and away.exists()
    path.symlink_to(away)
    whole = away.read_bytes()
    store.put(KEY, b"new")  # takes the place of the link, not of what it leads to
    assert store.get(KEY) == b"new" and away.read_bytes() == whole


@posix
def test_what_is_no_file_is_a_miss(store: Store) -> None:
    store.put(KEY, BLOB)
    path = file_of(store)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert store.get(KEY) is None  # and nobody waits for a writer
    assert not path.exists()
    path.mkdir(mode=0o700)
    assert store.get(KEY) is None
    store.put(KEY, BLOB)
    assert store.get(KEY) is None
    assert names(store) == {path.name}


# ---- where nothing can be kept -----------------------------------------------------------------


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    place = tmp_path / "store"
    place.write_text("not a folder")
    for store in (Store(place), Store(place / "below")):
        store.put(KEY, BLOB)
        assert store.get(KEY) is None
        store.clear()
    assert place.read_text() == "not a folder"


def test_a_folder_that_cannot_be_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, BLOB)
    real = os.open

    def refusing(path: str, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, *rest)

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr(os, "utime", refuse)
    store.put(OTHER, BLOB)
    assert store.get(OTHER) is None
    assert store.get(KEY) == BLOB  # reading goes on


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(store: Store) -> None:
    store.put(KEY, BLOB)
    folder = file_of(store).parent
    folder.chmod(0o500)
    try:
        store.put(OTHER, BLOB)
        assert store.get(OTHER) is None and store.get(KEY) == BLOB
    finally:
        folder.chmod(0o700)


@posix
def test_a_full_disk(store: Store) -> None:
    import resource

    store.put(KEY, BLOB)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))  # writing more fails half-way
    try:
        store.put(KEY, bytes(5000))
        store.put(OTHER, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.get(KEY) == BLOB and store.get(OTHER) is None
    assert len(names(store)) == 1  # no draft is left over


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAUCE_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert default_folder() is None
    store = default_store()
    store.put(KEY, BLOB)
    assert store.get(KEY) is None
    store.clear()


# ---- the environment ---------------------------------------------------------------------------


def test_where_the_store_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CAUCE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("CAUCE_CACHE_DIR", raising=False)
    assert default_store().folder == str(tmp_path / ".cache" / "cauce")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert default_store().folder == str(tmp_path / ".cache" / "cauce")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_store().folder == str(tmp_path / "xdg" / "cauce")
    monkeypatch.setenv("CAUCE_CACHE_DIR", str(tmp_path / "own"))
    assert default_store().folder == str(tmp_path / "own")
    default_store().put(KEY, BLOB)
    assert default_store().get(KEY) == BLOB
    assert (tmp_path / "own").is_dir()


@pytest.mark.parametrize("value", ["0", "off", "OFF"])
def test_it_can_be_switched_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.delenv("CAUCE_CACHE", raising=False)
    monkeypatch.setenv("CAUCE_CACHE_DIR", str(tmp_path / "own"))
    default_store().put(KEY, BLOB)
    monkeypatch.setenv("CAUCE_CACHE", value)
    assert default_store().get(KEY) is None
    default_store().put(OTHER, BLOB)
    assert len(list((tmp_path / "own").iterdir())) == 1
    monkeypatch.setenv("CAUCE_CACHE", "1")
    assert default_store().get(KEY) == BLOB


# ---- the bound ---------------------------------------------------------------------------------


def age(store: Store, key: str, seconds: int) -> None:
    """Make a file as if it had last been used at that second."""
    os.utime(file_of(store, key), (seconds, seconds))


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    a, b, c, d = (digest(name) for name in "abcd")
    store = Store(tmp_path / "store", limit=3500)  # three of 1000 and their heads
    for second, key in enumerate((a, b, c)):
        store.put(key, bytes(1000))
        age(store, key, 1000 + second)
    assert len(names(store)) == 3
    assert store.get(a) is not None  # now b is the one that was not used for longest
    store.put(d, bytes(1000))
    assert [store.get(key) is not None for key in (a, b, c, d)] == [True, False, True, True]


def test_the_files_stay_below_the_limit(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit=5000)
    for i in range(40):
        store.put(digest(i), bytes(97 * i % 2000))
        assert store.get(digest(i)) is not None
        assert sum(path.stat().st_size for path in (tmp_path / "store").iterdir()) <= 5000


def test_a_new_blob_stays_whatever_the_clock_says(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit=1800)
    store.put(KEY, bytes(1000))
    age(store, KEY, 2**32 - 1)  # in the future
    store.put(OTHER, bytes(1000))
    assert store.get(OTHER) is not None and store.get(KEY) is None


def test_a_blob_beyond_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit=1000)
    store.put(KEY, bytes(500))
    store.put(OTHER, bytes(1000))
    assert store.get(OTHER) is None and store.get(KEY) == bytes(500)
    assert Store(tmp_path / "store", limit=400).get(KEY) is None


def test_what_dead_writers_left_goes_too(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit=3500)
    store.put(KEY, bytes(1000))
    path = file_of(store)
    draft = path.with_name(path.name + ".0123456789abcdef")
    draft.write_bytes(bytes(2000))
    stranger = path.with_name("letter.txt")
    stranger.write_bytes(bytes(9000))
    for old in (draft, stranger):
        os.utime(old, (1, 1))
    store.put(OTHER, bytes(1000))
    assert not draft.exists() and stranger.exists()
    assert store.get(KEY) is not None and store.get(OTHER) is not None


def test_removal_may_be_raced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store", limit=1800)
    store.put(KEY, bytes(1000))
    real: Callable[..., None] = os.unlink

    def twice(path: str) -> None:
        real(path)
        real(path)  # as if another process had just done the same

    monkeypatch.setattr(os, "unlink", twice)
    store.put(OTHER, bytes(1000))
    assert store.get(OTHER) is not None and store.get(KEY) is None


# ---- several at a time -------------------------------------------------------------------------


def pattern(key: str, length: int) -> bytes:
    return (key.encode() * (length // len(key) + 1))[:length]


def write_and_read(folder: str, seed: int, rounds: int) -> int:
    """Put and get in turn; the number of hits, or -1 after a blob that is not of its key."""
    store = Store(Path(folder), limit=60_000)
    hits = 0
    for i in range(rounds):
        key = digest((i * 7 + seed * 3) % 10)
        store.put(key, pattern(key, 1000 + 137 * ((i + seed) % 50)))
        wanted = digest((i + seed) % 10)
        found = store.get(wanted)
        if found is not None:
            hits += 1
            if found != pattern(wanted, len(found)):
                return -1
    return hits


def test_processes_write_and_read_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        hits = pool.starmap(write_and_read, [(str(tmp_path / "s"), i, 120) for i in range(3)])
    assert min(hits) > 0
    files = list((tmp_path / "s").iterdir())
    assert all(path.suffix == ".blob" for path in files)
    assert 0 < sum(path.stat().st_size for path in files) <= 60_000
