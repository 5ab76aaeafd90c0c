"""Tests that a change is recorded before it is made, and that no crash, full disk or other process loses a record."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from filelock import FileLock
from hypothesis import assume, given
from hypothesis import strategies as st

from kqlmi.errors import InputError
from kqlmi.history import Entry, History, HistoryError, Outcome, Reading, StepRecord, default_folder, new_entry
from kqlmi.model.entities import Scope
from kqlmi.model.policy.policy import Policy
from tests.model.policy.test_policy import POLICIES

CLUSTER = "cluster/11111111-2222-3333-4444-555555555555"
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes, signals or limits")

# Every character that a name may contain, including lone surrogates and path separators.
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(["../../etc/passwd", "CON", "a\0b", "\ud800", "."])
SCOPES = st.just(Scope.cluster()) | TEXTS.filter(bool).map(Scope.database)
MAYBE_POLICIES = st.none() | st.just(Policy.empty()) | POLICIES
OUTCOMES = st.sampled_from(get_args(Outcome))
STEPS = st.builds(StepRecord, SCOPES, TEXTS, MAYBE_POLICIES, MAYBE_POLICIES, OUTCOMES, TEXTS)
ENTRIES = st.builds(
    lambda outcome, **given: replace(new_entry(**given), outcome=outcome),
    OUTCOMES,
    cluster=TEXTS,
    name=TEXTS,
    principal=TEXTS,
    source=st.sampled_from(["plan", "cell"]),
    steps=st.lists(STEPS, max_size=3),
    undoes=st.none() | TEXTS,
)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "state" / "history")


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip fsync, which takes most of the time, because no crash is tested."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def change(outcome: Outcome = "open", *, undoes: Entry | None = None, cluster: str = CLUSTER) -> Entry:
    step = StepRecord(Scope.database("Samples"), ".show version", None, Policy.empty(), outcome)
    entry = new_entry(
        cluster=cluster,
        name="help",
        principal="admin@example.org",
        source="plan",
        steps=[step],
        undoes=undoes.id if undoes else None,
    )
    return replace(entry, outcome=outcome)


def recorded(history: History, *entries: Entry) -> Sequence[Path]:
    """Record entries, and return the file of each."""
    for entry in entries:
        history.begin(entry)
    return [next(history.folder.rglob(f"*.{entry.id}.json")) for entry in entries]


# Reading back what was written


@given(ENTRIES)
def test_an_entry_reads_back_equal_and_with_its_spelling(entry: Entry) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder))
        history.begin(entry)
        assert history.read(entry.cluster) == Reading((entry,))
        (again,) = history.read(entry.cluster).entries
    assert [step.scope.name for step in again.steps] == [step.scope.name for step in entry.steps]
    assert [step.before is None for step in again.steps] == [step.before is None for step in entry.steps]
    assert again.time.utcoffset() == timedelta(0)


@given(ENTRIES, ENTRIES)
def test_an_update_replaces_what_was_recorded_and_leaves_nothing_else(entry: Entry, other: Entry) -> None:
    later = replace(other, id=entry.id, cluster=entry.cluster)
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder))
        history.begin(entry)
        history.update(later)
        assert history.read(entry.cluster) == Reading((later,))
        assert len([path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".lock"]) == 1


@given(TEXTS, TEXTS)
def test_a_cluster_name_never_leaves_the_folder_nor_mixes_with_another(one: str, other: str) -> None:
    assume(one != other)
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "history")
        entries = change(cluster=one), change(cluster=other)
        files = recorded(history, *entries)
        assert {path.parent.parent for path in files} == {history.folder}
        assert list(Path(folder).iterdir()) == [history.folder]
        assert [history.read(key).entries for key in (one, other)] == [(entry,) for entry in entries]


def test_a_file_is_readable_json(history: History) -> None:
    policy = Policy.parse('[{"ObjectId": "system", "AllowedUsages": "All", "Weight": 1.10}]')
    (path,) = recorded(history, change().with_step(0, StepRecord(Scope.cluster(), ".drop", policy, None)))
    text = path.read_text(encoding="ascii")
    document = json.loads(text)
    assert text.count("\n") > len(document)
    assert (document["format"], document["outcome"], document["cluster"]) == (1, "open", CLUSTER)
    assert document["steps"][0]["scope"] is None
    assert '"Weight": 1.10' in document["steps"][0]["before"]
    assert document["steps"][0]["after"] is None


def test_a_step_is_replaced_in_place() -> None:
    first, second, new = (StepRecord(Scope.cluster(), text, None, None) for text in ("first", "second", "new"))
    entry = replace(change(), steps=(first, second))
    assert entry.with_step(0, new).steps == (new, second)
    assert entry.with_step(1, new).steps == (first, new)


def test_a_cluster_without_a_record_has_an_empty_history(history: History) -> None:
    assert history.read(CLUSTER) == Reading()
    assert not history.folder.exists()


@pytest.mark.usefixtures("unsynced")
def test_ids_are_unique_and_entries_are_in_order_of_beginning_whatever_the_clock_says(
    history: History,
) -> None:
    entries = [change() for _ in range(50)]
    recorded(history, *reversed(entries))
    assert len({entry.id for entry in entries}) == 50
    assert history.read(CLUSTER).entries == tuple(reversed(entries))
    assert all(abs(entry.time - datetime.now(UTC)) < timedelta(minutes=1) for entry in entries)


@pytest.mark.usefixtures("unsynced")
def test_entries_from_before_numbering_come_first_ordered_by_id(history: History) -> None:
    first, second, third = sorted((change() for _ in range(3)), key=lambda entry: entry.id)
    for entry, path in zip((second, first), recorded(history, second, first), strict=True):
        path.rename(path.with_name(f"{entry.id}.json"))
    history.begin(third)
    assert history.read(CLUSTER).entries == (first, second, third)
    history.update(replace(first, outcome="applied"))
    assert [entry.outcome for entry in history.read(CLUSTER).entries] == ["applied", "open", "open"]


@pytest.mark.usefixtures("unsynced")
def test_a_time_without_a_zone_is_read_as_utc_and_every_time_as_utc(history: History) -> None:
    first, second, third = (change() for _ in range(3))
    files = recorded(history, first, second, third)
    for path, when in zip(
        files, ["2024-05-06T12:00:00", "2024-05-06T12:00:00+02:00", "2024-05-06T12:00:00Z"], strict=True
    ):
        path.write_bytes(altered(time=when)(path.read_bytes()))
    times = [entry.time for entry in history.read(CLUSTER).entries]
    assert [time.isoformat() for time in times] == [f"2024-05-06T{hour}:00:00+00:00" for hour in (12, 10, 12)]


@pytest.mark.usefixtures("unsynced")
def test_an_entry_that_another_process_finished_is_not_settled_again(history: History) -> None:
    entry = change()
    recorded(history, entry)
    finished, settled = replace(entry, outcome="applied"), replace(entry, outcome="unknown")
    history.update(finished)
    assert history.settle(entry, settled) == finished
    assert history.read(CLUSTER).entries == (finished,)
    assert history.settle(finished, settled) == settled
    assert history.read(CLUSTER).entries == (settled,)


SETTLES = """
import sys
from dataclasses import replace
from pathlib import Path
from kqlmi.history import History
history, cluster, won = History(Path(sys.argv[1])), sys.argv[2], 0
for entry in history.read(cluster).entries:
    if entry.outcome == "open":
        settled = replace(entry, outcome="unknown", name=sys.argv[3])
        won += history.settle(entry, settled) == settled
