"""Files: what is in them, when, and what happens to the rest when something goes wrong."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import fluxloop
from fluxloop.errors import WriteError
from fluxloop.storage import FileStorage, Record, file
from fluxloop.storage.descriptors import HIGH_NUMBER
from fluxloop.storage.inflight import read_journals
from fluxloop.storage.repair import sweep

Make = Callable[..., Record]
Lines = Callable[[Path], list[dict[str, Any]]]


class Clock:
    """A clock for `fluxloop.storage.file` that the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(file, "monotonic", clock)
    return clock


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What goes to `os.write`, call by call."""
    calls: list[bytes] = []
    write = os.write

    def noted(fd: int, data: bytes) -> int:
        calls.append(bytes(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", noted)
    return calls


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What is written, and where


def test_a_record_is_in_its_file_when_write_returns(tmp_path: Path, record: Make, lines: Lines) -> None:
    """
    An observation can be read by others as soon as it has ended; nothing waits in a buffer.
    """
    storage = FileStorage(tmp_path)

    storage.write([record(1)])

    assert lines(tmp_path / "observations_20260117.jsonl") == [{"id": "o1", "trace_id": "t1"}]


def test_observations_and_traces_have_a_file_each_per_day(tmp_path: Path, record: Make) -> None:
    """
    Exactly the two files per day of the documentation, named by the record's day.
    """
    storage = FileStorage(tmp_path / "traces")

    storage.write(
        [record(1), record(1, kind="trace"), record(2, day="20260118"), record(2, kind="trace", day="20260118")]
    )

    assert names(tmp_path / "traces") == [
        "observations_20260117.jsonl",
        "observations_20260118.jsonl",
        "traces_20260117.jsonl",
        "traces_20260118.jsonl",
    ]


def test_without_dates_all_days_share_two_files(tmp_path: Path, record: Make, lines: Lines) -> None:
    """
    ``dated=False`` writes the undated names that experiments use, whatever the day.
    """
    storage = FileStorage(tmp_path, dated=False)

    storage.write([record(1), record(2, day="20260118"), record(2, kind="trace")])

    assert names(tmp_path) == ["observations.jsonl", "traces.jsonl"]
    assert [line["id"] for line in lines(tmp_path / "observations.jsonl")] == ["o1", "o2"]


def test_each_record_is_one_system_call(tmp_path: Path, record: Make, writes: list[bytes]) -> None:
    """
    A line is written whole, so that no other writer can get into the middle of it.
    """
    storage = FileStorage(tmp_path)
    records = [record(n, input="x" * 100_000) for n in range(3)]

    storage.write(records)

    assert [call for call in writes if call] == [each.line for each in records]


def test_a_storage_touches_nothing_before_its_first_record(tmp_path: Path) -> None:
    """
    Making a storage, and closing it unused, leaves no folder behind.
    """
    FileStorage(tmp_path / "traces").close()

    assert names(tmp_path) == []


def test_a_relative_folder_stays_where_the_storage_was_made(
    tmp_path: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A program that changes its working directory does not scatter its traces.
    """
    monkeypatch.chdir(tmp_path)
    storage = FileStorage("./traces")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    storage.write([record(1)])

    assert names(tmp_path / "traces") == ["observations_20260117.jsonl"]


def test_files_are_for_their_owner_alone_unless_asked(tmp_path: Path, record: Make) -> None:
    """
    Traces hold what users said: mode 600 by default, and ``mode=`` where others have to read them.
    """
    FileStorage(tmp_path / "private").write([record(1)])
    FileStorage(tmp_path / "shared", mode=0o644).write([record(1)])

    modes = [stat.S_IMODE(path.stat().st_mode) for path in sorted(tmp_path.glob("*/*.jsonl"))]

    assert modes == [0o600, 0o644]


# Descriptors


def test_many_days_hold_few_files_open(tmp_path: Path, record: Make) -> None:
    """
    A program that runs for months closes the files of past days.
    """
    storage = FileStorage(tmp_path)
    before = open_files()

    for day in range(100, 200):
        storage.write([record(day, day=f"20260{day}"), record(day, kind="trace", day=f"20260{day}")])

    assert open_files() - before == file.MAX_OPEN
    assert len(names(tmp_path)) == 200


