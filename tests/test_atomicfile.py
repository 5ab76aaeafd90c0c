"""Tests that a file is replaced as a whole, with its mode and through links, and that a failure changes nothing."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from kqlmi import atomicfile
from kqlmi.errors import InputError
from kqlmi.session.connections import files

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes, named pipes or groups")
ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("data", [b"", b"new", b"a\r\nb\n\0", bytes(1 << 20)])
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("old", [None, b"", b"what was there before"])
def test_a_written_file_is_exact_and_alone(tmp_path: Path, data: bytes, *, private: bool, old: bytes | None) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    atomicfile.write(path, data, private=private)
    assert path.read_bytes() == data
    assert [*tmp_path.iterdir()] == [path]


@POSIX
@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
@pytest.mark.parametrize("old", [0o600, 0o640, 0o644, 0o660, 0o755, 0o2755])
def test_a_file_keeps_its_mode_and_a_private_one_only_its_owners_part(tmp_path: Path, old: int, mask: int) -> None:
    path, private = tmp_path / "file", tmp_path / "private"
    for one in (path, private):
        one.touch()
        one.chmod(old)
    with umask(mask):
        atomicfile.write(path, b"new")
        atomicfile.write(private, b"new", private=True)
    assert (mode(path), mode(private)) == (old, 0o600)


@POSIX
@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_a_new_file_has_the_users_usual_mode_and_a_private_one_never_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    seen, made = set(), os.open

    def opened(path: Path, *args: int) -> int:
        descriptor = made(path, *args)
        if Path(path).parent == tmp_path:
            seen.add(mode(Path(path)))
        return descriptor

    with umask(mask):
        atomicfile.write(tmp_path / "file", b"new")
        monkeypatch.setattr(os, "open", opened)
        atomicfile.write(tmp_path / "private", b"secret", private=True)
    assert mode(tmp_path / "file") == 0o666 & ~mask
    assert seen == {0o600} == {mode(tmp_path / "private")}


@ROOT
def test_a_file_keeps_its_group_and_another_group_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o664)
    os.chown(path, -1, 4321)
    atomicfile.write(path, b"new")
    assert (path.stat().st_gid, mode(path)) == (4321, 0o664)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Not yours")

    monkeypatch.setattr(os, "fchown", refused)
    atomicfile.write(path, b"newer")
    assert (path.stat().st_gid, mode(path), path.read_bytes()) == (os.getegid(), 0o604, b"newer")


@POSIX
@pytest.mark.parametrize("old", [None, 0o600, 0o644])
@pytest.mark.parametrize("private", [False, True])
def test_links_are_kept_and_their_targets_written(tmp_path: Path, old: int | None, *, private: bool) -> None:
    folder, link, chain = tmp_path / "folder", tmp_path / "link", tmp_path / "chain"
    folder.mkdir()
    target = folder / "target"
    if old:
        target.touch()
        target.chmod(old)
    link.symlink_to("folder/target")
    chain.symlink_to(link)
    atomicfile.write(chain, b"new", private=private)
    assert (chain.readlink(), link.readlink()) == (link, Path("folder/target"))
    assert target.read_bytes() == b"new"
    assert [*folder.iterdir()] == [target]
    if private or old:
        assert mode(target) == (0o600 if private else old)


@POSIX
def test_links_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "lost").symlink_to("no/such/folder")
    for name in ("one", "lost"):
        with pytest.raises(InputError, match=rf"Cannot write '.*{name}': .+\. Specify another file\."):
            files.write(tmp_path / name, "new")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_symlink()) == ["lost", "one", "two"]


@POSIX
def test_a_pipe_or_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(pipe.read_bytes)
        files.write(pipe, "é")
        assert received.result() == b"\xc3\xa9"
    assert pipe.is_fifo()
    assert files.read(pipe) == b""  # a pipe is empty: reading would wait for a writer
    files.write(Path(os.devnull), "new")
    assert Path(os.devnull).is_char_device()


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    monkeypatch.setattr(os, "access", lambda _, wanted: wanted != os.W_OK)
    with pytest.raises(PermissionError):
        atomicfile.write(path, b"new")
    assert path.read_text() == "mine"


def test_a_folder_and_an_unreadable_file_are_refused_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"Cannot write .+: .+\. Specify another file\."):
        files.write(tmp_path, "new")
    assert files.read(tmp_path / "none") == b""
    (tmp_path / "file").write_bytes(b"\xff")
    assert files.read(tmp_path / "file") == b"\xff"

    def refused(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(InputError, match=r"Cannot read '.*file': Permission denied\. Specify another file\."):
        files.read(tmp_path / "file")


@POSIX
@pytest.mark.parametrize("private", [False, True])
def test_content_is_on_the_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> None:
    done: list[str] = []
    sync, move = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if Path(f"/dev/fd/{descriptor}").is_dir() else "file")
        sync(descriptor)

    def moved(source: Path, target: Path) -> Path:
        done.append("move")
        return move(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    atomicfile.write(tmp_path / "file", b"new", private=private)
    assert done == ["file", "move", "folder"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "step", [(os, "open"), (os, "fdopen"), (os, "fsync"), (Path, "replace")], ids=lambda step: step[1]
)
@pytest.mark.parametrize("old", [None, b"before"])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[object, str], error: BaseException, old: bytes | None
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)

    def failing(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*step, failing)
        with pytest.raises(type(error)):
            atomicfile.write(path, b"new")
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == ({} if old is None else {path: old})
