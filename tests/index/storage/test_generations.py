"""Generations: which is current, and that nothing but a finished build ever changes that."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from index.errors import IndexLocked, IndexUnusable, UsageError
from index.storage import generations
from index.storage.generations import current_generation, lease_generation, writing
from index.storage.manifest import Manifest, read_manifest, write_manifest

ROOT = Path(__file__).parents[3]


def fill(folder: Path, rows: int) -> None:
    """A whole generation, as small as one can be."""
    (folder / "models").mkdir()
    (folder / "models" / "head.json").write_text(f"{rows}")
    write_manifest(
        folder,
        Manifest(engine_version="0", created="", rows=rows, rejected=0, currency="USD", encoders=(), settings={}),
    )


def build(index: Path, rows: int = 1) -> Path:
    with writing(index) as folder:
        fill(folder, rows)
    return current_generation(index)


def names(index: Path) -> list[str]:
    return sorted(entry.name for entry in index.iterdir())


def test_a_build_is_in_force_when_its_block_ends(tmp_path: Path) -> None:
    index = tmp_path / "not" / "yet" / "there"
    assert build(index) == index / "gen-000001"
    assert read_manifest(index / "gen-000001").rows == 1
    assert names(index) == ["CURRENT", "gen-000001", "lock"]
    assert (index / "CURRENT").read_text() == "gen-000001\n"


def test_the_old_generation_is_in_force_while_a_new_one_is_built(tmp_path: Path) -> None:
    old = build(tmp_path)
    with writing(tmp_path) as folder:
        assert folder.name == "gen-000002.partial"
        assert current_generation(tmp_path) == old
        fill(folder, 2)
    assert current_generation(tmp_path).name == "gen-000002"


def test_a_generation_that_a_reader_holds_is_kept_and_others_go(tmp_path: Path) -> None:
    build(tmp_path, 1)
    build(tmp_path, 2)
    lease = lease_generation(tmp_path)
    build(tmp_path, 3)
    build(tmp_path, 4)
    assert names(tmp_path) == ["CURRENT", "gen-000002", "gen-000004", "lock"]
    assert (lease.folder, read_manifest(lease.folder).rows) == (tmp_path / "gen-000002", 2)
    del lease
    build(tmp_path, 5)
    assert names(tmp_path) == ["CURRENT", "gen-000005", "lock"]


def test_a_reader_in_another_process_holds_its_generation_until_it_dies(tmp_path: Path) -> None:
    build(tmp_path, 1)
    script = (
        "import sys; from pathlib import Path; from index.storage.generations import lease_generation\n"
        "lease = lease_generation(Path(sys.argv[1])); print(lease.folder.name, flush=True); sys.stdin.read()"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with reader:
        assert reader.stdout and reader.stdout.readline() == "gen-000001\n"
        build(tmp_path, 2)
        assert names(tmp_path) == ["CURRENT", "gen-000001", "gen-000002", "lock"]
        reader.send_signal(signal.SIGKILL)
    build(tmp_path, 3)
    assert names(tmp_path) == ["CURRENT", "gen-000003", "lock"]


def test_a_reader_that_comes_while_its_generation_is_removed_gets_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, read = build(tmp_path, 1), []

    def stale(index: Path) -> Path:
        """The name as a reader knows it that was stopped after having read it."""
        read.append(index)
        return old if len(read) == 1 else current_generation(index)

    monkeypatch.setattr(generations, "current_generation", stale)
    with monkeypatch.context() as patched:
        patched.setattr(generations, "current_generation", current_generation)
        build(tmp_path, 2)
    assert not old.exists()
    assert lease_generation(tmp_path).folder.name == "gen-000002"


def test_a_reader_that_had_to_wait_for_the_removal_gets_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, 1)
    lock, came = fcntl.flock, []

    def late(handle: int, how: int) -> None:
        """The reader has opened its manifest, and a writer is done before the reader's lock."""
        if how == fcntl.LOCK_SH and not came:
            came.append(how)
            build(tmp_path, 2)
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert lease_generation(tmp_path).folder.name == "gen-000002"
    assert names(tmp_path) == ["CURRENT", "gen-000002", "lock"]


