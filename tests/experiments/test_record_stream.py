"""
The records of runs are read in one pass, with the same result as through an index, and in little memory.
"""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest

import fluxloop
from fluxloop import experiments
from fluxloop.experiments import record_stream
from fluxloop.experiments import recorded_runs as reading
from fluxloop.experiments.folder import ExperimentFolder
from fluxloop.experiments.records import RunStorage
from fluxloop.storage import FileStorage
from fluxloop.storage.contract import Record


def trace_lines(trace_id: str, *, steps: int) -> tuple[list[bytes], bytes]:
    """Return the lines of a recorded trace, with this id, as a run writes them: its observations, and the trace."""
    with fluxloop.testing.capture() as captured, fluxloop.instrument("run"):
        for step in range(steps):
            fluxloop.event(f"step {step}")
    observations, traces = [], []
    for record in captured.storage.read():
        ids = {name: f"{trace_id}-{record[name]}" for name in ("id", "parent_id") if record.get(name)}
        line = orjson.dumps({**record, **ids, "trace_id": trace_id}) + b"\n"
        (observations if "parent_id" in record else traces).append(line)
    return observations, traces[0]


def written(folder: Path, observations: list[bytes], traces: list[bytes], rows: list[str]) -> ExperimentFolder:
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts/observations.jsonl").write_bytes(b"".join(observations))
    (folder / "artifacts/traces.jsonl").write_bytes(b"".join(traces))
    lines = [orjson.dumps({"trace_id": key, "run": number, "success": True}) for number, key in enumerate(rows)]
    (folder / "trace_summary.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return ExperimentFolder.at(folder)


def read(folder: ExperimentFolder) -> list[tuple[str, list[str]]]:
    runs = reading.recorded_runs(folder)
    return [(run.row.trace_id, [f"{record['name']} {record['id']}" for record in run.records]) for run in runs]


@pytest.mark.parametrize(
    "kind", ["in order", "late records", "rows in another order", "torn", "two roots", "rows of one trace"]
)
def test_the_stream_and_the_index_read_the_same(tmp_path, monkeypatch, kind):
    """
    Interleaved runs, records after the root, and rows in another order give the records that an index finds.
    """
    seed = random.randrange(10**6)
    source = random.Random(seed)
    observations: list[bytes] = []
    traces: list[bytes] = []
    order: list[str] = []
    waiting = [(f"run-{number}", trace_lines(f"run-{number}", steps=source.randint(0, 4))) for number in range(40)]
    open_runs: list[tuple[str, tuple[list[bytes], bytes]]] = []
    while waiting or open_runs:
        while waiting and len(open_runs) < 5:
            open_runs.append(waiting.pop())
        key, (lines, trace) = chosen = source.choice(open_runs)
        observations.append(lines.pop(0))
        if not lines:
            open_runs.remove(chosen)
            traces.append(trace)
            order.append(key)
    if kind == "late records":
        observations += [trace_lines("run-7", steps=2)[0][0].replace(b'"name":"step', b'"name":"late')]
        observations[-1] = observations[-1].replace(b'"id":"run', b'"id":"late')
    if kind == "rows in another order":
        source.shuffle(order)
        monkeypatch.setattr("fluxloop.experiments.record_stream.CHUNK_BYTES", 600)
        monkeypatch.setattr("fluxloop.experiments.record_stream.MOST_WAITING_BYTES", 5_000)
    if kind == "rows of one trace":
        order[5] = order[3]
    if kind == "torn":
        observations[20] = observations[20][:-30] + observations[20]
    if kind == "two roots":
        observations.append(observations[-1].replace(b'"id":"', b'"id":"other-'))
    folder = written(tmp_path / "one_20260117_143000", observations, traces, order)

    streamed = read(folder)
    monkeypatch.setattr(reading, "stream_of", lambda paths, files: None)

    assert streamed == read(folder), f"seed {seed}"
    assert [key for key, _ in streamed] == order
    assert sum(len(found) for _, found in streamed) >= len(observations) - 5


def test_the_memory_of_parsing_does_not_grow_with_the_number_of_runs(tmp_path, monkeypatch):
    """
    Ten times as many runs need no more memory than some bytes per run.
    """
    monkeypatch.setattr("fluxloop.experiments.record_stream.CHUNK_BYTES", 4_000)
    peaks = []
    for count in (100, 100, 1_000):  # modules and caches are loaded the first time
        lines = [trace_lines(f"run-{number:05}", steps=3) for number in range(count)]
        observations, traces = [line for found, _ in lines for line in found], [trace for _, trace in lines]
        keys = [f"run-{number:05}" for number in range(count)]
        folder = written(tmp_path / f"{len(peaks)}_20260117_143000", observations, traces, keys)
        del lines, observations, traces, keys
        tracemalloc.start()
        experiments.parse(folder.path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[2] - peaks[1] < 30 * 900


def test_records_with_references_are_complete(tmp_path):
    """
    Records in the folder of an experiment may be those of a `FileStorage`, which refer to earlier ones.
    """
    messages = [{"role": "user", "content": f"message {index} " * 10} for index in range(1_000)]
    keys = [f"run-{number}" for number in range(3)]
    storage = FileStorage(tmp_path / "compact/artifacts", dated=False, journal=False, compact_histories=True)
    observations, traces = [], []
    for key in keys:
        lines, trace = trace_lines(key, steps=2)
        observations += [
            line.replace(b'"name":', orjson.dumps({"input": messages})[1:-1] + b',"name":') for line in lines
        ]
        traces.append(trace)
    storage.write([Record("observation", "", line) for line in observations])
    storage.write([Record("trace", "", line) for line in traces])
    written(tmp_path / "rows", [], [], keys)
    (tmp_path / "rows/trace_summary.jsonl").rename(tmp_path / "compact/trace_summary.jsonl")
    complete = written(tmp_path / "complete", observations, traces, keys)

    def found(folder: ExperimentFolder) -> list[list[dict[str, Any]]]:
        return [run.records for run in reading.recorded_runs(folder)]

    compact = ExperimentFolder.at(tmp_path / "compact")
    assert b'"refs"' in (compact.artifacts / "observations.jsonl").read_bytes()
    assert found(compact) == found(complete)
    assert all("refs" not in record for run in found(compact) for record in run)


@pytest.mark.parametrize("is_compact", [True, False])
def test_an_experiment_has_a_history_once(tmp_path, is_compact):
    """
    Runs that begin with the same messages refer to those of the first one, unless that is turned off.
    """
    messages = [{"role": "user", "content": f"message {index} " * 10} for index in range(1_000)]
    lines = [
        orjson.dumps({"id": f"id-{number}", "trace_id": "t1", "parent_id": None, "input": messages}) + b"\n"
        for number in range(3)
    ]
    fluxloop.configure(compact_histories=is_compact)
    storage = RunStorage.in_folder(tmp_path / "artifacts")
    storage.write([Record("observation", "", line) for line in lines])
    storage.close()

    size = (tmp_path / "artifacts/observations.jsonl").stat().st_size
    assert (size < 1.5 * len(lines[0])) is is_compact
    assert [*FileStorage(tmp_path / "artifacts", dated=False).read()] == [orjson.loads(line) for line in lines]


@pytest.mark.parametrize("change", ["none", "short ids", "escaped", "parent is a number", "torn"])
def test_ids_that_are_uuids_are_read_as_others_are(change):
    """
    Lines with UUIDs are split at fixed places. Whatever else they contain, the result is that of the expressions.
    """
    lines = [
        b'{"id":"%036d","trace_id":"%036d","parent_id":%b,"type":"SPAN"}' % (number, number % 3, parent)
        for number, parent in enumerate([b'"%036d"' % 0, b"null", b'""', b"null"])
    ]
    if change == "short ids":
        lines[2] = lines[2].replace(b"0" * 30, b"")
    if change == "escaped":
        lines[1] = lines[1].replace(b'"id":"000', b'"id":"0\\"')
    if change == "parent is a number":
        lines[1] = lines[1].replace(b"null", b"1234")
    if change == "torn":
        lines[3] = lines[3][:90]

    by_expression = [record_stream._OBSERVATION.match(line) for line in lines]
    heads = record_stream._heads(lines)

    if change in ("none", "short ids"):
        assert [*zip(*heads, strict=True)] == [
            (match[1], match[2] if match[2] == b"null" else parent)
            for match, parent in zip(by_expression, heads[1], strict=True)
        ]
    else:
        assert heads is None
        assert not all(by_expression)
