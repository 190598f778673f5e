"""Claims about files: whole or not at all, one hash, one holder of a lock."""

import errno
import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from index.errors import IndexLocked
from index.files import (
    NotRegular,
    atomic_write,
    exclusive_lock,
    fsync_tree,
    link_or_copy,
    open_regular,
    replace_folder,
    require_regular,
    sha256_file,
)

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from index.files import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "held by {}".format):
    print("held", flush=True)
    sys.stdin.read()
"""


def busy(holder: str) -> str:
    return f"busy: {holder}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 5000)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(bytes(range(256)) * 5000).hexdigest()
    with pytest.raises(FileNotFoundError):
        sha256_file(tmp_path / "none")


SPECIAL = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_before_it_is_opened(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    SPECIAL[kind](path)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    for read in (require_regular, open_regular, sha256_file):
        with pytest.raises(NotRegular, match=f"is {kind}, not a file"):
            read(path)


def test_a_fifo_that_takes_the_place_of_a_file_is_refused_when_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr("index.files.require_regular", lambda path: None)
    with pytest.raises(NotRegular, match="is a FIFO"):
        open_regular(tmp_path / "fifo")


def test_a_regular_file_is_opened_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"bytes"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_written_file_takes_its_place_on_the_disk_and_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed, replace = tmp_path / "file", set(), os.replace
    path.write_text("old")

    def check(source: Path, target: Path) -> None:
        assert Path(source).stat().st_ino in flushed
        assert path.read_text() == "old"
        replace(source, target)

    monkeypatch.setattr(os, "fsync", lambda handle: flushed.add(os.fstat(handle).st_ino))
    monkeypatch.setattr(os, "replace", check)
    with atomic_write(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(error), atomic_write(tmp_path / "file") as partial:
        partial.write_text("half")
        raise error
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_second_name_is_a_link_or_where_the_disk_has_none_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_text("content")
    link_or_copy(source, tmp_path / "below" / "linked")
    assert source.samefile(tmp_path / "below" / "linked")

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, tmp_path / "copied")
    assert not source.samefile(tmp_path / "copied")
    assert (tmp_path / "copied").read_text() == "content"


def test_every_file_and_folder_of_a_tree_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    flushed: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.add(os.fstat(handle).st_ino))
    fsync_tree(tmp_path)
    assert flushed == {path.stat().st_ino for path in (tmp_path, *tmp_path.rglob("*"))}


def test_a_lock_is_held_until_its_block_ends_and_the_file_names_the_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    for _ in range(2):
        with exclusive_lock(lock, busy):
            assert lock.read_text() == f"{os.getpid()}\n"
            with pytest.raises(IndexLocked, match=f"^busy: process {os.getpid()}$"), exclusive_lock(lock, busy):
                pass
            with pytest.raises(IndexLocked), exclusive_lock(lock, busy):  # who was refused frees nothing
                pass
    assert names(tmp_path) == ["lock"]


def test_a_lock_is_free_after_an_error_in_its_block(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), exclusive_lock(tmp_path / "lock", busy):
        raise KeyboardInterrupt
    with exclusive_lock(tmp_path / "lock", busy):
        pass


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_another_process_excludes_this_one_until_it_dies(tmp_path: Path, end: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(IndexLocked, match=f"busy: process {holder.pid}$"),
            exclusive_lock(tmp_path / "lock", busy),
        ):
            pass
        holder.send_signal(end)
    with exclusive_lock(tmp_path / "lock", busy):
        pass


def test_this_process_excludes_another_one(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / "lock", busy):
        other = subprocess.run(
            [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert other.returncode == 1
    assert f"IndexLocked: held by process {os.getpid()}" in other.stderr


def test_what_is_no_number_is_not_repeated(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / "lock", busy):
        (tmp_path / "lock").write_bytes(b"\xff\x1b[31m")
        with pytest.raises(IndexLocked, match=r"^busy: another process$"), exclusive_lock(tmp_path / "lock", busy):
            pass


def test_a_disk_without_locks_is_an_error_and_never_a_weaker_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is a file's mere existence would outlive a holder that was killed."""

    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with (
        pytest.raises(OSError, match="Function not implemented") as caught,
        exclusive_lock(tmp_path / "lock", busy),
    ):
        pass
    assert caught.value.filename is None


def test_a_lock_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(IsADirectoryError) as caught, exclusive_lock(tmp_path / "lock", busy):
        pass
    assert caught.value.filename is not None


def filled(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(text, encoding="ascii")


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with replace_folder(tmp_path / "folder") as partial:
            filled(partial, text)
        assert (tmp_path / "folder" / "file").read_text(encoding="ascii") == text
        assert names(tmp_path) == ["folder"]


def test_an_error_leaves_the_folder_that_was_there(tmp_path: Path) -> None:
    filled(tmp_path / "folder", "old")
    with pytest.raises(KeyboardInterrupt), replace_folder(tmp_path / "folder") as partial:
        filled(partial, "new")
        raise KeyboardInterrupt
    assert (names(tmp_path), (tmp_path / "folder" / "file").read_text(encoding="ascii")) == (["folder"], "old")


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_at_any_rename_leaves_an_old_or_a_new_folder_to_the_next_call(tmp_path: Path, renames: int) -> None:
    filled(tmp_path / "folder", "old")
    script = f"""
import os, signal, sys
from pathlib import Path
from index.files import replace_folder
left, rename = [{renames}], Path.rename
def until_killed(path, target):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return rename(path, target)
Path.rename = until_killed
with replace_folder(Path(sys.argv[1])) as partial:
    (partial / "file").write_text("new")
    if {renames} == 2:
        import index.files
        index.files.fsync = lambda path: path == partial.parent and os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "folder"], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    found = {path.read_text(encoding="ascii") for path in tmp_path.rglob("file")}
    assert "old" in found
    with pytest.raises(KeyboardInterrupt), replace_folder(tmp_path / "folder"):
        raise KeyboardInterrupt
    left = "new" if renames == 2 else "old"
    assert (names(tmp_path), (tmp_path / "folder" / "file").read_text(encoding="ascii")) == (["folder"], left)