def test_a_generation_without_a_manifest_is_held_and_refused_by_who_reads_it(tmp_path: Path) -> None:
    (build(tmp_path) / "manifest.json").unlink()
    with pytest.raises(IndexUnusable, match="half-built"):
        read_manifest(lease_generation(tmp_path).folder)


def test_the_cache_outlives_builds_good_and_bad(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vectors.sqlite").write_text("kept")
    build(tmp_path)
    with pytest.raises(KeyboardInterrupt), writing(tmp_path):
        raise KeyboardInterrupt
    build(tmp_path)
    build(tmp_path)
    assert (tmp_path / "cache" / "vectors.sqlite").read_text() == "kept"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_a_build_that_fails_leaves_nothing_and_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    old = build(tmp_path)
    with pytest.raises(error), writing(tmp_path) as folder:
        fill(folder, 2)
        raise error
    assert names(tmp_path) == ["CURRENT", "gen-000001", "lock"]
    assert current_generation(tmp_path) == old
    assert build(tmp_path).name == "gen-000002"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_first_build_that_fails_leaves_no_lock_and_no_folder(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), writing(tmp_path / "not" / "there"):
        raise error
    assert names(tmp_path) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(error), writing(tmp_path / "mine"):
        raise error
    assert names(tmp_path) == ["mine"]
    assert names(tmp_path / "mine") == []


def test_a_first_build_that_fails_keeps_what_was_encoded_and_no_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError), writing(tmp_path / "index"):
        (tmp_path / "index" / "cache").mkdir()
        (tmp_path / "index" / "cache" / "vectors.sqlite").write_text("kept")
        raise ValueError
    assert names(tmp_path / "index") == ["cache"]
    build(tmp_path / "index")
    assert (tmp_path / "index" / "cache" / "vectors.sqlite").read_text() == "kept"


def test_who_opened_a_lock_before_it_was_removed_does_not_hold_the_index_by_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError), writing(tmp_path):
        early = os.open(tmp_path / "lock", os.O_RDWR)
        raise ValueError
    fcntl.flock(early, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert build(tmp_path).name == "gen-000001"
    os.close(early)


@pytest.mark.parametrize("step", ["rename", "replace", "fsync"])
@pytest.mark.parametrize("before", [0, 1])
def test_a_fault_at_any_call_leaves_the_old_generation_alone_or_the_whole_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, before: int
) -> None:
    """What a kill leaves there, but tidied: nobody may come again."""
    for turn in range(30):
        index, calls = tmp_path / f"{turn}", iter(range(turn))
        for rows in range(before):
            build(index, rows + 1)
        old = ["CURRENT", "gen-000001", "lock"] if before else []
        call = getattr(os, step)

        def fail(*arguments: object, call: Any = call, calls: Any = calls) -> object:
            if next(calls, None) is None:
                raise OSError(5, "Input/output error")
            return call(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(os, step, fail)
            try:
                build(index, 9)
                break
            except OSError:
                pass
        if index.exists() and (new := current_generation(index)).name != f"gen-00000{before}":
            assert read_manifest(new).rows == 9  # the name was swapped before the fault
        else:
            assert (names(index) if index.exists() else []) == old
        assert read_manifest(build(index, 10)).rows == 10
        assert names(index) == ["CURRENT", current_generation(index).name, "lock"]
    else:
        pytest.fail("it never came to an end")
    assert turn >= 1


def test_a_build_without_a_manifest_is_never_put_in_force(tmp_path: Path) -> None:
    old = build(tmp_path)
    with pytest.raises(AssertionError, match=r"finished without its manifest\.json"), writing(tmp_path) as folder:
        (folder / "report.json").write_text("{}")
    assert current_generation(tmp_path) == old
    assert names(tmp_path) == ["CURRENT", "gen-000001", "lock"]


def test_everything_is_on_the_disk_before_a_name_points_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[int] = set()
    at_rename: set[int] = set()
    at_swap: set[int] = set()
    rename, replace = os.rename, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.add(os.fstat(handle).st_ino))
    monkeypatch.setattr(os, "rename", lambda *paths: (at_rename.update(flushed), rename(*paths)))
    monkeypatch.setattr(os, "replace", lambda *paths: (at_swap.update(flushed), replace(*paths)))
    generation = build(tmp_path)
    assert at_rename >= {path.stat().st_ino for path in [generation, *generation.rglob("*")]}
    assert at_swap >= {(tmp_path / "CURRENT").stat().st_ino, tmp_path.stat().st_ino}


