"""What dead processes left open, written to the files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluxloop.storage import FileStorage, Journal, Record
from fluxloop.storage.inflight import SLOT_BYTES, read_journals
from fluxloop.storage.repair import sweep

Head = Callable[..., bytes]
Lines = Callable[[Path], list[dict[str, Any]]]


def leave_behind(folder: Path, *heads: bytes, name: str = "999999-dead") -> Path:
    """Write the journal of a process that has died."""
    path = folder / f".inflight-{name}"
    path.write_bytes(b"".join((head + b"\n").ljust(SLOT_BYTES, b"\0") for head in heads))
    return path


def test_what_was_open_becomes_crashed_records(tmp_path: Path, head: Head, lines: Lines) -> None:
    """
    Each open observation gets its line, a root also its trace's, and the journal is gone.
    """
    leave_behind(tmp_path, head(1, trace={"session_id": "s1"}), head(2, parent_id="o1"))

    count = sweep(tmp_path)

    assert count == 2
    observations = lines(tmp_path / "observations_20260117.jsonl")
    assert [(o["id"], o["status"], o["level"], "end_time" in o) for o in observations] == [
        ("o1", "crashed", "INFO", False),
        ("o2", "crashed", "INFO", False),
    ]
    assert lines(tmp_path / "traces_20260117.jsonl") == [
        {
            "trace_id": "t0",
            "name": "work",
            "start_time": "2026-01-17T23:59:59.000000Z",
            "session_id": "s1",
            "status": "crashed",
            "schema": 2,
        }
    ]
    assert list(read_journals(tmp_path)) == []


def test_a_child_goes_to_the_day_its_trace_began(tmp_path: Path, head: Head, lines: Lines) -> None:
    """
    A trace that ran over midnight stays in one day's files, as when it ends well.
    """
    leave_behind(tmp_path, head(2, start_time="2026-01-18T00:00:01.000000Z"), head(1, trace={}))

    sweep(tmp_path)

    assert [o["id"] for o in lines(tmp_path / "observations_20260117.jsonl")] == ["o2", "o1"]


@pytest.mark.parametrize("time", ["soon", "", None, 3])
def test_a_time_that_cannot_be_read_goes_to_today(tmp_path: Path, head: Head, time: object) -> None:
    """
    A strange beginning is kept as it is.
    """
    leave_behind(tmp_path, head(1, start_time=time))

    sweep(tmp_path)

    (record,) = FileStorage(tmp_path).read()
    assert record["start_time"] == time


def test_what_has_a_record_is_not_written_again(tmp_path: Path, head: Head, record: Callable[..., Record]) -> None:
    """
    A journal also holds observations that have ended: the record in the files is the right one.
    """
    storage = FileStorage(tmp_path)
    storage.write([record(1, status="success"), record(0, kind="trace", status="success")])
    before = list(storage.read())
    leave_behind(tmp_path, head(1, trace={}))

    count = sweep(tmp_path)

    assert count == 0
    assert list(storage.read()) == before
    assert list(read_journals(tmp_path)) == []


def test_a_record_is_found_on_the_day_its_trace_began(
    tmp_path: Path, head: Head, record: Callable[..., Record]
) -> None:
    """
    A worker process has only a part of a trace: its journal does not show when the root began.
    """
    FileStorage(tmp_path).write([record(1, day="20260116", status="success")])
    leave_behind(tmp_path, head(1))

    assert sweep(tmp_path) == 0
    assert [each["status"] for each in FileStorage(tmp_path).read()] == ["success"]


def test_undated_files_get_undated_records(tmp_path: Path, head: Head, lines: Lines) -> None:
    """
    ``dated=False`` is for folders that are written that way.
    """
    leave_behind(tmp_path, head(1))

    sweep(tmp_path, dated=False)

    assert [o["id"] for o in lines(tmp_path / "observations.jsonl")] == ["o1"]


def test_the_living_are_left_alone(tmp_path: Path, head: Head) -> None:
    """
    What is open in a running process is its own business.
    """
    ours = Journal(tmp_path)
    ours.put(head(1))

    count = sweep(tmp_path)

    assert count == 0
    assert [inflight.alive for inflight in read_journals(tmp_path)] == [True]


def test_sweeping_again_changes_nothing(tmp_path: Path, head: Head) -> None:
    """
    Nor does sweeping where there is nothing to sweep.
    """
    leave_behind(tmp_path, head(1, trace={}))
    sweep(tmp_path)
    before = list(FileStorage(tmp_path).read())

    again = sweep(tmp_path), sweep(tmp_path / "nowhere")

    assert again == (0, 0)
    assert list(FileStorage(tmp_path).read()) == before


def test_a_sweep_that_failed_can_be_done_again(tmp_path: Path, head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As long as the records are not kept, the journal is.
    """

    def refuse(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    leave_behind(tmp_path, head(1))
    with monkeypatch.context() as full:
        full.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="cannot write a record"):
            sweep(tmp_path)

    assert sweep(tmp_path) == 1


def test_what_cannot_be_opened_is_passed_over(tmp_path: Path, head: Head) -> None:
    """
    Something else by that name stops nothing.
    """
    (tmp_path / ".inflight-0").mkdir()
    leave_behind(tmp_path, head(1))

    assert sweep(tmp_path) == 1


def test_racing_sweepers_write_nothing_twice(
    tmp_path: Path, head: Head, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """
    Four processes sweep the same 40 journals at once: each observation is written once.
    """
    for n in range(40):
        leave_behind(tmp_path, *(head(f"{n}-{i}") for i in range(5)), name=f"999999-{n:02}")
    script = """
        from fluxloop.storage.repair import sweep
        print("ready", flush=True)
        sys.stdin.read(1)
        print(sweep(folder), flush=True)
        """
    sweepers = [start(script, tmp_path) for _ in range(4)]
    for sweeper in sweepers:
        assert sweeper.stdout is not None
        sweeper.stdout.readline()

    for sweeper in sweepers:
        assert sweeper.stdin is not None
        sweeper.stdin.write(b"\n")
        sweeper.stdin.flush()
    counts = [int(sweeper.communicate()[0]) for sweeper in sweepers]

    text = (tmp_path / "observations_20260117.jsonl").read_bytes()
    ids = [json.loads(line)["id"] for line in text.splitlines()]
    assert sorted(ids) == sorted(f"o{n}-{i}" for n in range(40) for i in range(5))
    assert sum(counts) == 200
    assert os.listdir(tmp_path) == ["observations_20260117.jsonl"]