print(won)
"""


@pytest.mark.usefixtures("unsynced")
def test_only_one_of_several_processes_settles_an_entry(history: History) -> None:
    recorded(history, *(change() for _ in range(40)))
    racers = [start(SETTLES, history, str(number)) for number in range(3)]
    won = [int(racer.communicate()[0]) for racer in racers]
    names = [entry.name for entry in history.read(CLUSTER).entries]
    assert [names.count(str(number)) for number in range(3)] == won
    assert sum(won) == 40


# Location and permissions


def test_the_folder_is_the_users_state_folder_unless_kqlmi_state_names_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for value, expected in {
        "elsewhere": tmp_path / "elsewhere" / "history",
        str(tmp_path / "there"): tmp_path / "there" / "history",
        "~": Path.home() / "history",
    }.items():
        monkeypatch.setenv("KQLMI_STATE", value)
        assert History().folder == default_folder() == expected
    monkeypatch.delenv("KQLMI_STATE")
    usual = History().folder
    assert "kqlmi" in usual.parts
    assert usual.name == "history"
    monkeypatch.setenv("KQLMI_STATE", "")
    assert History().folder == usual


@POSIX
def test_only_the_user_may_read_it(history: History) -> None:
    entry = change()
    mask = os.umask(0)
    try:
        (path,) = recorded(history, entry)
        assert path.stat().st_mode & 0o777 == 0o600
        history.update(replace(entry, outcome="applied"))
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o777 for folder in (path.parent, history.folder)] == [0o700, 0o700]


@POSIX
def test_a_folder_that_others_could_read_is_made_private(history: History) -> None:
    entry = change()
    (path,) = recorded(history, entry)
    for folder in (path.parent, history.folder):
        folder.chmod(0o755)
    history.update(replace(entry, outcome="applied"))
    found = [one.stat().st_mode & 0o777 for one in (history.folder, *sorted(history.folder.rglob("*")))]
    assert found == [0o700, 0o700, 0o600, 0o600]


# Failed writes


def test_an_id_that_is_taken_is_refused_and_the_entry_stays(history: History) -> None:
    entry = change("applied")
    recorded(history, entry)
    with pytest.raises(HistoryError, match="already exists"):
        history.begin(replace(entry, outcome="open"))
    assert history.read(CLUSTER) == Reading((entry,))


def test_a_file_instead_of_the_folder_is_an_error_with_a_hint(tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("mine")
    for folder in (occupied, occupied / "history"):
        with pytest.raises(HistoryError, match=r"Cannot write the history to .*occupied") as caught:
            History(folder).begin(change())
        assert "KQLMI_STATE" in caught.value.hint
        assert "--no-history" in caught.value.hint
        assert "\n" not in str(caught.value)
    assert occupied.read_text() == "mine"


@POSIX
def test_a_folder_that_cannot_be_listed_is_an_error_and_not_an_empty_history(history: History) -> None:
    (path,) = recorded(history, change())
    shutil.rmtree(path.parent)
    path.parent.write_text("")
    with pytest.raises(HistoryError, match="Cannot read"):
        history.read(CLUSTER)


# The file-size limit makes the kernel refuse the write, as a full disk does.
FULL_DISK = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from kqlmi.history import History, HistoryError
history, cluster = History(Path(sys.argv[1])), sys.argv[2]
(entry,) = history.read(cluster).entries
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for write, other in (history.update, entry.id), (history.begin, "20990101-000000-000000-00000000"):
    try:
        write(replace(entry, id=other, outcome="applied"))
    except HistoryError as error:
        print(error)
    else:
        sys.exit("it was written")
"""