# --- what is refused to a reader


def test_a_missing_index_is_refused_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        IndexUnusable, match=r"There is no index at .*nowhere: make one with `price build-index"
    ) as caught:
        current_generation(tmp_path / "nowhere")
    assert caught.value.exit_code == 4
    assert not (tmp_path / "nowhere").exists()


def test_a_file_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("gen-000001")
    with pytest.raises(IndexUnusable, match="is a file, not an index"):
        current_generation(tmp_path / "file")


def test_a_folder_without_current_holds_no_index(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with pytest.raises(IndexUnusable, match=r"holds no index .*no file CURRENT.*price build-index"):
        current_generation(tmp_path)


@pytest.mark.parametrize("left", ["gen-000001.partial", "gen-000001"])
def test_what_a_first_build_left_when_killed_is_called_half_built(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir()
    with pytest.raises(IndexUnusable, match=r"half-built.*price build-index"):
        current_generation(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"gen-1",
        b"gen-000001.partial",
        b"../gen-000001",
        b"gen-000001/../../outside",
        b"/tmp",
        b".",
        b"gen-000001\x00",
        b"gen-000001\n\n",
        b" gen-000001",
        b"gen-\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1",
        b"\xff\xfe\x1b[31mred",
        b"x" * 100_000,
    ],
)
def test_a_current_that_is_not_a_generations_name_is_refused(tmp_path: Path, content: bytes) -> None:
    build(tmp_path)
    (tmp_path / "CURRENT").write_bytes(content)
    with pytest.raises(IndexUnusable, match=r"CURRENT names no generation.*price build-index") as caught:
        current_generation(tmp_path)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_current_that_names_a_generation_which_is_gone_is_refused(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "CURRENT").write_text("gen-000007\n")
    with pytest.raises(IndexUnusable, match=r"names gen-000007, which is not there.*price build-index"):
        current_generation(tmp_path)


def test_a_current_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").mkdir()
    with pytest.raises(IndexUnusable, match=r"CURRENT cannot be read \(is a folder, not a file\)"):
        current_generation(tmp_path)


def test_a_fifo_in_the_place_of_current_or_the_manifest_is_refused_and_nobody_waits(tmp_path: Path) -> None:
    generation = build(tmp_path)
    (generation / "manifest.json").unlink()
    os.mkfifo(generation / "manifest.json")
    with pytest.raises(IndexUnusable, match="is a FIFO, not a file"):
        read_manifest(lease_generation(tmp_path).folder)
    assert build(tmp_path).name == "gen-000002"
    (tmp_path / "CURRENT").unlink()
    os.mkfifo(tmp_path / "CURRENT")
    with pytest.raises(IndexUnusable, match=r"CURRENT cannot be read \(is a FIFO, not a file\)"):
        current_generation(tmp_path)
    assert build(tmp_path).name == "gen-000003"
    assert names(tmp_path) == ["CURRENT", "gen-000003", "lock"]


def test_a_build_mends_an_index_whose_current_is_garbage(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "CURRENT").write_bytes(b"\xff../..")
    assert build(tmp_path).name == "gen-000002"
    assert names(tmp_path) == ["CURRENT", "gen-000002", "lock"]


# --- what is refused to a writer


def test_a_second_writer_is_refused_at_once_and_told_who_holds_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom index.storage.generations import writing\n"
        "with writing(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None and holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
        with pytest.raises(IndexLocked, match=f"being written by process {holder.pid}:") as caught, writing(tmp_path):
            pass
        assert caught.value.exit_code == 75
        assert names(tmp_path) == ["gen-000001.partial", "lock"]  # the holder's work is untouched
        holder.send_signal(signal.SIGKILL)
    build(tmp_path)  # the lock died with its holder
    assert names(tmp_path) == ["CURRENT", "gen-000001", "lock"]


def test_a_writer_that_left_no_readable_number_is_another_process(tmp_path: Path) -> None:
    with writing(tmp_path) as folder:
        (tmp_path / "lock").write_bytes(b"\xff\x1b[31m")
        with pytest.raises(IndexLocked, match="by another process:"), writing(tmp_path):
            pass
        fill(folder, 1)


def test_an_index_cannot_be_built_over_a_file_or_below_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for index in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="name another folder with --index"), writing(index):
            pass
    assert (tmp_path / "file").read_text() == "mine"


