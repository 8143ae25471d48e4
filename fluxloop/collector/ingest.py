"""
Receive records: batches, the paths of the published FluxLoop packages, and scores.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ..storage.decoding import decode
from .bodies import Receiving
from .metrics import Metrics
from .problems import Refused, as_json
from .record_rows import Refusal
from .records import Batch, RowMaker, lines_of
from .stores.contract import Store, Written
from .threads import Threads

_IN_LOOP_BYTES = 65_536
"""A body up to this size is parsed at once; a larger one in a thread, so that other requests are answered meanwhile."""

MAX_LINES = 100_000
"""Of a batch; a body of nothing but short lines would take seconds."""

MAX_REJECTED = 1_000
"""Rejected lines of a batch: what has more is hardly a batch of records, and each takes longer than a record."""

MAX_REASONS = 100
"""Rejected lines that an answer lists."""


class Ingest:
    """The routes that write."""

    def __init__(
        self, store: Store, rows: RowMaker, *, receiving: Receiving, threads: Threads, metrics: Metrics
    ) -> None:
        self._store, self._rows, self._receiving = store, rows, receiving
        self._threads, self._metrics = threads, metrics

    async def batch(self, request: Request) -> Response:
        """Keep the records of a batch; the answer is sent when they are durable."""
        async with self._receiving.body(request) as body:
            if body.count(b"\n") > MAX_LINES:
                raise Refused(413, f"a batch has up to {MAX_LINES} lines; send it in parts", limit=len(body) // 2)
            rows_of = partial(self._rows.batch, most_rejected=MAX_REJECTED)
            if len(body) <= _IN_LOOP_BYTES:
                batch = rows_of(lines_of(body))
            else:
                batch = await self._threads.parse(rows_of, lines_of(body))
            if len(batch.rejected) > MAX_REJECTED:
                self._metrics.add("fluxloop_records_total", len(batch.rejected), result="rejected")
                raise Refused(413, _too_many(batch))
            written = await self._written(batch, len(body))
        answer: dict[str, Any] = {
            "accepted": written.accepted,
            "duplicates": written.duplicates,
            "rejected": batch.rejected[:MAX_REASONS],
        }
        if len(batch.rejected) > MAX_REASONS:
            answer["rejected_count"] = len(batch.rejected)
        return as_json(answer)

    async def trace(self, request: Request) -> Response:
        """Keep a trace as the published packages send it."""
        record = await self._object(request)
        record.pop("observations", None)
        record.setdefault("start_time", None)
        for name in ("type", "parent_id", "parent_observation_id"):
            record.pop(name, None)
        await self._write_one(record)
        return as_json({"id": record.get("trace_id") or record.get("id"), "status": "ok"})

    async def observation(self, request: Request) -> Response:
        """Keep an observation as the published packages send it; its trace is named by the path."""
        record = await self._object(request)
        record = {**record, "trace_id": request.path_params["trace_id"]}
        record.setdefault("type", "span")
        record.setdefault("id", str(uuid4()))
        await self._write_one(record)
        return as_json({"id": record["id"], "status": "ok"})

    async def score(self, request: Request) -> Response:
        """Keep a score of a trace."""
        given = await self._object(request)
        unknown = given.keys() - {"id", "name", "value", "comment"}
        if unknown:
            raise Refused(400, f"unknown field {min(map(str, unknown))[:60]!r} (accepted: name, value, comment, id)")
        record = {
            "record": "score",
            "id": given.get("id") or str(uuid4()),
            "trace_id": request.path_params["trace_id"],
            "name": given.get("name"),
            "value": given.get("value"),
            "comment": given.get("comment"),
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        await self._write_one(record)
        return as_json(record)

    async def _object(self, request: Request) -> dict[str, Any]:
        async with self._receiving.body(request) as body:
            try:
                record = decode(body)
            except (ValueError, RecursionError):
                raise Refused(400, "the body must be one JSON object") from None
        if not isinstance(record, dict):
            raise Refused(400, "the body must be one JSON object")
        return record

    async def _write_one(self, record: dict[str, Any]) -> None:
        try:
            line = orjson.dumps(record)
            batch = Batch([self._rows.row(line)])
        except (Refusal, TypeError) as refusal:
            raise Refused(400, str(refusal)) from None
        await self._written(batch, len(line))

    async def _written(self, batch: Batch, size: int) -> Written:
        written = Written(0, 0)
        if batch.rows:
            written = await self._threads.write(self._store.write, batch.rows)
        add = self._metrics.add
        add("fluxloop_received_bytes_total", size)
        add("fluxloop_records_total", written.accepted, result="accepted")
        add("fluxloop_records_total", written.duplicates, result="duplicate")
        add("fluxloop_records_total", len(batch.rejected), result="rejected")
        return written


def _too_many(batch: Batch) -> str:
    """Return why a batch is refused that has too many rejected lines."""
    line, reason = batch.rejected[0].values()
    return (
        f"nothing was kept: more than {MAX_REJECTED} lines of the batch are not records, the first is line {line} "
        f"({reason}). Send records, or smaller batches"
    )
