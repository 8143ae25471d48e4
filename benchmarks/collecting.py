"""
Measure the collector: receiving batches, and queries of small and large stores.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from .registry import report
from .results import Row, Spread, Target

OBSERVATIONS = 10
"""Per trace."""

_SMALL, _LARGE = 1_000, 100_000
_QUICK_SMALL, _QUICK_LARGE = 200, 1_000
"""Traces in the two stores."""

_START = datetime(2026, 11, 1, tzinfo=UTC)

FILTERS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "status": {"status": "error"},
    "name": {"name": "Planner"},
    "user": {"user": "user7"},
    "session": {"session": "s70"},
    "tag": {"tag": "beta"},
    "model": {"model": "gpt-4o"},
    "type": {"type": "TOOL"},
    "observation": {"observation": "tool3"},
    "metadata": {"metadata": "plan=pro"},
    "since": {"since": _START + timedelta(seconds=5)},
    "min_duration": {"min_duration": "900ms"},
    "min_tokens": {"min_tokens": 900},
    "has_error": {"has_error": True},
    "text": {"text": "Atlantis"},
}


def trace_lines(number: int) -> list[bytes]:
    """Return the lines of a trace, about 450 bytes each."""
    start = f"{_START + timedelta(milliseconds=20 * number):%Y-%m-%dT%H:%M:%S.%fZ}"
    trace_id, duration = f"trace-{number:024}", float(number % 1_000)
    common = {"start_time": start, "end_time": start, "duration_ms": duration, "status": "success", "level": "INFO"}
    usage = {"input_tokens": number % 1_000, "output_tokens": 0, "total_tokens": number % 1_000}
    text = ("Atlantis" if number % 20 == 7 else "Lyon") + " and some words about the weather of the week" * 4
    lines = []
    for n in range(OBSERVATIONS):
        is_model = n % 2
        record = {
            "id": f"{trace_id}-{n}",
            "trace_id": trace_id,
            "parent_id": f"{trace_id}-0" if n else None,
            "type": "GENERATION" if is_model else "TOOL" if n else "AGENT",
            "name": "model" if is_model else f"tool{n}",
            "seq": n,
            **common,
            "input": {"q": text},
        }
        if is_model:
            record |= {"model": "gpt-4o" if number % 2 else "claude", "usage": usage}
        if n == 2 and number % 50 == 0:
            record |= {"status": "error", "level": "ERROR", "error": "failed"}
        lines.append(orjson.dumps(record))
    head = {
        "trace_id": trace_id,
        "name": "Planner" if number % 3 else "Writer",
        "session_id": f"s{number // 5}",
        "user_id": f"user{number % 20}",
        "tags": ["beta"] if number % 10 == 0 else [],
        "metadata": {"plan": "pro" if number % 20 == 0 else "free"},
        "usage": usage,
        "schema": 1,
        **common,
    }
    if number % 20 == 0:
        head |= {"status": "error", "error": "failed"}
    return [*lines, orjson.dumps(head)]


FLOOR = """
import sqlite3, sys, asyncio
import orjson, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
db = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False)
db.execute("PRAGMA journal_mode = WAL"); db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE observations (trace TEXT, id TEXT, parent_id TEXT, type TEXT, name TEXT, status TEXT, "
    "level TEXT, start TEXT, duration_ms REAL, model TEXT, input_tokens INTEGER, output_tokens INTEGER, "
    "tokens INTEGER, cost REAL, line BLOB, PRIMARY KEY (trace, id))")