def test_an_index_is_not_scattered_into_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \('thesis.tex'\) and no index"), writing(tmp_path):
        pass
    assert names(tmp_path) == ["thesis.tex"]


def test_a_stray_file_in_an_index_is_no_reason_to_refuse_the_next_build_nor_removed_by_it(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    build(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_lock_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(UsageError, match=r"cannot be written \(Is a directory\)"), writing(tmp_path):
        pass


# --- a kill at any moment

KILLED_AT_EVERY_STEP = """
import io, json, os, shutil, sys
from pathlib import Path
from test_generations import build
from index.errors import IndexUnusable
from index.storage import generations
from index.storage.generations import current_generation, lease_generation, writing
from index.storage.manifest import read_manifest

CALLS = [(os, name) for name in ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir", "open")] + [(io, "open")]


def die_at(step):
    left = iter(range(step))

    def pass_or_die():
        if next(left, None) is None:
            os._exit(9)

    def dying(call):
        def wrapped(*arguments, **options):
            pass_or_die()
            answer = call(*arguments, **options)
            pass_or_die()
            return answer
        return wrapped

    for module, name in CALLS:
        setattr(module, name, dying(getattr(module, name)))


def current_rows(index):
    try:
        folder = current_generation(index)
    except IndexUnusable as error:
        return "half-built" if "half-built" in str(error) else "none"
    return [folder.name, read_manifest(folder).rows]


os.fsync = lambda handle: None  # a kill loses nothing that was written, and waiting for the disk takes most of the time
home, before = Path(sys.argv[1]), int(sys.argv[2])
(home / "start").mkdir()
for rows in range(1, before + 1):
    build(home / "start", rows)
outcomes = []
for step in range(1000):
    index = home / str(step)
    shutil.copytree(home / "start", index)
    child = os.fork()
    if child == 0:
        die_at(step)
        build(index, 100)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    killed = current_rows(index)
    build(index, 200)
    left = sorted(entry.name for entry in index.iterdir())
    outcomes.append([status, killed, current_rows(index), left])
    shutil.rmtree(index)
    if status == 0:
        break
print(json.dumps(outcomes))
"""


def killed_at_every_step(home: Path, before: int) -> list[list[object]]:
    """Build `before` generations, kill the next build at its first, second, ... call to the system, and build again.

    A call counts twice, before it and after it, so that a file which was opened and not yet written is met as well.
    Returns for each: exit status, what was in force after the kill, what after the next build, and all that was there.
    """
    run = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(home), str(before)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"},
    )
    assert run.returncode == 0, run.stderr
    outcomes: list[list[object]] = json.loads(run.stdout)
    assert [outcome[0] for outcome in outcomes] == [9] * (len(outcomes) - 1) + [0]
    assert len(outcomes) > 15
    return outcomes


def test_a_kill_at_any_moment_leaves_the_old_generation_in_force_or_the_whole_new_one(tmp_path: Path) -> None:
    outcomes = killed_at_every_step(tmp_path, before=2)
    current = [outcome[1] for outcome in outcomes]
    change = current.index(["gen-000003", 100])
    assert change > 10
    assert current[:change] == [["gen-000002", 2]] * change
    assert current[change:] == [["gen-000003", 100]] * (len(current) - change)
    for _, killed, after, left in outcomes:
        assert isinstance(after, list) and isinstance(killed, list) and isinstance(left, list)
        assert after[1] == 200
        assert sorted(left) == ["CURRENT", after[0], "lock"], "a kill left something behind"


def test_a_first_build_killed_at_any_moment_is_no_index_or_a_whole_one(tmp_path: Path) -> None:
    outcomes = killed_at_every_step(tmp_path, before=0)
    current = [outcome[1] for outcome in outcomes]
    change = current.index(["gen-000001", 100])
    assert set(map(str, current[:change])) == {"none", "half-built"}
    assert current[change:] == [["gen-000001", 100]] * (len(current) - change)
    assert all(isinstance(outcome[2], list) and outcome[2][1] == 200 for outcome in outcomes)
