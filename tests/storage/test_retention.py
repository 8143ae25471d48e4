"""
Retention: which days are deleted, and which are kept because a running program may write to them.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from reading_aids import died, head, observation, running, trace_line, written

from fluxloop.storage.retention import Retention, plan

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAYS = ("20260101", "20260115", "20260129", "20260130", "20260131")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of each of five days, last written to on their day, and files without a date."""
    for day in DAYS:
        written(tmp_path, observation("o", trace=day), trace_line(day), day=day)
    (tmp_path / f"untraced_{DAYS[0]}.jsonl").write_text("{}\n")
    for path in tmp_path.glob("*.jsonl"):
        time = datetime.strptime(path.stem[-8:], "%Y%m%d").replace(tzinfo=UTC).timestamp() + 80_000
        os.utime(path, (time, time))
    (tmp_path / "traces.jsonl").write_text("{}\n")
    (tmp_path / "mine_20260101.jsonl").write_text("{}\n")
    return tmp_path


def deleted(retention: Retention) -> list[str]:
    """The deleted days, as in the names of the files."""
    return [f"{day.day:%Y%m%d}" for day in retention.deleted]


def test_days_that_ended_long_enough_ago_are_deleted(folder):
    """
    A day is deleted as a whole, when its last moment is older than the span; other files stay.
    """
    retention = plan(folder, older_than=timedelta(days=2), now=NOW)
    assert deleted(retention) == ["20260101", "20260115"]

    retention.apply()

    assert sorted(path.name for path in folder.iterdir()) == [
        "mine_20260101.jsonl",
        "observations_20260129.jsonl",
        "observations_20260130.jsonl",
        "observations_20260131.jsonl",
        "traces.jsonl",
        "traces_20260129.jsonl",
        "traces_20260130.jsonl",
        "traces_20260131.jsonl",
    ]


def test_the_oldest_days_are_deleted_until_the_rest_is_small_enough(folder):
    """
    A limit of size keeps the newest days.
    """
    size = sum(day.size for day in plan(folder, now=NOW).kept) // len(DAYS)

    assert deleted(plan(folder, keep_bytes=3 * size, now=NOW)) == ["20260101", "20260115"]
    assert deleted(plan(folder, keep_bytes=10 * size, now=NOW)) == []


def test_today_is_never_deleted(folder):
    """
    A program that starts now writes to the files of today.
    """
    retention = plan(folder, older_than=timedelta(0), keep_bytes=0, now=NOW)

    assert deleted(retention) == [*DAYS[:4]]
    assert [day.kept_because for day in retention.kept] == ["it is today's"]


def test_days_since_the_oldest_open_trace_of_a_running_program_are_kept(folder):
    """
    A trace belongs to the day it began; while it is open, that day and all later ones are kept, and not a day less.
    """
    with running(folder, head("r", trace="t", start_time="2026-01-15T23:00:00.000000Z")):
        retention = plan(folder, older_than=timedelta(0), now=NOW)

        assert deleted(retention) == ["20260101"]
        assert "running program" in (retention.kept[0].kept_because or "")

    assert deleted(plan(folder, older_than=timedelta(0), now=NOW)) == [*DAYS[:4]]


def test_a_file_that_was_written_to_lately_is_kept(folder):
    """
    A program without a journal shows by its writes that it runs; no newer day is deleted in place of that day.
    """
    recent = NOW.timestamp() - 600
    os.utime(folder / "observations_20260101.jsonl", (recent, recent))

    assert deleted(plan(folder, older_than=timedelta(days=2), now=NOW)) == ["20260115"]
    assert deleted(plan(folder, keep_bytes=0, now=NOW)) == []


def test_the_journal_of_a_dead_process_goes_with_its_days(folder):
    """
    What was open in a process that died is deleted with its day, unless it is about a day that stays.
    """
    died(folder, head("old", start_time="2026-01-01T10:00:00.000000Z"), process="999999-old")
    old = folder / ".inflight-999999-old"
    (folder / ".inflight-999999-new").write_bytes(old.read_bytes().replace(b"2026-01-01T", b"2026-01-30T"))

    plan(folder, older_than=timedelta(days=5), now=NOW).apply()

    assert [path.name for path in folder.glob(".inflight-*")] == [".inflight-999999-new"]


def test_a_link_is_left_alone(folder, tmp_path_factory):
    """
    A symbolic link with the name of a record file may lead anywhere.
    """
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "kept.jsonl"
    elsewhere.write_text("{}\n")
    (folder / "traces_20250101.jsonl").symlink_to(elsewhere)

    plan(folder, older_than=timedelta(0), now=NOW).apply()

    assert elsewhere.exists()
    assert (folder / "traces_20250101.jsonl").is_symlink()
