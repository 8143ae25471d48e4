"""
Measure the ClickHouse store on ClickHouse's own engine (chdb): bytes per observation, and records per second.

The texts are words of the documentation in random order, so that they compress less than real ones do.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import orjson

from .collecting import OBSERVATIONS, free_port, wait_until_listening
from .registry import report
from .results import Row

if find_spec("chdb") is None:
    raise ModuleNotFoundError("chdb", name="chdb")

_ROOT = Path(__file__).parent.parent
_FRONT = _ROOT / "tests" / "collector" / "chdb_front.py"

_TRACES, _QUICK_TRACES = 10_000, 500
_AT_ONCE = 250
"""Traces in a batch."""

LINE_BYTES = (450, 2_000)
"""The lengths of the lines, about."""


@report("collector-clickhouse")
def storing(is_quick: bool) -> Row:
    """Write traces into the tables of ClickHouse, merge the parts, and read the sizes from the server."""
    traces = _QUICK_TRACES if is_quick else _TRACES
    notes = []
    seconds = 0.0
    for line_bytes in LINE_BYTES[: 1 if is_quick else None]:
        stored = _stored(traces if line_bytes == LINE_BYTES[0] else traces // 4, line_bytes)
        notes.append(
            f"lines of {stored['line']:.0f} bytes: {stored['bytes']:.0f} bytes per observation "
            f"(lines {stored['packed']:.0f}, search {stored['search']:.0f}), {stored['rate']:,.0f} records/s, "
            f"CPU per record {stored['server']:.0f} us in ClickHouse and {stored['collector']:.0f} us in the collector"
        )
        seconds = seconds or 1 / stored["rate"]
    return Row("collector-clickhouse", ours=1e6 * seconds, note="; ".join(notes))


def _stored(traces: int, line_bytes: int) -> dict[str, float]:
    """Write so many traces; return bytes per observation, and records per second."""
    from fluxloop.collector.records import RowMaker
    from fluxloop.collector.stores.clickhouse_queries import Values
    from fluxloop.collector.stores.opening import open_store

    maker = RowMaker()
    lines = _lines(line_bytes)
    bodies = [[line for _ in range(_AT_ONCE) for line in next(lines)] for _ in range(traces // _AT_ONCE)]
    parsing = time.process_time()
    batches = [maker.batch(body) for body in bodies]
    parsing = (time.process_time() - parsing) / sum(map(len, bodies))
    observations = [row.line for batch in batches for row in batch.rows if hasattr(row, "parent_id")]
    with _server() as (url, pid):
        store: Any = open_store(url)
        try:
            store.write(batches.pop().rows)
            start, cpu, own = time.perf_counter(), _cpu_seconds(pid), time.process_time()
            with ThreadPoolExecutor(2) as threads:
                list(threads.map(lambda batch: store.write(batch.rows), batches))
            seconds = time.perf_counter() - start
            cpu, own = _cpu_seconds(pid) - cpu, time.process_time() - own
            for table in ("observations", "trace_lines", "traces"):
                store._run(f"OPTIMIZE TABLE {table} FINAL")
            whole, packed, search = store._all(
                """SELECT sum(bytes_on_disk), (SELECT sum(column_data_compressed_bytes) FROM system.parts_columns
                   WHERE active AND database = currentDatabase() AND column = 'line'),
                   sum(secondary_indices_compressed_bytes)
                   FROM system.parts WHERE active AND database = currentDatabase()""",
                Values(),
            )[0]
        finally:
            store.close()
    count, written = len(observations), sum(len(batch.rows) for batch in batches)
    return {
        "line": sum(map(len, observations)) / count,
        "bytes": whole / count,
        "packed": packed / count,
        "search": search / count,
        "rate": written / seconds,
        "server": 1e6 * cpu / written,
        "collector": 1e6 * (own / written + parsing),
    }


@contextmanager
def _server() -> Iterator[tuple[str, int]]:
    with TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, str(_FRONT), str(Path(folder) / "server"), str(port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        try:
            wait_until_listening(port)
            yield f"clickhouse://127.0.0.1:{port}/default", process.pid
        finally:
            process.kill()
            process.communicate()


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of another process, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _lines(line_bytes: int) -> Iterator[list[bytes]]:
    """Yield the lines of traces, each with ids, times and texts of its own."""
    chance = random.Random(line_bytes)
    text = "\n".join(path.read_text() for path in sorted((_ROOT / "docs").glob("*.md")))
    words = re.findall(r"[A-Za-z']+", text)
    start = datetime.now(UTC) - timedelta(days=1)
    while True:
        start += timedelta(milliseconds=chance.expovariate(1 / 20))
        yield _trace(chance, words, start, line_bytes)


def _trace(chance: random.Random, words: list[str], start: datetime, line_bytes: int) -> list[bytes]:
    trace_id, user = _id(chance), f"user-{chance.randrange(5_000)}"
    session = f"session-{chance.randrange(100_000)}"
    root = _id(chance)
    lines = []
    for n in range(OBSERVATIONS):
        begun = start + timedelta(milliseconds=50 * n + chance.random())
        duration = round(chance.lognormvariate(5, 1.5), 3)
        kind = ("GENERATION", "TOOL", "RETRIEVAL")[chance.randrange(3)] if n else "AGENT"
        record = {
            "id": root if n == 0 else _id(chance),
            "trace_id": trace_id,
            "parent_id": root if n else None,
            "type": kind,
            "name": f"{kind.lower()} {chance.randrange(20)}",
            "seq": n,
            "start_time": _iso(begun),
            "end_time": _iso(begun + timedelta(milliseconds=duration)),
            "duration_ms": duration,
            "status": "success" if chance.random() > 0.02 else "error",
            "level": "INFO",
        }
        if kind == "GENERATION":
            given, made = chance.randrange(4_000), chance.randrange(1_000)
            usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
            record |= {"model": chance.choice(("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5")), "usage": usage}
        missing = (line_bytes - len(orjson.dumps(record)) - 40) // 2
        record |= {"input": {"text": _text(chance, words, missing)}, "output": _text(chance, words, missing)}
        lines.append(orjson.dumps(record))
    head = {"trace_id": trace_id, "name": "agent", "session_id": session, "user_id": user, "status": "success"}
    head |= {"start_time": _iso(start), "end_time": _iso(start + timedelta(seconds=1)), "duration_ms": 1000.0}
    head |= {"input": _text(chance, words, 100), "output": _text(chance, words, 100), "tags": ["prod"], "schema": 1}
    return [*lines, orjson.dumps(head)]


def _id(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"


def _text(chance: random.Random, words: list[str], length: int) -> str:
    text = ""
    while len(text) < length:
        text += f"{chance.choice(words)} "
    return text[:length]
