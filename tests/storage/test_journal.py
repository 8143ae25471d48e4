"""The journal: other processes can read what is open, now and after the process died."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxloop.storage import Journal, descriptors, inflight, journal
from fluxloop.storage.inflight import MAX_SLOTS, SLOT_BYTES, Inflight, crashed, read_journals

Head = Callable[..., bytes]


def opened(folder: Path) -> list[str]:
    """The ids that all journals in the folder show."""
    return sorted(record["id"] for each in read_journals(folder) for record in each.records)


def journals(folder: Path) -> list[Path]:
    return sorted(folder.glob(".inflight-*"))


def leave_behind(folder: Path, *lines: bytes) -> Path:
    """Write the journal of a process that has died."""
    path = folder / ".inflight-999999-dead"
    path.write_bytes(b"".join(line.ljust(SLOT_BYTES, b"\0") for line in lines))
    return path


# Putting and freeing


def test_what_is_open_can_be_read_by_others(tmp_path: Path, head: Head) -> None:
    """
    A slot holds the record's beginning from `put` to `free`, in a file that names its process.
    """
    ours = Journal(tmp_path)

    first, second = ours.put(head(1)), ours.put(head(2), b',"input":"Hi"')
    ours.free(first)

    (path,) = journals(tmp_path)
    assert path.name.startswith(f".inflight-{os.getpid()}-")
    assert list(read_journals(tmp_path)) == [
        (
            True,
            path,
            [
                {
                    "id": "o2",
                    "trace_id": "t0",
                    "name": "work",
                    "start_time": "2026-01-17T23:59:59.000000Z",
                    "input": "Hi",
                }
            ],
        )
    ]
    assert first != second


def test_no_file_is_made_before_something_begins(tmp_path: Path) -> None:
    """
    A journal that was not needed leaves nothing, not even the folder.
    """
    ours = Journal(tmp_path / "traces")
    ours.free(-1)
    ours.verify()
    ours.close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("head_bytes", "rest_bytes", "kept"),
    [
        (975, 0, "head"),
        (950, 25, "head+rest"),
        (950, 26, "head"),
        (976, 0, None),
        (2000, 5, None),
    ],
)
def test_a_slot_keeps_what_fits(tmp_path: Path, head_bytes: int, rest_bytes: int, kept: str | None) -> None:
    """
    Both parts where they fit with their newline, else the head alone, else nothing.
    """
    head = b'{"id":"o1","name":"' + b"n" * (head_bytes - 20) + b'"'
    rest = b',"input":"'.ljust(rest_bytes - 1, b"i") + b'"' if rest_bytes else b""
    ours = Journal(tmp_path)

    slot = ours.put(head, rest)

    texts = [path.read_bytes()[:SLOT_BYTES].partition(b"\n")[0] for path in journals(tmp_path)]
    assert texts == {"head": [head], "head+rest": [head + rest], None: []}[kept]
    assert (slot >= 0) == (kept is not None)


def test_a_slot_that_held_more_shows_only_the_new(tmp_path: Path, head: Head) -> None:
    """
    What a longer record left behind in the slot is not read.
    """
    ours = Journal(tmp_path)
    ours.free(ours.put(head(1, input="x" * 500)))

    ours.put(head(2))

    ((_, _, records),) = read_journals(tmp_path)
    assert [(record["id"], "input" in record) for record in records] == [("o2", False)]


def test_the_file_grows_with_what_is_open(tmp_path: Path, head: Head) -> None:
    """
    A thousand tasks at once are all in it; slots are used again, so it does not grow for ever.
    """
    ours = Journal(tmp_path)

    for n in range(1_000):
        ours.free(ours.put(head(n)), recorded=True)
    small = journals(tmp_path)[0].stat().st_size
    taken = [ours.put(head(n)) for n in range(1_000)]

    assert small == SLOT_BYTES
    assert 999 * SLOT_BYTES < journals(tmp_path)[0].stat().st_size < 1_000 * SLOT_BYTES
    assert len(set(taken)) == 1_000
    assert opened(tmp_path) == sorted(f"o{n}" for n in range(1_000))


def test_a_full_journal_gives_no_slot_until_one_is_free(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Beyond the largest number of slots, observations begin without one, and are recorded as usual.
    """
    monkeypatch.setattr(journal, "MAX_SLOTS", 64)
    ours = Journal(tmp_path)
    taken = [ours.put(head(n)) for n in range(64)]

    over = ours.put(head("over"))
    ours.free(taken[7])

    assert over == -1
    assert ours.put(head("again")) == taken[7]


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What goes to `os.pwrite`, call by call."""
    calls: list[bytes] = []

    def noted(fd: int, data: bytes, offset: int) -> int:
        calls.append(data)
        return os.pwrite(fd, data, offset)

    monkeypatch.setattr(journal, "pwrite", noted)
    return calls


def test_a_start_is_one_system_call_and_an_end_none(tmp_path: Path, head: Head, writes: list[bytes]) -> None:
    """
    An end writes nothing while anything else is open; the last one erases, in one call, what the slots still show.
    """
    ours = Journal(tmp_path)
    root = ours.put(head(0))

    for n in range(1, 10):
        inner = ours.put(head(n))
        ours.free(ours.put(head(-n)), recorded=True)
        ours.free(inner, recorded=True)
    begun = len(writes)
    shown = opened(tmp_path)
    ours.free(root, recorded=True)

    assert begun == 19
    assert shown == ["o-9", "o0", "o9"]
    assert writes[begun:] == [bytes(3 * SLOT_BYTES)]
    assert opened(tmp_path) == []


def test_an_observation_that_has_no_record_is_erased_at_once(tmp_path: Path, head: Head) -> None:
    """
    One that was discarded, or whose record could not be written: no reader could find out that it ended.
    """
    ours = Journal(tmp_path)
    ours.put(head(1))
    second = ours.put(head(2, input="a secret"))

    ours.free(second)

    assert opened(tmp_path) == ["o1"]
    assert b"secret" not in journals(tmp_path)[0].read_bytes()


def test_an_ended_observation_is_not_shown_for_long(tmp_path: Path, head: Head) -> None:
    """
    The check that follows the files erases what has ended, so that deleting the files brings nothing back.
    """
    ours = Journal(tmp_path)
    ours.put(head(1))
    ours.free(ours.put(head(2)), recorded=True)

    ours.verify()

    assert opened(tmp_path) == ["o1"]


def test_freeing_twice_does_not_give_a_slot_to_two(tmp_path: Path, head: Head) -> None:
    """
    A slot freed by mistake a second time is still given out once.
    """
    ours = Journal(tmp_path)
    slot = ours.put(head(1))

    ours.free(slot)
    ours.free(slot)

    assert ours.put(head(2)) != ours.put(head(3))


@settings(max_examples=50)
@given(script=st.lists(st.tuples(st.booleans(), st.integers(0, 200)), max_size=300))
def test_any_order_of_beginnings_and_endings_leaves_what_is_open(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[bool, int]]
) -> None:
    """
    Property: after any script, the journal shows what was put and not freed, and else only what has a record.
    """
    folder = tmp_path_factory.mktemp("script")
    ours = Journal(folder)
    open_slots: dict[int, int] = {}
    recorded: set[str] = set()

    for begins, n in script:
        if begins and n not in open_slots:
            open_slots[n] = ours.put(b'{"id":"o%d","trace_id":"t","parent_id":null,"seq":0,"name":"%b"' % (n, b"x" * n))
        elif n in open_slots:
            ours.free(open_slots.pop(n), recorded=bool(n % 2))
            recorded |= {f"o{n}"} if n % 2 else set()

    found = {record["id"]: len(record["name"]) for each in read_journals(folder) for record in each.records}
    still_open = {f"o{n}": n for n in open_slots}
    assert still_open.items() <= found.items()
    assert found.keys() - still_open.keys() <= (recorded if still_open else set())
    assert len(set(open_slots.values())) == len(open_slots)


def test_threads_never_share_a_slot(tmp_path: Path, head: Head) -> None:
    """
    Threads that begin and end at once: no slot is overwritten while its observation is open.
    """
    ours = Journal(tmp_path)
    held: set[int] = set()
    shared: list[int] = []

    def work(name: str) -> None:
        for n in range(300):
            mine = [ours.put(head(f"{name}{n}-{i}")) for i in range(20)]
            shared.extend(slot for slot in mine if slot in held)
            held.update(mine)
            held.difference_update(mine)
            for slot in mine:
                ours.free(slot, recorded=n % 2 == 0)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert shared == []
    assert -1 not in held
    assert opened(tmp_path) == []


def test_a_signal_handler_that_records_while_the_file_is_made_shares_it(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever runs in between in the same thread: no deadlock, and nothing open looks like a dead process's.
    """
    ours = Journal(tmp_path)
    new_file = journal._new_file

    def interrupted(folder: Path) -> descriptors.Descriptor:
        monkeypatch.setattr(journal, "_new_file", new_file)
        ours.put(head("-handler"))
        return new_file(folder)

    monkeypatch.setattr(journal, "_new_file", interrupted)
    ours.put(head("-main"))

    assert [each.alive for each in read_journals(tmp_path)] == [True]
    assert opened(tmp_path) == ["o-handler", "o-main"]