def test_close_closes_the_files_and_a_later_write_opens_them(tmp_path: Path, record: Make, lines: Lines) -> None:
    """
    After `close` no descriptor is left; records that come later are stored.
    """
    before = open_files()
    storage = FileStorage(tmp_path)
    storage.write([record(1)])

    storage.close()
    closed = open_files()
    storage.write([record(2)])

    assert closed == before
    assert [line["id"] for line in lines(tmp_path / "observations_20260117.jsonl")] == ["o1", "o2"]


def test_a_forgotten_storage_closes_its_files(tmp_path: Path, record: Make) -> None:
    """
    A storage that is dropped without `close` leaks no descriptor (and warns of nothing).
    """
    before = open_files()
    FileStorage(tmp_path).write([record(1), record(1, kind="trace")])
    gc.collect()

    assert open_files() == before


def test_a_descriptor_that_became_another_files_is_neither_written_nor_closed(
    tmp_path: Path, record: Make, clock: Clock
) -> None:
    """
    A number that the program gave to a file of its own is that file's: our records go to a new descriptor.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1), record(1, kind="trace")])
    ours = {opened.fd for opened in storage._files.values()}
    others = tmp_path / "others.txt"
    number = os.open(others, os.O_RDWR | os.O_CREAT)
    for fd in ours:
        os.dup2(number, fd)

    clock.now += file.CHECK_REMOVED_S
    storage.write([record(2)])
    storage.close()

    assert others.read_bytes() == b""
    assert all(os.fstat(fd) for fd in ours)
    assert [each["id"] for each in storage.read() if "id" in each] == ["o1", "o2"]
    for fd in (number, *ours):
        os.close(fd)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot choose the number of a descriptor")
def test_our_descriptors_have_high_numbers(tmp_path: Path, record: Make, head: Callable[..., bytes]) -> None:
    """
    A program that closes every number it finds gets the lowest ones for the files it opens next, not ours.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1)])
    storage.journal.put(head(1))

    assert min(storage.journal._file.fd, *(opened.fd for opened in storage._files.values())) >= HIGH_NUMBER


def test_a_descriptor_the_program_closed_costs_nothing(tmp_path: Path, record: Make) -> None:
    """
    The record that meets it is written to a new one.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1)])
    (opened,) = storage._files.values()
    os.close(opened.fd)

    storage.write([record(2)])
    storage.write([record(3)])

    assert [each["id"] for each in storage.read()] == ["o1", "o2", "o3"]


# Files that disappear


def test_a_folder_deleted_between_two_traces_is_made_again(tmp_path: Path, record: Make, clock: Clock) -> None:
    """
    `rm -rf traces` between two runs: the records of the second are in a new folder when it ends, the first's are not.
    """
    storage = FileStorage(tmp_path / "traces")
    storage.write([record(1), record(1, kind="trace")])
    shutil.rmtree(tmp_path / "traces")

    storage.write([record(2)])
    storage.write([record(3), record(2, kind="trace")])

    assert [line.get("id") for line in storage.read()] == ["o2", "o3", None]


def test_records_written_into_a_removed_file_are_written_again(tmp_path: Path, record: Make, clock: Clock) -> None:
    """
    A folder deleted in the middle of a trace: a tenth of a second later, with the next record, they are in a new one.
    """
    storage = FileStorage(tmp_path / "traces")
    storage.write([record(1)])
    clock.now += file.CHECK_REMOVED_S
    storage.write([record(2)])
    shutil.rmtree(tmp_path / "traces")
    storage.write([record(3)])

    clock.now += file.CHECK_REMOVED_S
    storage.write([record(4)])

    assert [line["id"] for line in storage.read()] == ["o2", "o3", "o4"]


@pytest.mark.parametrize("last", ["flush", "close"])
def test_flush_and_close_write_again_what_a_removed_file_took(
    tmp_path: Path, record: Make, clock: Clock, last: str
) -> None:
    """
    The last record of a program is not lost because no other follows.
    """
    storage = FileStorage(tmp_path / "traces")
    storage.write([record(1)])
    shutil.rmtree(tmp_path / "traces")
    storage.write([record(2)])

    getattr(storage, last)()

    assert [line["id"] for line in storage.read()] == ["o1", "o2"]


def test_a_burst_into_a_removed_file_is_noticed_by_its_length(tmp_path: Path, record: Make, clock: Clock) -> None:
    """
    However little time passes, at most a hundred records wait in memory to be written again.
    """
    storage = FileStorage(tmp_path / "traces")
    storage.write([record(0)])
    shutil.rmtree(tmp_path / "traces")

    for n in range(1, file.MAX_UNCHECKED + 1):
        storage.write([record(n)])

    assert [line["id"] for line in storage.read()] == [f"o{n}" for n in range(file.MAX_UNCHECKED + 1)]
    assert all(not opened.unchecked[file.MAX_UNCHECKED + 1 :] for opened in storage._files.values())


def test_threads_lose_nothing_to_a_file_that_is_removed_again_and_again(tmp_path: Path, record: Make) -> None:
    """
    Eight threads write while a ninth deletes the files: what is in no file any more was in one that was deleted.
    """
    storage = FileStorage(tmp_path)
    path = tmp_path / "observations_20260117.jsonl"
    taken: set[str] = set()
    working = True

    def work(name: str) -> None:
        for n in range(2_000):
            storage.write([record(f"{name}-{n}")])

    def delete() -> None:
        while working:
            if path.exists():
                with path.open("rb") as opened:
                    path.unlink()
                    time.sleep(0.005)
                    taken.update(json.loads(line)["id"] for line in opened)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    deleter = threading.Thread(target=delete)
    for thread in (*threads, deleter):
        thread.start()
    for thread in threads:
        thread.join()
    working = False
    deleter.join()
    storage.flush()

    left = {line["id"] for line in storage.read()}
    assert left | taken == {f"o{name}-{n}" for name in "abcdefgh" for n in range(2_000)}


@pytest.mark.parametrize("name", ["observations_20260117.jsonl", "traces_20260117.jsonl"])
def test_a_rotated_file_is_noticed_within_half_a_second(tmp_path: Path, record: Make, clock: Clock, name: str) -> None:
    """
    Where a tool renames one of the files, records go on in a new one of the old name.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1), record(1, kind="trace")])
    (tmp_path / name).rename(tmp_path / f"{name}.1")

    clock.now += file.CHECK_RENAMED_S
    storage.write([record(2), record(2, kind="trace")])

    assert names(tmp_path) == sorted(["observations_20260117.jsonl", "traces_20260117.jsonl", f"{name}.1"])
    assert (tmp_path / name).read_bytes().count(b"\n") == 1


