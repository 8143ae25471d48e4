"""The journal: what is open can be read by others, now and after the process died."""

from __future__ import annotations

import gc
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxloop.storage import Journal, descriptors, journal, slots
from fluxloop.storage.journal import Inflight, crashed, read_journals
from fluxloop.storage.slots import FIRST_SLOTS, SLOT_BYTES

Head = Callable[..., bytes]


def opened(folder: Path) -> list[str]:
    """The ids of what is open, by all journals in the folder."""
    return sorted(record["id"] for inflight in read_journals(folder) for record in inflight.records)


def journals(folder: Path) -> list[Path]:
    return sorted(folder.glob(".inflight-*"))


def leave_behind(folder: Path, *lines: bytes) -> Path:
    """Write the journal of a process that is no more."""
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
    ours.follow()
    ours.close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("head_bytes", "rest_bytes", "kept"),
    [
        (1023, 0, "head"),
        (1000, 23, "head+rest"),
        (1000, 24, "head"),
        (1024, 0, None),
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
    A thousand tasks at once are all in it; and slots are used again, so it does not grow for ever.
    """
    ours = Journal(tmp_path)

    for n in range(1_000):
        ours.free(ours.put(head(n)))
    small = journals(tmp_path)[0].stat().st_size
    taken = [ours.put(head(n)) for n in range(1_000)]

    assert small == FIRST_SLOTS * SLOT_BYTES
    assert journals(tmp_path)[0].stat().st_size == 1024 * SLOT_BYTES
    assert len(set(taken)) == 1_000
    assert opened(tmp_path) == sorted(f"o{n}" for n in range(1_000))


def test_a_full_journal_gives_no_slot_until_one_is_free(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Beyond the most slots there are, observations begin without one, which harms nobody.
    """
    monkeypatch.setattr(slots, "MOST_SLOTS", FIRST_SLOTS)
    ours = Journal(tmp_path)
    taken = [ours.put(head(n)) for n in range(FIRST_SLOTS)]

    over = ours.put(head("over"))
    ours.free(taken[7])

    assert over == -1
    assert ours.put(head("again")) == taken[7]


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
    Property: after any script, the journal holds exactly what was put and not freed.
    """
    folder = tmp_path_factory.mktemp("script")
    ours = Journal(folder)
    open_slots: dict[int, int] = {}

    for begins, n in script:
        if begins and n not in open_slots:
            open_slots[n] = ours.put(b'{"id":"o%d","trace_id":"t","name":"%b"' % (n, b"x" * n))
        elif n in open_slots:
            ours.free(open_slots.pop(n))

    found = {record["id"]: len(record["name"]) for each in read_journals(folder) for record in each.records}
    assert found == {f"o{n}": n for n in open_slots}
    assert len(set(open_slots.values())) == len(open_slots)


def test_threads_never_share_a_slot(tmp_path: Path, head: Head) -> None:
    """
    Threads that begin and end at once: nobody's slot is overwritten while it is held.
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
                ours.free(slot)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert shared == []
    assert -1 not in held
    assert opened(tmp_path) == []


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """A mapped file whose process is killed within a store, after some of its bytes."""

    def __init__(self, mapped: Any, store: int, bytes_done: int) -> None:
        self.mapped, self.store, self.bytes_done = mapped, store, bytes_done

    def __setitem__(self, where: Any, value: Any) -> None:
        if not self.store:
            if isinstance(where, slice):
                self.mapped[where.start : where.start + self.bytes_done] = value[: self.bytes_done]
            raise Killed
        self.store -= 1
        self.mapped[where] = value


@pytest.mark.parametrize(("store", "bytes_done"), [(0, 0), (0, 5), (0, 40), (0, 83), (1, 0)])
def test_a_beginning_that_was_cut_off_is_not_mixed_with_an_older_one(
    tmp_path: Path, head: Head, store: int, bytes_done: int
) -> None:
    """
    Killed in the middle of `put`, at any byte: the slot is free, though older bytes would complete it.
    """
    ours = Journal(tmp_path)
    ours.free(ours.put(head(1)))
    ours._live.map = Dying(ours._live.map, store, bytes_done)  # type: ignore[assignment]

    with pytest.raises(Killed):
        ours.put(head(2))

    assert opened(tmp_path) == []


def test_a_signal_handler_that_records_while_the_file_is_made_shares_it(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever runs in between in the same thread: no deadlock, and nothing open looks like a dead process's.
    """
    ours = Journal(tmp_path)
    fill = slots._fill

    def interrupted(fd: int, content: bytes) -> None:
        monkeypatch.setattr(slots, "_fill", fill)
        ours.put(head("-handler"))
        fill(fd, content)

    monkeypatch.setattr(slots, "_fill", interrupted)
    ours.put(head("-main"))

    assert [inflight.alive for inflight in read_journals(tmp_path)] == [True]
    assert opened(tmp_path) == ["o-handler", "o-main"]


# Trouble


def test_where_no_journal_can_be_kept_put_says_so_and_goes_on(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    No exception reaches the program; the reason can be asked for, and a second later it is tried again.
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
    assert ours.trouble == (
        f"cannot keep a journal of open observations in {tmp_path}/traces: [Errno 17] File exists: '{tmp_path}/traces'"
    )


def test_a_file_system_that_cannot_map_files_leaves_nothing_behind(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Some network file systems refuse: then there is no journal, and no useless file either.
    """

    def refuse(fd: int, size: int) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(mmap, "mmap", refuse)
    ours = Journal(tmp_path)

    assert ours.put(head(1)) == -1
    assert "No such device" in str(ours.trouble)
    assert journals(tmp_path) == []


def test_a_reader_that_is_faster_than_our_lock_gets_a_file_of_its_own(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Between making a file and locking it a reader may look: the writer goes on with another name.
    """
    answers = [False, False, True]
    monkeypatch.setattr(slots, "lock", lambda fd: answers.pop(0))
    ours = Journal(tmp_path)

    slot = ours.put(head(1))

    assert slot >= 0
    assert len(journals(tmp_path)) == 1


def test_a_lock_nobody_lets_us_have_is_a_trouble_and_no_more(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It does not loop for ever.
    """
    monkeypatch.setattr(slots, "lock", lambda fd: False)
    ours = Journal(tmp_path)

    assert ours.put(head(1)) == -1
    assert "others keep locking" in str(ours.trouble)
    assert journals(tmp_path) == []


def test_a_file_swept_away_before_it_was_locked_is_not_used(
    tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A sweeper may remove the file in the same moment: the writer notices that its lock is on nothing.
    """
    locked: list[int] = []

    def lock_after_a_sweep(fd: int) -> bool:
        if not locked:
            journals(tmp_path)[0].unlink()
        locked.append(fd)
        return True

    monkeypatch.setattr(slots, "lock", lock_after_a_sweep)
    Journal(tmp_path).put(head(1))

    assert len(locked) == 2


# Closing, dropping, moving


def test_close_removes_the_file_when_nothing_is_open(tmp_path: Path, head: Head) -> None:
    """
    A normal end leaves nothing; a later observation makes a new file, for which old slots mean nothing.
    """
    ours = Journal(tmp_path)
    old = ours.put(head(1))
    ours.free(old)
    ours.close()
    closed = journals(tmp_path)
    ours.put(head(2))

    ours.free(old)

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
    Nobody has to call `close`.
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

    assert set(journals(tmp_path)) == living | {left, tmp_path / ".inflight-999999-folder", ours._live.path}
    assert opened(tmp_path) == ["o1", "o3"]


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_follow_takes_what_is_open_along(tmp_path: Path, head: Head, how: str) -> None:
    """
    When the folder was deleted or renamed, the journal goes on in a new one; in the old one nothing is open.
    """
    ours = Journal(tmp_path / "traces")
    first, second = ours.put(head(1)), ours.put(head(2))
    (tmp_path / "traces").rename(tmp_path / "old")
    if how == "deleted":
        journals(tmp_path / "old")[0].unlink()

    ours.follow()
    ours.put(head(3))
    ours.free(first)

    assert opened(tmp_path / "traces") == ["o2", "o3"]
    assert opened(tmp_path / "old") == []
    assert [inflight.alive for inflight in read_journals(tmp_path / "traces")] == [True]
    assert second != first


def test_follow_stays_where_nothing_moved(tmp_path: Path, head: Head) -> None:
    """
    It is asked often, and does something seldom.
    """
    ours = Journal(tmp_path)
    ours.put(head(1))
    before = journals(tmp_path)

    ours.follow()

    assert journals(tmp_path) == before


def test_follow_that_cannot_is_a_trouble_and_no_more(tmp_path: Path, head: Head) -> None:
    """
    Where the new folder cannot be made, the program goes on, and what is open can still be freed.
    """
    ours = Journal(tmp_path / "traces")
    slot = ours.put(head(1))
    (tmp_path / "traces").rename(tmp_path / "old")
    (tmp_path / "traces").write_text("notes")

    ours.follow()
    ours.free(slot)

    assert "File exists" in str(ours.trouble)
    assert opened(tmp_path / "old") == []


# Reading


def test_a_journal_nobody_holds_is_of_a_dead_process(tmp_path: Path, head: Head) -> None:
    """
    A file that is not locked holds the last words of its process.
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
def test_what_is_no_whole_beginning_is_left_out(tmp_path: Path, head: Head, slot: bytes) -> None:
    """
    Torn, half freed and foreign slots hide no other slot.
    """
    leave_behind(tmp_path, head(1) + b"\n", slot, head(3) + b"\n")

    assert opened(tmp_path) == ["o1", "o3"]


def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path: Path, head: Head) -> None:
    """
    A copy that was broken off, or an empty file, is no error.
    """
    path = leave_behind(tmp_path, head(1) + b"\n", head(2) + b"\n")
    path.write_bytes(path.read_bytes()[: SLOT_BYTES + 20])
    (tmp_path / ".inflight-1-empty").touch()

    assert opened(tmp_path) == ["o1"]


def test_a_slot_that_changes_while_it_is_read_is_left_out(tmp_path: Path, head: Head) -> None:
    """
    Of a running process only what stands still between two looks is read.
    """
    steady, changed = head(1).ljust(SLOT_BYTES, b"\n"), head(2).ljust(SLOT_BYTES, b"\n")

    class Changing:
        looks = iter([steady + changed, steady + head(3).ljust(SLOT_BYTES, b"\n")])

        def seek(self, where: int) -> None:
            assert where == 0

        def read(self) -> bytes:
            return next(self.looks)

    records = journal.read_slots(Changing(), alive=True)  # type: ignore[arg-type]

    assert [record["id"] for record in records] == ["o1"]


def test_a_folder_without_journals_has_nothing_open(tmp_path: Path) -> None:
    """
    Nor has one that does not exist; and a journal that is none is passed over.
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


def test_without_locks_the_number_of_the_process_tells(
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

    alive = {inflight.path.name: inflight.alive for inflight in read_journals(tmp_path)}

    assert alive == {
        f".inflight-{os.getpid()}-a": True,
        f".inflight-{ended.pid}-b": False,
        ".inflight-copy-of-a-journal": False,
    }


def test_a_crashed_root_stands_for_an_observation_and_a_trace() -> None:
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
        "schema": 1,
    }


def test_a_crashed_child_is_an_observation_only() -> None:
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
    assert [inflight.alive for inflight in read_journals(tmp_path)] in ([], [False])
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