FIELDS = ("trace_id", "id", "parent_id", "type", "name", "status", "level", "start_time", "duration_ms", "model")
async def batches(request):
    rows = []
    for line in (await request.body()).split(b"\\n"):
        if line:
            get = orjson.loads(line).get
            usage = get("usage") or {}
            rows.append((*map(get, FIELDS), usage.get("input_tokens"), usage.get("output_tokens"),
                usage.get("total_tokens"), None, line))
    db.execute("BEGIN")
    db.executemany("INSERT OR REPLACE INTO observations VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
    db.execute("COMMIT")
    return Response(orjson.dumps({"accepted": len(rows)}), media_type="application/json")
app = Starlette(routes=[Route("/api/v1/batches", batches, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", http="h11")
"""


@report("collector-ingest")
def receiving(is_quick: bool) -> Row:
    """Send batches of 550 records from four threads, compared with a hand-written route and one `executemany`."""
    traces = 200 if is_quick else 10_000
    bodies = bodies_of(traces)
    rounds = []
    for _ in range(3):
        with TemporaryDirectory() as folder:
            floor_store, our_store = (str(Path(folder) / name) for name in ("floor.sqlite", "store.sqlite"))
            rounds.append(
                (seconds_to_send(bodies, ["-c", FLOOR, floor_store]), seconds_to_send(bodies, serve(our_store)))
            )
    lines = traces * (OBSERVATIONS + 1)
    floor, ours = (min(times) for times in zip(*rounds, strict=True))
    return Row(
        "collector-ingest",
        floor=1e6 * floor / lines,
        ours=1e6 * ours / lines,
        figure=Spread.of([ours / floor for floor, ours in rounds]),
        target=Target(2, "x"),
        note=f"{lines / ours:,.0f} records/s, durable; floor: a route with orjson and executemany, no queries",
    )


def bodies_of(traces: int) -> list[bytes]:
    """Return batches with so many traces, 50 in each."""
    return [
        b"\n".join(line for number in range(first, first + 50) for line in trace_lines(number))
        for first in range(0, traces, 50)
    ]


def serve(store: str) -> list[str]:
    """Return the arguments of Python for a collector with *store*; its port comes behind them."""
    return ["-m", "fluxloop", "serve", "--store", store, "--log-level", "warning", "--port"]


def seconds_to_send(bodies: list[bytes], server: list[str]) -> float:
    """Return how long four threads take to send *bodies* to the program *server*, which is started for it."""
    import httpx

    port = free_port()
    command = [sys.executable, *server, str(port)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()}, stderr=subprocess.DEVNULL)
    try:
        wait_until_listening(port)
        headers = {"Content-Type": "application/x-ndjson"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:

            def send(body: bytes) -> None:
                client.post("/api/v1/batches", content=body).raise_for_status()

            send(b"\n".join(trace_lines(10**9)))
            start = time.perf_counter()
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(send, bodies))
            return time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(port: int) -> None:
    """Return when a server listens on *port*."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError("the server did not start")


@report("collector-queries")
def querying(is_quick: bool) -> Row:
    """Run a trace page and each filter of a list on a large store, compared with a store of a hundredth."""
    from fluxloop.reading.filters import CollectorFilter

    small, large = (_QUICK_SMALL, _QUICK_LARGE) if is_quick else (_SMALL, _LARGE)
    with _store(small) as small_store, _store(large) as large_store:

        def page(store: Any, number: int) -> Callable[[], object]:
            trace_id = f"trace-{number:024}"
            return lambda: (store.trace(trace_id), list(store.records(trace_id)), store.scores(trace_id))

        times = {"trace page": (_ms(page(small_store, small // 2)), _ms(page(large_store, large // 2)))}
        for name, conditions in FILTERS.items():
            wanted = CollectorFilter.of(**conditions)
            times[name] = (
                _ms(lambda wanted=wanted: small_store.traces(wanted, limit=50)),
                _ms(lambda wanted=wanted: large_store.traces(wanted, limit=50)),
            )
    ratios = {name: ours / floor for name, (floor, ours) in times.items()}
    slowest = max(ratios, key=ratios.__getitem__)
    return Row(
        "collector-queries",
        floor=median(floor for floor, _ in times.values()),
        ours=median(ours for _, ours in times.values()),
        unit="ms",
        figure=Spread.of([*ratios.values()]),
        target=Target(2, "x"),
        note=f"{large * OBSERVATIONS:,} and {small * OBSERVATIONS:,} observations; "
        f"slowest: {slowest}, {ratios[slowest]:.1f} x, {times[slowest][1]:.1f} ms",
    )


@report("collector-totals")
def adding_up(is_quick: bool) -> Row:
    """Ask for counts, errors, percentiles, tokens and cost by name and hour, compared with a scan in SQL."""
    from fluxloop.collector.stores.contract import Totals
    from fluxloop.collector.stores.rows import HOUR_US

    traces = _QUICK_LARGE if is_quick else _LARGE
    with _store(traces) as store:
        scan = """SELECT name, start_us / 3600000000, count(*), sum(status = 'error'), sum(tokens), sum(cost),
                  group_concat(duration_ms) IS NULL FROM observations GROUP BY 1, 2"""
        connection = sqlite3.connect(store.path)
        floor = _ms(lambda: connection.execute(scan).fetchall(), rounds=3)
        ours = _ms(lambda: store.totals(Totals(by="name", step_us=HOUR_US)), rounds=3)
        connection.close()
        size = store.counts()["bytes"] / (traces * OBSERVATIONS)
    return Row(
        "collector-totals",
        floor=floor,
        ours=ours,
        unit="ms",
        figure=Spread.of([ours / floor]),
        target=Target(0.2, "x"),
        note=f"{traces * OBSERVATIONS:,} observations, {size:,.0f} bytes each in the store; floor: one SELECT over all",
    )


def _ms(call: Callable[[], object], rounds: int = 9) -> float:
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


@contextmanager
def _store(traces: int) -> Iterator[Any]:
    """A store with so many traces, whose texts are indexed."""
    from fluxloop.collector.records import RowMaker
    from fluxloop.collector.stores.sqlite import SqliteStore

    maker = RowMaker()
    with TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "store.sqlite")
        try:
            for first in range(0, traces, 500):
                lines = [line for number in range(first, min(traces, first + 500)) for line in trace_lines(number)]
                store.write(maker.batch(lines).rows)
            while store.counts()["unindexed"]:
                time.sleep(0.2)
            yield store
        finally:
            store.close()