def test_the_journal_follows_the_files(tmp_path: Path, record: Make, head: Callable[..., bytes]) -> None:
    """
    What was open when the folder was deleted is in the journal of the new folder.
    """
    storage = FileStorage(tmp_path / "traces")
    storage.write([record(1), record(1, kind="trace")])
    storage.journal.put(head(2))
    shutil.rmtree(tmp_path / "traces")

    storage.write([record(3), record(3, kind="trace")])

    assert [[each["id"] for each in journal.records] for journal in read_journals(tmp_path / "traces")] == [["o2"]]


def test_a_journal_that_is_older_than_the_files_follows_too(
    tmp_path: Path, record: Make, head: Callable[..., bytes]
) -> None:
    """
    An agent that works for an hour before its first observation ends may see its folder deleted meanwhile.
    """
    storage = FileStorage(tmp_path / "traces")
    storage.journal.put(head(1))
    shutil.rmtree(tmp_path / "traces")

    storage.write([record(2)])

    assert [[each["id"] for each in journal.records] for journal in read_journals(tmp_path / "traces")] == [["o1"]]


# Torn ends


def test_a_torn_end_is_closed_by_the_first_write(
    tmp_path: Path, record: Make, clock: Clock, writes: list[bytes]
) -> None:
    """
    What a killed process left of a line does not swallow the next record; line and newline are one write.
    """
    path = tmp_path / "observations_20260117.jsonl"
    path.write_bytes(record(1).line + b'{"id":"o2","trace_')
    storage = FileStorage(tmp_path)

    storage.write([record(3)])
    clock.now += file.CHECK_RENAMED_S
    storage.write([record(4)])

    assert path.read_bytes() == record(1).line + b'{"id":"o2","trace_\n' + record(3).line + record(4).line
    assert [call for call in writes if call] == [b"\n" + record(3).line, record(4).line]


def test_a_whole_last_line_gets_no_blank_line(tmp_path: Path, record: Make) -> None:
    """
    Opening a file that ends well adds nothing: ``for line in file: json.loads(line)`` works on all our files.
    """
    FileStorage(tmp_path).write([record(1)])
    FileStorage(tmp_path).write([record(2)])

    assert (tmp_path / "observations_20260117.jsonl").read_bytes() == record(1).line + record(2).line


