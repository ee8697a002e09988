"""Files take the place of others whole, with name, link and permissions; large ones are read."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce.ir import files
from cauce.ir.errors import MissingFile
from cauce.ir.files import existing, read_into, replacing

posix = pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")


def write(path: Path, content: bytes) -> None:
    with replacing(path) as beside:
        beside.write_bytes(content)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    target, link, second = tmp_path / "runs" / "a", tmp_path / "latest", tmp_path / "newest"
    target.write_bytes(b"old")
    link.symlink_to("runs/a")
    second.symlink_to(link)
    write(second, b"new")
    assert link.is_symlink() and second.is_symlink() and not target.is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "latest", "newest", "runs"]


@posix
def test_a_link_to_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("later")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "later").read_bytes() == b"new"
    (tmp_path / "lost").symlink_to("nowhere/later")
    with pytest.raises(MissingFile, match=r"there is no folder .*nowhere to write later in"):
        write(tmp_path / "lost", b"new")


@posix
@pytest.mark.parametrize("bits", [0o600, 0o640, 0o664])
def test_the_permissions_of_a_file_stay(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(bits)
    write(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", bits)


@posix
def test_a_new_file_has_those_that_the_system_gives(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write(tmp_path / "a", b"new")
    assert mode(tmp_path / "a") == mode(tmp_path / "plain")


@posix
def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(MissingFile, match="is a device or a pipe"):
        write(pipe, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="is a folder, not a file"):
        write(tmp_path, b"new")
    with pytest.raises(MissingFile, match="is a folder, not a file"):
        existing(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    """Making the folder, which helps elsewhere, would not help here."""
    (tmp_path / "runs").write_bytes(b"")
    with pytest.raises(MissingFile, match="runs is a file") as caught:
        write(tmp_path / "runs" / "first" / "a", b"new")
    assert caught.value.fix == "choose another folder"


@pytest.mark.parametrize("what", ["save", "export", "history"])
def test_everything_that_writes_refuses_a_folder(tmp_path: Path, what: str) -> None:
    @cauce.network
    def net(image):  # type: ignore[no-untyped-def]
        return cauce.nn.linear(cauce.nn.flatten(image), 2)

    model = net.init(image=("N", 1, 2, 2))
    path = tmp_path / "curves.csv"
    path.mkdir()
    with pytest.raises(MissingFile, match="is a folder, not a file"):
        if what == "save":
            model.save(path)
        elif what == "export":
            cauce.export_onnx(model, path)
        else:
            cauce.training.History().save(path)


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="one thread reads without it")
@pytest.mark.parametrize("size", [0, 63, 64, 1000])
@pytest.mark.parametrize("broken", ["nothing", "reading", "ends", "threads"])
def test_a_large_file_is_read_by_several_threads(
    size: int, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PART", 16)
    monkeypatch.setattr(files, "processors", lambda: 8)
    content = np.random.default_rng(size).bytes(size + 5)
    path = tmp_path / "data"
    path.write_bytes(content)
    real, parts = os.preadv, set()

    def reading(descriptor: int, buffers: list[memoryview], at: int) -> int:
        parts.add(at)
        if broken == "reading":
            raise OSError
        return real(descriptor, [buffers[0][:7]], at) if broken == "nothing" else 0

    def starting(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "preadv", reading)
    if broken == "threads":
        monkeypatch.setattr(threading.Thread, "start", starting)
    for room in (size, size + 3):
        memory = bytearray(room)
        with path.open("rb") as file:
            assert file.read(5) == content[:5]
            assert read_into(file, memoryview(memory)) == size
        assert memory[:size] == content[5:]
    assert not parts or size >= 63