@POSIX
def test_a_full_disk_is_an_error_and_keeps_the_recorded_entries(history: History) -> None:
    entry = change()
    (path,) = recorded(history, entry)
    done = run(FULL_DISK, history)
    assert done.returncode == 0, done.stderr
    updated, begun = done.stdout.splitlines()
    assert f"The previous record of entry {entry.id} is kept." in updated
    assert "--no-history" in begun
    assert history.read(CLUSTER) == Reading((entry,))
    assert [found for found in path.parent.iterdir() if found.suffix != ".lock"] == [path]


def test_a_file_that_another_process_has_open_is_tried_again(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = change()
    recorded(history, entry)
    refusals = [PermissionError(13, "In use")] * 2
    move = Path.replace

    def shared(source: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return move(source, target)

    monkeypatch.setattr(Path, "replace", shared)
    history.update(replace(entry, outcome="applied"))
    assert [found.outcome for found in history.read(CLUSTER).entries] == ["applied"]
    refusals.extend([PermissionError(13, "In use")] * 9)
    with pytest.raises(HistoryError, match="In use"):
        history.update(entry)
    assert [found.outcome for found in history.read(CLUSTER).entries] == ["applied"]


@POSIX
def test_an_entry_is_on_the_disk_before_it_appears_and_its_folder_after(
    history: History, monkeypatch: pytest.MonkeyPatch
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
    entry = change()
    for write in (history.begin, history.update):
        done.clear()
        write(entry)
        assert done[:3] == ["file", "move", "folder"]


# Failed reads


def altered(**fields: object) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps(json.loads(data) | fields).encode()


def altered_step(**fields: object) -> Callable[[bytes], bytes]:
    return lambda data: altered(steps=[json.loads(data)["steps"][0] | fields])(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[: len(data) // 2], "half-written"),
        (lambda _: b"", "half-written"),
        (lambda data: bytes(len(data)), "half-written"),
        (lambda _: b"\xff\xfe\xfd", "half-written"),
        (lambda _: b"[" * 200_000, "half-written"),
        (lambda _: b"9" * 5000, "digits"),
        (lambda _: b"null", "not a history entry"),
        (lambda _: b'{"name": "package.json"}', "not a history entry"),
        (altered(format=2), "newer kqlmi, in format 2"),
        (altered(format="1"), "not a history entry"),
        (altered(outcome="certainly"), "not a history entry"),
        (altered(source="elsewhere"), "not a history entry"),
        (altered(time="yesterday"), "isoformat"),
        (altered(steps=[{}]), "one of its steps"),
        (altered(cluster="other", name="production"), "another cluster, production"),
        (altered(cluster="other", name="two\nlines"), r"another cluster, two\u000alines"),
        (altered(id="20200101-000000-000000-00000000"), "under another name"),
        (altered_step(before="[{]"), "not valid JSON"),
        (altered_step(before=[]), "one of its steps"),
        (altered_step(scope=""), "cannot be empty"),
    ],
)
def test_a_file_that_is_not_an_entry_is_named_with_its_reason_and_hides_no_other(
    history: History, damage: Callable[[bytes], bytes], reason: str
) -> None:
    good, bad, late = change("applied"), change("applied"), change("applied")
    files = recorded(history, good, bad, late)
    damaged = damage(files[1].read_bytes())
    files[1].write_bytes(damaged)
    reading = history.read(CLUSTER)
    assert set(reading.entries) == {good, late}
    (file,) = reading.unreadable
    assert file.path == files[1]
    assert reason in str(file)
    assert "\n" not in str(file)
    assert files[1].read_bytes() == damaged
    with pytest.raises(HistoryError, match="Cannot read"):
        reading.entry(bad.id)


def test_a_file_that_cannot_be_opened_is_named(history: History) -> None:
    good, bad = change(), change()
    files = recorded(history, good, bad)
    files[1].unlink()
    files[1].mkdir()
    reading = history.read(CLUSTER)
    assert reading.entries == (good,)
    assert [file.path for file in reading.unreadable] == [files[1]]


def test_files_that_a_dead_writer_left_are_ignored(history: History) -> None:
    entry = change()
    (path,) = recorded(history, entry)
    for name in (f"{entry.id}.new", f"{entry.id}.0a1b2c3d", "20990101-000000-000000-00000000.new"):
        path.with_name(name).write_bytes(path.read_bytes()[:40])
    assert history.read(CLUSTER) == Reading((entry,))
    history.update(replace(entry, outcome="applied"))
    assert [found.outcome for found in history.read(CLUSTER).entries] == ["applied"]


# Several processes


def start(script: str, history: History, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(history.folder), CLUSTER, *more], stdout=subprocess.PIPE, text=True
    )


def run(script: str, history: History) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(history.folder), CLUSTER], check=False, capture_output=True, text=True
    )