# Failures


def test_where_no_journal_can_be_made_observations_begin_without_a_slot(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    No exception reaches the program; `problem` has the reason, and the next attempt is a second later.
    """
    (tmp_path / "traces").write_text("notes")
    now = [1000.0]
    monkeypatch.setattr(journal, "monotonic", lambda: now[0])
    ours = Journal(tmp_path / "traces")

    refused = ours.put(head(1))
    (tmp_path / "traces").unlink()
    too_soon = ours.put(head(2))
    now[0] += journal.RETRY_S
    later = ours.put(head(3))

    assert (refused, too_soon) == (-1, -1)
    assert later >= 0
    assert ours.problem == (
        f"cannot keep a journal of open observations in {tmp_path}/traces: [Errno 17] File exists: '{tmp_path}/traces'"
    )


@pytest.mark.parametrize("answer", [OSError(errno.ENOSPC, "No space left on device"), 5], ids=["error", "part"])
def test_a_slot_that_cannot_be_written_is_not_taken(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch, answer: OSError | int
) -> None:
    """
    On a full disk an observation begins without a slot, and the next one that has space gets it.
    """
    ours = Journal(tmp_path)
    ours.put(head(1))

    def full(fd: int, data: bytes, offset: int) -> int:
        if isinstance(answer, OSError):
            raise answer
        return os.pwrite(fd, data[:answer], offset)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "pwrite", full)
        refused = ours.put(head(2))
    later = ours.put(head(3))

    assert refused == -1
    assert later >= 0
    assert "No space left on device" in str(ours.problem)
    assert opened(tmp_path) == ["o1", "o3"]


def damaged(path: Path, how: str) -> None:
    if how == "deleted":
        path.unlink()
    elif how == "replaced":
        path.unlink()
        path.write_text("notes")
    else:
        os.truncate(path, {"emptied": 0, "shortened": 100, "extended": 10_000_000}[how])


@pytest.mark.parametrize("how", ["deleted", "replaced", "emptied", "shortened", "extended"])
def test_whatever_happens_to_the_file_recording_goes_on(tmp_path: Path, head: Head, how: str) -> None:
    """
    Observations begin and end as before; with the next check the journal shows again what is open.
    """
    ours = Journal(tmp_path)
    first, second = ours.put(head(1)), ours.put(head(2))

    damaged(journals(tmp_path)[0], how)
    third = ours.put(head(3))
    ours.free(first, recorded=True)
    ours.verify()
    ours.put(head(4))

    assert min(second, third) >= 0
    assert opened(tmp_path) == ["o2", "o3", "o4"]


def test_a_file_that_a_reader_locked_first_is_not_used(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A reader may look at a file between its making and its locking: the writer makes another one.
    """
    answers = [False, False, True]
    monkeypatch.setattr(journal, "lock", lambda fd: answers.pop(0))
    ours = Journal(tmp_path)

    slot = ours.put(head(1))

    assert slot >= 0
    assert len(journals(tmp_path)) == 1


def test_a_lock_that_is_never_free_is_a_reported_problem(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The writer gives up after a few attempts.
    """
    monkeypatch.setattr(journal, "lock", lambda fd: False)
    ours = Journal(tmp_path)

    assert ours.put(head(1)) == -1
    assert "other processes keep locking" in str(ours.problem)
    assert journals(tmp_path) == []


def test_a_file_swept_away_before_it_was_locked_is_not_used(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A sweeper may remove the file in the same moment: the writer notices that it locked a removed file.
    """
    locked: list[int] = []

    def lock_after_a_sweep(fd: int) -> bool:
        if not locked:
            journals(tmp_path)[0].unlink()
        locked.append(fd)
        return True

    monkeypatch.setattr(journal, "lock", lock_after_a_sweep)
    Journal(tmp_path).put(head(1))

    assert len(locked) == 2


# Closing, dropping, moving


def test_close_removes_the_file_when_nothing_is_open(tmp_path: Path, head: Head) -> None:
    """
    A normal end leaves nothing; a later observation makes a new file.
    """
    ours = Journal(tmp_path)
    ours.free(ours.put(head(1)), recorded=True)
    ours.close()
    closed = journals(tmp_path)

    ours.put(head(2))

    assert closed == []
    assert opened(tmp_path) == ["o2"]


def test_close_keeps_what_is_open(tmp_path: Path, head: Head) -> None:
    """
    An observation that goes on after `close` can still be read and freed; the next `close` removes the file.
    """
    ours = Journal(tmp_path)
    slot = ours.put(head(1))

    ours.close()
    kept = opened(tmp_path)
    ours.free(slot)
    ours.close()

    assert kept == ["o1"]
    assert journals(tmp_path) == []


def test_a_journal_that_is_dropped_removes_its_file(tmp_path: Path, head: Head) -> None:
    """
    Calling `close` is not required.
    """
    ours = Journal(tmp_path)
    ours.free(ours.put(head(1)))

    del ours
    gc.collect()

    assert journals(tmp_path) == []


def test_a_new_journal_tidies_up_after_processes_that_could_not(tmp_path: Path, head: Head) -> None:
    """
    Files in which a process that ended abruptly left nothing open are removed; last words and living ones stay.
    """
    left = leave_behind(tmp_path, head(1) + b"\n")
    (tmp_path / ".inflight-999999-void").touch()
    (tmp_path / ".inflight-999999-free").write_bytes(bytes(64 * SLOT_BYTES))
    (tmp_path / ".inflight-999999-folder").mkdir()
    other = Journal(tmp_path)
    other.free(other.put(head(2)))
    living = {path for path in journals(tmp_path) if f"-{os.getpid()}-" in path.name}

    ours = Journal(tmp_path)
    ours.put(head(3))

    assert set(journals(tmp_path)) == living | {left, tmp_path / ".inflight-999999-folder", Path(ours._file.path)}
    assert opened(tmp_path) == ["o1", "o3"]


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_what_is_open_moves_with_the_folder(tmp_path: Path, head: Head, how: str) -> None:
    """
    When the folder was deleted or renamed, the journal goes on in a new one; in the old one nothing is open.
    """
    ours = Journal(tmp_path / "traces")
    first, second = ours.put(head(1)), ours.put(head(2))
    (tmp_path / "traces").rename(tmp_path / "old")
    if how == "deleted":
        journals(tmp_path / "old")[0].unlink()

    ours.verify()
    ours.put(head(3))
    ours.free(first)

    assert opened(tmp_path / "traces") == ["o2", "o3"]
    assert opened(tmp_path / "old") == []
    assert [each.alive for each in read_journals(tmp_path / "traces")] == [True]
    assert second != first


def test_a_file_in_its_place_stays_in_use(tmp_path: Path, head: Head) -> None:
    """
    The check runs often, and seldom finds anything.
    """
    ours = Journal(tmp_path)
    ours.put(head(1))
    before = journals(tmp_path)

    ours.verify()

    assert journals(tmp_path) == before


def test_a_journal_that_cannot_move_is_a_reported_problem(tmp_path: Path, head: Head) -> None:
    """
    Where the new folder cannot be made, the program goes on, and what is open can still be freed.
    """
    ours = Journal(tmp_path / "traces")
    slot = ours.put(head(1))
    (tmp_path / "traces").rename(tmp_path / "old")
    (tmp_path / "traces").write_text("notes")

    ours.verify()
    ours.free(slot)

    assert "File exists" in str(ours.problem)
    assert opened(tmp_path / "old") == []


# Reading


def test_a_journal_that_is_not_locked_is_of_a_dead_process(tmp_path: Path, head: Head) -> None:
    """
    The lock ends with the process.
    """
    path = leave_behind(tmp_path, head(1) + b"\n", b"", head(2) + b"\n")

    assert [(alive, found, len(records)) for alive, found, records in read_journals(tmp_path)] == [(False, path, 2)]


@pytest.mark.parametrize(
    "slot",
    [
        b'{"id":"o2","na',
        b'{"id":"o2","na\n',
        b"\0" + b'{"id":"o2"\n',
        b"\xff\n",
        b"\n",
        b'{"other":1\n',
        b"x" * SLOT_BYTES,
    ],
)
def test_what_is_not_a_whole_beginning_is_left_out(tmp_path: Path, head: Head, slot: bytes) -> None:
    """
    Torn, half freed and foreign slots hide no other slot.
    """
    leave_behind(tmp_path, head(1) + b"\n", slot, head(3) + b"\n")

    assert opened(tmp_path) == ["o1", "o3"]


def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path: Path, head: Head) -> None:
    """
    An incomplete copy and an empty file are not errors.
    """
    path = leave_behind(tmp_path, head(1) + b"\n", head(2) + b"\n")
    path.write_bytes(path.read_bytes()[: SLOT_BYTES + 20])
    (tmp_path / ".inflight-1-empty").touch()

    assert opened(tmp_path) == ["o1"]


@pytest.mark.parametrize("cut", range(10, 200, 7))
def test_a_slot_that_is_being_written_is_left_out(tmp_path: Path, head: Head, cut: int) -> None:
    """
    Of a running process, a slot with the beginning of one write and the end of another is not shown as an observation.
    """
    ours = Journal(tmp_path)
    ours.free(ours.put(head(1, pad="x" * 90)), recorded=True)
    (path,) = journals(tmp_path)
    old = path.read_bytes()
    ours.put(head(2, pad="y" * 60))
    new = path.read_bytes()

    path.write_bytes(new[:cut] + old[cut:])

    assert opened(tmp_path) == []
    path.write_bytes(new)
    assert opened(tmp_path) == ["o2"]


@pytest.mark.parametrize("cut", range(10, 200, 7))
def test_a_slot_that_is_written_while_it_is_read_is_read_again(
    tmp_path: Path, head: Head, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A reader that is suspended in a read, while the writer finishes, sees new bytes around old ones.
    """
    ours = Journal(tmp_path)
    ours.free(ours.put(head(1, again="o1", pad="x" * 60)), recorded=True)
    (path,) = journals(tmp_path)
    old = path.read_bytes()
    ours.put(head(2, again="o2", pad="y" * 60))
    new = path.read_bytes()
    reads = [new[:cut] + old[cut : cut + 40] + new[cut + 40 :]]
    monkeypatch.setattr(inflight, "content", lambda fd: reads.pop() if reads else new)

    (journal,) = read_journals(tmp_path)

    assert [(record["id"], record["again"], record["pad"]) for record in journal.records] == [("o2", "o2", "y" * 60)]


def test_a_slot_that_changes_with_each_read_is_left_out(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each observation that was in it has ended, and other slots are read.
    """
    ours = Journal(tmp_path)
    slots = [ours.put(head(1)), ours.put(head(2))]
    (path,) = journals(tmp_path)

    def changed(fd: int, size: int = MAX_SLOTS * SLOT_BYTES, start: int = 0) -> bytes:
        ours.free(slots.pop(), recorded=True)
        slots.append(ours.put(head(os.urandom(4).hex())))
        return path.read_bytes()[start : start + size]

    monkeypatch.setattr(inflight, "content", changed)
    monkeypatch.setattr(os, "pread", changed)

    assert opened(tmp_path) == ["o1"]


@pytest.mark.parametrize("size", [MAX_SLOTS * SLOT_BYTES + 1, 20_000_000_000])
def test_a_file_too_large_for_a_journal_is_not_read(tmp_path: Path, head: Head, size: int) -> None:
    """
    A sparse file with a journal's name costs neither time nor memory, of the first traced call nor of readers.
    """
    (tmp_path / ".inflight-999999-huge").touch()
    os.truncate(tmp_path / ".inflight-999999-huge", size)
    tracemalloc.start()
    ours = Journal(tmp_path)
    ours.put(head(1))

    found = opened(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == ["o1"]
    assert peak < 5_000_000


def test_a_folder_without_journals_has_nothing_open(tmp_path: Path) -> None:
    """
    Nor has one that does not exist; a folder with the name of a journal is passed over.
    """
    (tmp_path / ".inflight-folder").mkdir()

    assert list(read_journals(tmp_path)) == []
    assert list(read_journals(tmp_path / "nowhere")) == []


def test_reading_does_not_disturb_the_writer(tmp_path: Path, head: Head) -> None:
    """
    A reader in the middle of its reading holds no lock on anything the writer needs.
    """
    ours = Journal(tmp_path)
    ours.put(head(1))
    reading = read_journals(tmp_path)
    next(reading)

    ours.put(head(2))

    assert opened(tmp_path) == ["o1", "o2"]
    assert list(reading) == []


def test_without_locks_the_number_of_the_process_decides(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where there is no `flock`, a journal is alive when a process of its number runs.
    """
    monkeypatch.setattr(descriptors, "CAN_LOCK", False)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    content = (head(1) + b"\n").ljust(SLOT_BYTES, b"\0")
    for name in (f"{os.getpid()}-a", f"{ended.pid}-b", "copy-of-a-journal"):
        (tmp_path / f".inflight-{name}").write_bytes(content)

    alive = {each.path.name: each.alive for each in read_journals(tmp_path)}

    assert alive == {
        f".inflight-{os.getpid()}-a": True,
        f".inflight-{ended.pid}-b": False,
        ".inflight-copy-of-a-journal": False,
    }


def test_a_crashed_root_becomes_an_observation_and_a_trace() -> None:
    """
    The record keeps what was known; its status is crashed, its level INFO, and it has no end.
    """
    slot = {"id": "o1", "trace_id": "t1", "name": "Chat", "start_time": "2026-01-17T14:30:22.123456Z", "input": "Hi"}

    observation, trace = crashed({**slot, "trace": {"session_id": "s1", "tags": ["a"]}})

    assert observation == {**slot, "status": "crashed", "level": "INFO"}
    assert trace == {
        "trace_id": "t1",
        "name": "Chat",
        "start_time": "2026-01-17T14:30:22.123456Z",
        "input": "Hi",
        "session_id": "s1",
        "tags": ["a"],
        "status": "crashed",
        "schema": 2,
    }


def test_a_crashed_child_becomes_an_observation_only() -> None:
    """
    The trace line belongs to the root.
    """
    assert crashed({"id": "o1", "trace_id": "t1"}) == (
        {"id": "o1", "trace_id": "t1", "status": "crashed", "level": "INFO"},
        None,
    )


# Real processes


def test_a_killed_process_leaves_what_was_open(tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    """
    `kill -9`, and what it had open reads as a dead process's; while it ran, as a living one's.
    """
    process = start(
        """
        journal = Journal(folder)
        journal.free(journal.put(head(1)))
        journal.put(head(2))
        journal.put(head(3))
        print("ready", flush=True)
        time.sleep(60)
        """,
        tmp_path,
    )
    assert process.stdout is not None
    process.stdout.readline()
    (running,) = read_journals(tmp_path)

    process.kill()
    process.wait()

    (dead,) = read_journals(tmp_path)
    assert (running.alive, dead.alive) == (True, False)
    assert running.records == dead.records
    assert opened(tmp_path) == ["o2", "o3"]


@pytest.mark.parametrize(
    ("ending", "left"),
    [("", []), ("sys.exit(3)", []), ("raise SystemExit", []), ("journal.put(head(2))", ["o2"]), ("os._exit(0)", [])],
)
def test_what_an_ordinary_exit_leaves(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], ending: str, left: list[str]
) -> None:
    """
    Nothing, if all had ended; what was still open at the exit otherwise, for its readers.
    """
    process = start(f"journal = Journal(folder); journal.free(journal.put(head(1))); {ending}", tmp_path)
    process.wait()

    assert opened(tmp_path) == left
    assert [each.alive for each in read_journals(tmp_path)] in ([], [False])
    assert bool(journals(tmp_path)) == bool(left or "_exit(" in ending)


def test_after_a_fork_each_process_has_its_own(tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    """
    The child neither frees nor shows its parent's slots, and does not keep a killed parent alive.
    """
    parent = start(
        """
        journal = Journal(folder)
        slot = journal.put(head("-parent"))
        child = os.fork()
        if not child:
            journal.free(slot)
            journal.close()
            journal.put(head("-child"))
            print(os.getpid(), flush=True)
            time.sleep(60)
        time.sleep(60)
        """,
        tmp_path,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    def seen() -> dict[int, tuple[bool, list[str]]]:
        return {
            int(i.path.name.split("-")[1]): (i.alive, [r["id"] for r in i.records]) for i in read_journals(tmp_path)
        }

    both = seen()
    parent.kill()
    parent.wait()
    orphaned = seen()
    os.kill(child, signal.SIGKILL)

    assert both == {parent.pid: (True, ["o-parent"]), child: (True, ["o-child"])}
    assert orphaned == {parent.pid: (False, ["o-parent"]), child: (True, ["o-child"])}


def test_a_child_that_exits_leaves_its_parents_journal(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """
    A forked child that runs to its ordinary end removes its own file only.
    """
    process = start(
        """
        journal = Journal(folder)
        journal.free(journal.put(head(0)))
        if not os.fork():
            journal.free(journal.put(head(1)))
            sys.exit()
        os.wait()
        print(len([name for name in os.listdir(folder) if name.startswith(".inflight-%d-" % os.getpid())]), flush=True)
        print(len(os.listdir(folder)), flush=True)
        """,
        tmp_path,
    )
    output, _ = process.communicate()

    assert output.split() == [b"1", b"1"]
    assert journals(tmp_path) == []


def test_inflight_is_a_plain_tuple(tmp_path: Path) -> None:
    """
    Readers unpack it as ``alive, path, records``.
    """
    assert Inflight(True, tmp_path, []) == (True, tmp_path, [])


def test_an_interrupted_start_leaves_nothing_open(tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that arrives during the write is handled right after it; no caller is given the slot then."""
    slots = Journal(tmp_path)
    slots.free(slots.put(head("a")))
    write = journal.pwrite

    def interrupted(*args: object) -> int:
        write(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "pwrite", interrupted)
    with pytest.raises(KeyboardInterrupt):
        slots.put(head("b"))

    assert not slots.has_open
