"""
Measure the PostgreSQL store: receiving batches, compared with a hand-written route that copies the same lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from .collecting import OBSERVATIONS, bodies_of, seconds_to_send, serve
from .registry import report
from .results import Row, Spread, Target

if find_spec("psycopg") is None:
    raise ModuleNotFoundError("psycopg", name="psycopg")

_TESTS = Path(__file__).parent.parent / "tests"

FLOOR = """
import sys, asyncio
import orjson, psycopg, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
free = []
def connected():
    return free.pop() if free else psycopg.connect(sys.argv[1], autocommit=True)
with connected() as db:
    db.execute("CREATE TABLE observations (trace text, id text, parent_id text, type text, name text, status text, "
        "level text, start text, duration_ms double precision, model text, input_tokens bigint, output_tokens bigint, "
        "tokens bigint, cost double precision, line text, PRIMARY KEY (trace, id))")
FIELDS = ("parent_id", "type", "name", "status", "level", "start_time", "duration_ms", "model")
def keep(body):
    rows = []
    for line in body.split(b"\\n"):
        if line:
            get = orjson.loads(line).get
            usage = get("usage") or {}
            rows.append((get("trace_id"), get("id", ""), *map(get, FIELDS), usage.get("input_tokens"),
                usage.get("output_tokens"), usage.get("total_tokens"), None, line.decode()))
    db = connected()
    with db.transaction(), db.cursor() as cursor, cursor.copy("COPY observations FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    free.append(db)
    return len(rows)
async def batches(request):
    count = await asyncio.to_thread(keep, await request.body())
    return Response(orjson.dumps({"accepted": count}), media_type="application/json")
app = Starlette(routes=[Route("/api/v1/batches", batches, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", http="h11")
"""


@report("collector-postgres")
def receiving(is_quick: bool) -> Row:
    """Send batches of 550 records from four threads, compared with a hand-written route and one COPY."""
    traces = 200 if is_quick else 10_000
    bodies = bodies_of(traces)
    rounds = []
    with _server() as server:
        if server is None:
            return Row("collector-postgres", note="skipped: PostgreSQL is not installed")
        for _ in range(3):
            with _database(server) as first, _database(server) as second:
                rounds.append((seconds_to_send(bodies, ["-c", FLOOR, first]), seconds_to_send(bodies, serve(second))))
    lines = traces * (OBSERVATIONS + 1)
    floor, ours = (min(times) for times in zip(*rounds, strict=True))
    return Row(
        "collector-postgres",
        floor=1e6 * floor / lines,
        ours=1e6 * ours / lines,
        figure=Spread.of([ours / floor for floor, ours in rounds]),
        target=Target(2, "x"),
        note=f"{lines / ours:,.0f} records/s, durable; floor: a route with orjson and COPY, no queries",
    )


@contextmanager
def _server() -> Iterator[str | None]:
    """Run a server, and yield its URL without a database; None if PostgreSQL is not installed."""
    sys.path.append(os.fspath(_TESTS))  # the tests start servers, too
    aids: Any = import_module("serving_aids")
    if (binaries := aids.postgres_binaries()) is None:
        yield None
        return
    with aids.running_postgres(binaries) as server:
        yield server.url


@contextmanager
def _database(server: str) -> Iterator[str]:
    """Yield the URL of a new, empty database."""
    import psycopg

    name = f"fluxloop_{uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{server}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