# The name of each state is the number of its steps, so that a mixture of two states would be detected.
UPDATES_FOREVER = """
import itertools, sys
from dataclasses import replace
from pathlib import Path
from kqlmi.history import History
history, cluster = History(Path(sys.argv[1])), sys.argv[2]
entry = history.read(cluster).entries[-1]
for turn in itertools.count():
    size = 1 + turn * 19 % 50
    history.update(replace(entry, name=str(size), steps=entry.steps[:1] * size))
    if turn == 0:
        print("running", flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_entry(history: History) -> None:
    recorded(history, replace(change(), name="1"))
    seen = set()
    for round_ in range(6):
        writer = start(UPDATES_FOREVER, history)
        assert writer.stdout
        with writer:
            assert writer.stdout.readline() == "running\n"
            until = time.monotonic() + 0.05 + 0.017 * round_
            while time.monotonic() < until:
                seen.add(whole(history))
            writer.kill()
        seen.add(whole(history))
    assert len(seen) > 1


def whole(history: History) -> int:
    reading = history.read(CLUSTER)
    assert reading.unreadable == ()
    (entry,) = reading.entries
    assert len(entry.steps) == int(entry.name)
    return len(entry.steps)


WRITES_MANY = """
import sys
from dataclasses import replace
from pathlib import Path
from kqlmi.history import History, new_entry
history, cluster = History(Path(sys.argv[1])), sys.argv[2]
for number in range(30):
    entry = new_entry(cluster=cluster, name=str(number), principal="", source="cell", steps=())
    history.begin(entry)
    print(entry.id, flush=True)
    history.update(replace(entry, outcome="applied"))
