"""
The rows of the index: the same facts as the traces that `read_traces` assembles, whatever the files hold.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from reading_aids import GOLDEN, died, head, line, observation, running, trace_line, written

from fluxloop.enums import Status
from fluxloop.models import Trace
from fluxloop.reading import TraceReader
from fluxloop.reading.catalog import Catalog, TraceRow, new_records, scan


def rows(folder: Path) -> list[TraceRow]:
    """The rows of the index of *folder*, oldest first."""
    with Catalog.of(folder) as catalog:
        assert catalog.notice is None
        return catalog.rows(backwards=True)


def facts(item: Trace | TraceRow) -> tuple[object, ...]:
    """What a row and a trace have in common."""
    if isinstance(item, TraceRow):
        start = None if item.start is None or item.start.year == 1970 else item.start
        duration = None if item.duration_ms is None else round(item.duration_ms, 3)
        return (
            *(item.trace_id, item.name, item.status, item.session_id, item.user_id, item.tags),
            *(start, duration, item.observations, item.errors, item.models, item.input_tokens, item.output_tokens),
        )
    observations = list(item.observations)
    start = None if item.start_time is None or item.start_time.year == 1970 else item.start_time
    return (
        *(item.trace_id, item.name, item.status and str(item.status), item.session_id, item.user_id, item.tags),
        *(start, None if item.duration_ms is None else round(item.duration_ms, 3), len(observations)),
        sum(o.status is Status.ERROR for o in observations),
        sorted({o.model for o in observations if o.model}),
        *((item.usage.input_tokens, item.usage.output_tokens) if item.usage else (None, None)),
    )


def same(folder: Path) -> None:
    """Assert that the index and the reader agree about every trace under *folder*."""
    of_index = sorted(map(facts, rows(folder)), key=repr)
    of_reader = sorted(map(facts, TraceReader(folder)), key=repr)

    assert of_index == of_reader


@pytest.mark.parametrize("path", sorted(p for p in GOLDEN.rglob("*") if p.is_dir() and [*p.glob("*.jsonl")]), ids=str)
def test_the_index_agrees_with_the_reader_about_golden_files(tmp_path, path):
    """
    Released formats, foreign spellings and damaged files mean the same in the index as in assembled traces.
    """
    shutil.copytree(path, tmp_path / "records")

    same(tmp_path / "records")


@pytest.mark.parametrize(("batch", "block"), [(scan.BATCH, new_records._BLOCK_BYTES), (3, 100), (1, 1)])
@pytest.mark.parametrize("seed", range(12))
def test_the_index_agrees_with_the_reader_about_random_records(tmp_path, monkeypatch, seed, batch, block):
    """
    Missing lines, unknown statuses, repeated ids, several roots, glued and torn lines: the index and the reader agree
    after each of several additions to the files, wherever a batch of lines ends.
    """
    monkeypatch.setattr(scan, "BATCH", batch)
    monkeypatch.setattr(new_records, "_BLOCK_BYTES", block)
    if seed % 2:
        monkeypatch.setattr(scan, "LONG_BYTES", 0)  # as for long files
    rng = random.Random(seed)
    for _ in range(4):
        for _ in range(rng.randint(1, 25)):
            append_randomly(tmp_path, rng, rng.choice(["", "0b8f1c2d-3e4f-8a5b-9c6d-"]))
        same(tmp_path)


def append_randomly(folder: Path, rng: random.Random, prefix: str) -> None:
    """Add a record, or something else, to a file of *folder*; its trace's id, and some others, begin with *prefix*."""
    trace, number = f"{prefix}t{rng.randint(1, 4)}", rng.randint(0, 30)
    kind = rng.choice(["observation"] * 6 + ["line"] * 2 + ["torn", "glued", "foreign"])
    ids = [f"{prefix if each % 3 else ''}o{each}" for each in range(number + 1)]
    id, parent = ids[number], rng.choice(ids[:-1]) if number else None
    fields = {
        "seq": number,
        "status": rng.choice(["success", "success", "error", "cancelled", "novel", None]),
        "type": rng.choice(["TOOL", "AGENT", "GENERATION", "tool", "NOVEL"]),
        "start_time": f"2026-01-17T14:30:{10 + number}.000000Z",
        **rng.choice([{}, {"model": "gpt-4o", "usage": {"input_tokens": rng.randint(0, 9), "output_tokens": 2}}]),
        **rng.choice([{}, {"error": "failed"}]),
    }
    if kind == "line":
        status = rng.choice(["success", "error", "novel", None])
        written(
            folder, trace_line(trace, status=status, user_id=rng.choice([None, "anna"]), tags=rng.choice([[], ["a"]]))
        )
    elif kind in ("torn", "glued"):
        folder.mkdir(exist_ok=True)
        with (folder / "observations_20260117.jsonl").open("ab") as file:
            torn = line(observation(id, parent, trace=trace, **fields))
            file.write(torn[: rng.randint(1, len(torn) - 2)] + (b"\n" if kind == "torn" else b""))
            if kind == "glued":
                file.write(line(observation(id, parent, trace=trace, **fields)))
    elif kind == "foreign":
        written(folder, {"parent_id": None, "not": "a record"})
    else:
        written(folder, observation(id, parent, trace=trace, **fields))