def test_a_file_that_never_stands_still_is_not_taken_for_torn(
    tmp_path: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where others are writing at each look, their lines are not torn, and looking comes to an end.
    """
    path = tmp_path / "observations_20260117.jsonl"
    path.write_bytes(b"{")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data or b"x"))

    FileStorage(tmp_path).write([record(1)])

    assert path.read_bytes().endswith(b"xxx" + record(1).line)


@pytest.fixture
def short_writes(monkeypatch: pytest.MonkeyPatch) -> list[int | OSError]:
    """Answers of `os.write`, used up from the front: so many bytes are written, or the error is raised."""
    answers: list[int | OSError] = []
    write = os.write

    def short(fd: int, data: bytes) -> int:
        answer = answers.pop(0) if answers and data else len(data)
        if isinstance(answer, OSError):
            raise answer
        return write(fd, data[:answer]) if answer else 0

    monkeypatch.setattr(os, "write", short)
    return answers


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_short_write_is_finished(
    tmp_path: Path, record: Make, lines: Lines, short_writes: list[int | OSError]
) -> None:
    """
    A system call that takes only part of a line is followed by others until the line is whole.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1)])
    short_writes += [5, 1, 7]

    storage.write([record(2)])
    storage.write([record(3)])

    assert [line["id"] for line in lines(tmp_path / "observations_20260117.jsonl")] == ["o1", "o2", "o3"]


@pytest.mark.parametrize("then", [full(), 0], ids=["an error", "nothing written"])
def test_a_line_cut_by_a_full_disk_spoils_no_other(
    tmp_path: Path, record: Make, short_writes: list[int | OSError], then: int | OSError
) -> None:
    """
    After a partial write and a full disk, the next record begins on a line of its own.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1)])
    short_writes += [5, then, full()]

    with pytest.raises(OSError, match="No space left on device"):
        storage.write([record(2)])
    with pytest.raises(OSError, match="No space left on device"):
        storage.write([record(3)])
    storage.write([record(4)])
    storage.write([record(5)])

    assert (tmp_path / "observations_20260117.jsonl").read_bytes() == b"".join(
        [record(1).line, record(2).line[:5], b"\n", record(4).line, record(5).line]
    )


# Failures


def test_one_record_that_fails_does_not_keep_the_others(
    tmp_path: Path, record: Make, short_writes: list[int | OSError]
) -> None:
    """
    Of several records handed over at once, each is tried; the failure is raised at the end.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(0)])
    short_writes += [full()]

    with pytest.raises(OSError, match="Free some space"):
        storage.write([record(1), record(1, kind="trace"), record(2)])

    assert [line.get("id") for line in storage.read()] == ["o0", "o2", None]