"""


def test_writers_in_several_processes_lose_nothing(history: History) -> None:
    writers = [start(WRITES_MANY, history) for _ in range(4)]
    while any(writer.poll() is None for writer in writers):
        assert history.read(CLUSTER).unreadable == ()
    own = [writer.communicate()[0].split() for writer in writers]
    written = [line for lines in own for line in lines]
    reading = history.read(CLUSTER)
    assert all([entry.id for entry in reading.entries if entry.id in lines] == lines for lines in own)
    assert [writer.returncode for writer in writers] == [0] * 4
    assert sorted(entry.id for entry in reading.entries) == sorted(written)
    assert len(set(written)) == 4 * 30
    assert {entry.outcome for entry in reading.entries} == {"applied"}


BEGINS_THE_SAME = """
import sys
from dataclasses import replace
from pathlib import Path
from kqlmi.history import History, HistoryError, new_entry
history, cluster, won = History(Path(sys.argv[1])), sys.argv[2], 0
entry = new_entry(cluster=cluster, name="", principal="", source="plan", steps=())
for number in range(100):
    try:
        history.begin(replace(entry, id=f"{number:03}"))
    except HistoryError:
        continue
    won += 1
print(won)
"""


def test_only_one_process_begins_an_entry(history: History) -> None:
    racers = [start(BEGINS_THE_SAME, history) for _ in range(3)]
    assert sum(int(racer.communicate()[0]) for racer in racers) == len(history.read(CLUSTER).entries) == 100


# Selecting an entry


def test_an_entry_is_found_by_the_beginning_of_its_id() -> None:
    first, second = (replace(change(), id=f"20250131-120000-00000{place}-aa") for place in (1, 2))
    reading = Reading((first, second))
    assert reading.entry(first.id) == reading.entry("20250131-120000-000001") == first
    with pytest.raises(InputError, match="several") as caught:
        reading.entry("20250131")
    assert first.id in str(caught.value)
    assert second.id in str(caught.value)
    with pytest.raises(InputError, match="There is no history entry"):
        reading.entry("1999")


def test_undo_reverts_the_newest_change_and_then_the_one_before() -> None:
    first, second = change("applied"), change("partly applied")
    undo_second = change("applied", undoes=second)
    undo_first = change("applied", undoes=first)
    assert Reading().last_to_undo is None
    assert Reading((first, second)).last_to_undo == second
    assert Reading((first, second, undo_second)).last_to_undo == first
    assert Reading((first, second, undo_second, undo_first)).last_to_undo is None


@pytest.mark.parametrize("outcome", ["open", "not applied", "unknown"])
def test_undo_skips_entries_that_are_not_known_to_have_changed_anything(outcome: Outcome) -> None:
    first = change("applied")
    assert Reading((first, change(outcome))).last_to_undo == first


@pytest.mark.parametrize("outcome", ["open", "partly applied", "not applied", "unknown"])
def test_a_failed_undo_leaves_its_entry_to_be_undone(outcome: Outcome) -> None:
    first, second = change("applied"), change("applied")
    failed = change(outcome, undoes=second)
    assert Reading((first, second, failed)).last_to_undo == second
    assert Reading((first, second, failed, change("applied", undoes=second))).last_to_undo == first


def test_an_entry_whose_undo_was_undone_is_in_effect_again() -> None:
    first = change("applied")
    undo = change("applied", undoes=first)
    redo = change("applied", undoes=undo)
    assert Reading((first, undo, redo)).last_to_undo == first
    assert Reading((first, undo, redo, change("applied", undoes=first))).last_to_undo is None


@given(st.lists(st.tuples(OUTCOMES, st.none() | st.integers(0, 8)), max_size=9))
def test_the_entry_to_undo_took_effect_is_not_an_undo_and_was_not_undone(
    rows: list[tuple[Outcome, int | None]],
) -> None:
    entries: list[Entry] = []
    for outcome, undone in rows:
        undoes = entries[undone] if undone is not None and undone < len(entries) else None
        entries.append(change(outcome, undoes=undoes))

    def stands(entry: Entry) -> bool:
        return not any(other.undoes == entry.id and other.outcome == "applied" and stands(other) for other in entries)

    effective = [entry for entry in entries if entry.outcome in {"applied", "partly applied"} and not entry.undoes]
    expected = [entry for entry in effective if stands(entry)]
    assert Reading(tuple(entries)).last_to_undo == (expected[-1] if expected else None)


def test_open_and_unknown_entries_are_unfinished() -> None:
    entries = tuple(change(outcome) for outcome in get_args(Outcome))
    assert [entry.outcome for entry in Reading(entries).unfinished] == ["open", "unknown"]


# The lock


@pytest.mark.usefixtures("unsynced")
def test_if_another_process_holds_the_lock_nothing_is_written_and_the_hint_helps(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = change()
    (path,) = recorded(history, entry)
    monkeypatch.setattr("kqlmi.history.store._LOCKED_SECONDS", 0.01)
    with FileLock(path.with_name("history.lock")):
        for write, given in ((history.begin, change()), (history.update, replace(entry, outcome="applied"))):
            with pytest.raises(HistoryError, match="Another process has locked the history") as caught:
                write(given)
            assert caught.value.hint
        # Reading needs no lock.
        assert history.read(CLUSTER) == Reading((entry,))
    history.update(replace(entry, outcome="applied"))


@pytest.mark.usefixtures("unsynced")
def test_on_a_drive_without_locks_nothing_is_written_and_the_hint_names_another_place(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "_acquire", none)
    with pytest.raises(HistoryError, match="does not support locks") as caught:
        history.begin(change())
    assert "KQLMI_STATE" in caught.value.hint