@pytest.mark.parametrize("duration", [0, 400, 2.5, True, None, "7", 10**30])
def test_a_duration_of_another_writer(tmp_path, duration):
    """
    Writers in other languages make no difference between integers and floats.
    """
    written(tmp_path, {**trace_line("t"), "duration_ms": duration}, observation("o", trace="t", duration_ms=duration))
    written(tmp_path, observation("o2", trace="without line", duration_ms=duration))

    same(tmp_path)


def test_a_running_trace_has_no_status_and_a_dead_one_is_crashed(tmp_path):
    """
    What the journals list as open is part of its trace's row; when the process has died, the trace is crashed.
    """
    died(tmp_path, head("d", trace="dead"))
    with running(tmp_path, head("r", trace="alive"), head("t", "r", trace="alive")):
        assert {row.trace_id: (row.status, row.observations) for row in rows(tmp_path)} == {
            "alive": (None, 2),
            "dead": ("crashed", 1),
        }
        same(tmp_path)

        written(tmp_path, observation("t", "r", trace="alive"), observation("r", trace="alive"), trace_line("alive"))

        assert {row.trace_id: (row.status, row.observations) for row in rows(tmp_path)} == {
            "alive": ("success", 2),
            "dead": ("crashed", 1),
        }
        same(tmp_path)


def test_an_open_trace_whose_process_exits_without_a_record_disappears(tmp_path):
    """
    A row that stands on a journal alone goes with the journal.
    """
    with running(tmp_path, head("r", trace="alive")):
        assert [row.trace_id for row in rows(tmp_path)] == ["alive"]

    assert rows(tmp_path) == []


def test_a_caught_failure_is_an_error_inside(tmp_path):
    """
    A failed tool under a root that succeeded is counted, named, and not the status of the trace.
    """
    failed = observation("search", "root", status="error", level="ERROR", error="no network")
    warned = observation("slow", "root", level="WARNING")
    written(tmp_path, failed, warned, observation("root"), trace_line())
    (row,) = rows(tmp_path)

    assert (row.status, row.errors, row.caught_errors, row.failed_tools, row.warnings) == (
        "success",
        1,
        1,
        ["search"],
        1,
    )


def test_the_first_words_of_a_large_value_are_kept(tmp_path):
    """
    A value of megabytes adds a few words to the index.
    """
    written(tmp_path, trace_line(input={"question": "why " * 300_000}, output=["x" * 9] * 5_000))
    (row,) = rows(tmp_path)

    assert row.input is not None
    assert row.input.startswith('question="why why')
    assert len(row.input) <= 200
    assert (tmp_path / ".index.sqlite").stat().st_size < 200_000


@pytest.mark.parametrize(
    ("error", "expected"),
    [("no such city", "no such city"), ("why " * 300, "why " * 50), ({"code": 5}, "code=5")],
)
def test_the_beginning_of_an_error_is_kept_without_quotation_marks(tmp_path, error, expected):
    """
    Of a text of any length, and the first words of another value.
    """
    written(tmp_path, trace_line(status="error", error=error))
    (row,) = rows(tmp_path)

    assert row.error is not None
    assert row.error.rstrip("…") == expected[: len(row.error.rstrip("…"))]
    assert len(row.error) == min(len(error) if isinstance(error, str) else 6, 200)


@pytest.mark.parametrize("status", [{"a": 1}, ["success"], 7, True, "Success"])
def test_a_status_of_another_writer(tmp_path, status):
    """
    A value of any type where the line of a trace has its status.
    """
    written(tmp_path, {**trace_line("t"), "status": status}, observation("o", trace="t"))

    same(tmp_path)