def test_a_record_that_is_lost_is_counted_once(tmp_path: Path, record: Make, short_writes: list[int | OSError]) -> None:
    """
    Of an observation and a trace written together, the error counts those that are missing, and no others.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(0), record(0, kind="trace")])
    pair = [record(1), record(1, kind="trace")]

    lost = []
    for answers in ([full()], [len(pair[0].line), full()], [5, full(), full()]):
        short_writes[:] = answers
        with pytest.raises(WriteError) as caught:
            storage.write(pair)
        lost.append(caught.value.lost)

    assert lost == [1, 1, 2]


def test_a_folder_that_is_a_file_is_reported_with_a_remedy(tmp_path: Path, record: Make) -> None:
    """
    The message names what failed, where, and what to do.
    """
    (tmp_path / "traces").write_text("notes")

    with pytest.raises(WriteError) as caught:
        FileStorage(tmp_path / "traces").write([record(1)])

    assert str(caught.value) == (
        f"[Errno 20] cannot write a record to {tmp_path}/traces/observations_20260117.jsonl: Not a directory. "
        "A file has the name of the folder: move it, or choose another folder with base_path=."
    )


def test_a_folder_below_a_file_is_reported_with_a_remedy(tmp_path: Path, record: Make) -> None:
    """
    No folder can be made inside a file.
    """
    (tmp_path / "notes.txt").write_text("notes")

    with pytest.raises(WriteError, match="A file has the name of the folder"):
        FileStorage(tmp_path / "notes.txt" / "traces").write([record(1)])


def fifo(path: Path) -> None:
    os.mkfifo(path)


def connected_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))  # /dev/full


NOT_FILES = pytest.mark.parametrize(
    "make",
    [
        fifo,
        connected_socket,
        Path.mkdir,
        pytest.param(device, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")),
    ],
)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@NOT_FILES
def test_what_is_not_a_regular_file_is_refused_at_once(
    short_folder: Path, record: Make, make: Callable[[Path], None]
) -> None:
    """
    A FIFO, a socket, a folder or a device with the name of our file: no waiting, and the same error from `check`.
    """
    path = short_folder / "observations_20260117.jsonl"
    make(path)
    storage = FileStorage(short_folder)

    with pytest.raises(WriteError, match="Something else has the name of the file"):
        storage.write([record(1), record(1, kind="trace")])

    assert [line["trace_id"] for line in storage.read()] == ["t1"]
    (problem,) = storage.check()
    assert problem.startswith(f"{path} is not a regular file. Something else has the name of the file: move it")


@NOT_FILES
def test_what_is_not_a_regular_journal_is_passed_over(
    short_folder: Path, head: Callable[..., bytes], make: Callable[[Path], None]
) -> None:
    """
    Neither the first traced call nor a reader waits for it.
    """
    make(short_folder / ".inflight-999999-other")
    journal = FileStorage(short_folder).journal
    journal.put(head(1))

    assert [record["id"] for inflight in read_journals(short_folder) for record in inflight.records] == ["o1"]
    assert sweep(short_folder) == 0


OTHER_USER = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root makes files of another user"
)


@OTHER_USER
@pytest.mark.parametrize(
    ("owner", "permissions", "mode", "is_exposed"),
    [
        (65534, 0o666, 0o600, True),
        (65534, 0o600, 0o600, True),
        (65534, 0o660, 0o660, True),
        (0, 0o644, 0o600, False),
    ],
)
def test_a_file_that_another_user_made_is_reported(
    tmp_path: Path,
    record: Make,
    caplog: pytest.LogCaptureFixture,
    owner: int,
    permissions: int,
    mode: int,
    is_exposed: bool,
) -> None:
    """
    Records go to it, so that none is lost; one warning and `check` report who can read them.
    """
    path = tmp_path / "observations_20260117.jsonl"
    path.touch()
    path.chmod(permissions)
    os.chown(path, owner, -1)

    for n in range(3):
        FileStorage(tmp_path, mode=mode).write([record(n)])

    expected = (
        f"{path} was created by another user (uid {owner}, mode {permissions:o}), so other users can read its records. "
        "Move it, or choose another folder with base_path=."
    )
    assert caplog.messages == FileStorage(tmp_path, mode=mode).check() == [expected] * is_exposed
    assert len(list(FileStorage(tmp_path).read())) == 3


@OTHER_USER
@pytest.mark.parametrize(("permissions", "problems"), [(0o600, 0), (0o644, 1)])
def test_a_file_that_root_made_is_reported_where_others_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, permissions: int, problems: int
) -> None:
    """
    Root can read everything anyway; its file is reported for what others may do with it.
    """
    path = tmp_path / "observations_20260117.jsonl"
    path.touch()
    path.chmod(permissions)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert len(FileStorage(tmp_path).check()) == problems


def test_an_unforeseen_error_is_reported_with_its_place_and_the_next_step(
    tmp_path: Path, record: Make, short_writes: list[int | OSError]
) -> None:
    """
    Other failures of the disk are reported in their own words, with a reference to `fluxloop doctor`.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1)])
    short_writes += [OSError(errno.EIO, "Input/output error")]

    with pytest.raises(OSError, match=r"observations_20260117.jsonl: Input/output error\..* doctor"):
        storage.write([record(2)])


def test_writing_resumes_by_itself(tmp_path: Path, record: Make) -> None:
    """
    When the cause is gone, records are kept again, by the same storage.
    """
    (tmp_path / "traces").write_text("notes")
    storage = FileStorage(tmp_path / "traces")
    with pytest.raises(WriteError):
        storage.write([record(1)])
    (tmp_path / "traces").unlink()

    storage.write([record(2)])

    assert [line["id"] for line in storage.read()] == ["o2"]


# Reading back


def test_read_yields_day_by_day_observations_first(tmp_path: Path, record: Make) -> None:
    """
    All records come back, in the order of their days; foreign files in the folder are left alone.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(3, day="20260118"), record(1), record(1, kind="trace"), record(2)])
    (tmp_path / "observations.jsonl").write_bytes(record(9).line)
    (tmp_path / "notes.jsonl").write_text("notes")

    assert [line.get("id", line["trace_id"]) for line in storage.read()] == ["o1", "o2", "t1", "o3"]


def test_read_survives_torn_foreign_and_blank_lines(tmp_path: Path, record: Make) -> None:
    """
    Whatever else is in a file, the whole records are found, also behind a torn one on the same line.
    """
    (tmp_path / "observations_20260117.jsonl").write_bytes(
        record(1).line + b"\n\xff\xfe\nnull\n[1]\n" + record(2).line[:9] + record(3).line + record(4).line[:-1]
    )

    assert [line["id"] for line in FileStorage(tmp_path).read()] == ["o1", "o3", "o4"]


def test_reading_where_nothing_was_written_yields_nothing(tmp_path: Path) -> None:
    """
    A folder that does not exist holds no records, and is not an error.
    """
    assert list(FileStorage(tmp_path / "traces").read()) == []


# Checks before the first write


def test_check_finds_nothing_wrong_and_leaves_nothing(tmp_path: Path) -> None:
    """
    Where records can be kept, `check` is silent, and makes neither the folder nor a file.
    """
    problems = FileStorage(tmp_path / "a" / "b").check()

    assert problems == []
    assert names(tmp_path) == []


def test_check_names_a_file_in_the_way(tmp_path: Path) -> None:
    """
    The problem is reported before the first record meets it.
    """
    (tmp_path / "traces").write_text("notes")

    (problem,) = FileStorage(tmp_path / "traces").check()

    assert "A file has the name of the folder" in problem


def test_check_reports_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A disk that is nearly full is named before it is full.
    """
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(12_345_678))

    assert FileStorage(tmp_path).check() == [f"{tmp_path} has only 12 MB free. Free some space on that disk."]


def test_check_reports_why_there_is_no_journal(tmp_path: Path, head: Callable[..., bytes]) -> None:
    """
    What keeps a killed program's last steps from being readable is a problem, too.
    """
    storage = FileStorage(tmp_path / "traces")
    (tmp_path / "traces").write_text("notes")
    storage.journal.put(head(1))
    (tmp_path / "traces").unlink()

    (problem,) = storage.check()

    assert problem.startswith(f"cannot keep a journal of open observations in {tmp_path}/traces")


def test_check_names_files_that_may_not_be_written(
    tmp_path: Path, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file that another user began is the commonest reason for records that cannot be kept.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1)])
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("observations_20260117.jsonl"))

    (problem,) = storage.check()

    assert problem.startswith(f"{tmp_path}/observations_20260117.jsonl may not be written to.")


class Collecting:
    """Writes into a list."""

    def __init__(self, folder: Path) -> None:
        self.written: list[Record] = []

    def write(self, records: Sequence[Record]) -> None:
        self.written.extend(records)

    def close(self) -> None: ...


class Subclass(Collecting, FileStorage):
    """Inherits the rest of file storage."""

    def __init__(self, folder: Path) -> None:
        Collecting.__init__(self, folder)
        FileStorage.__init__(self, folder)


class WithAnotherAppend(Collecting):
    """Has methods of its own with names that are taken elsewhere."""

    def append(self, lines: object) -> None:
        raise AssertionError("called with something else")


class Forwarding(Collecting):
    """Passes on to file storage what it does not do itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.files = FileStorage(folder)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.files, name)


class Replaced(FileStorage):
    """Its `write` is an attribute of the object."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: list[Record] = []
        self.write = self.written.extend


@pytest.mark.parametrize("kind", [Subclass, WithAnotherAppend, Forwarding, Replaced])
def test_a_storage_with_its_own_way_to_write_gets_every_record(tmp_path, kind):
    """Appending single lines is a faster way that only a storage whose class has it takes part in."""
    storage = kind(tmp_path)

    with fluxloop.FluxLoopClient(storage=storage) as client:
        inner = client.tool(lambda: 1)
        client.agent(lambda: inner())()

    assert [record.kind for record in storage.written] == ["observation", "observation", "trace"]


def test_appending_a_line_writes_what_writing_a_record_does(tmp_path):
    """Both ways write to the same files, also when a file was removed meanwhile."""
    storage = FileStorage(tmp_path)
    line = b'{"id":"1"}\n'

    storage.append_record("observation", "20250102", line)
    storage.write((Record("observation", "20250102", line),))
    storage.path("observation", "20250102").unlink()
    storage.append_record("observation", "20250102", line)
    storage.close()

    assert storage.path("observation", "20250102").read_bytes() == 3 * line
