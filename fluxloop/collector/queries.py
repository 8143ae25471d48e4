"""
The routes that read: lists, traces, records, sessions, totals, scores; and the one that deletes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ..errors import FilterError
from ..reading.filters import CollectorFilter
from ..reading.moments import AGES, age_of
from .parameters import MAX_PAGE, Parameters
from .problems import Refused, as_json
from .stores.contract import Deletion, Store
from .stores.totals import as_object
from .threads import Threads

NEXT = "X-Fluxloop-Next"
"""The header with the cursor of the next part, in answers that are record lines."""

NDJSON = "application/x-ndjson"

_PAGE = 50
_PIECE_BYTES = 1 << 18
"""Bytes of lines that are sent together."""

_EXPORT_PAGE = 100


class Queries:
    """The routes that read and delete."""

    def __init__(self, store: Store, *, threads: Threads, can_delete: bool) -> None:
        self._store, self._threads, self._can_delete = store, threads, can_delete

    async def traces(self, request: Request) -> Response:
        """Return a part of the list of traces."""
        given = Parameters(request.query_params)
        part = given.text("id")
        limit, cursor, oldest_first = given.limit(_PAGE), given.text("cursor"), given.oldest_first()
        wanted = given.filter()
        given.finish()
        if part is not None:
            rows = await self._threads.read(lambda: self._store.matching(part, limit=limit))
            return as_json({"traces": rows, "next": None})
        page = await self._threads.read(
            lambda: self._store.traces(wanted, limit=limit, cursor=cursor, oldest_first=oldest_first)
        )
        return as_json({"traces": page.rows, "next": page.next})

    async def trace(self, request: Request) -> Response:
        """Return a trace with its observations, or the first piece of them."""
        given = Parameters(request.query_params)
        limit, after = given.limit(MAX_PAGE), given.text("after")
        given.finish()
        trace_id = request.path_params["trace_id"]
        row = await self._threads.read(self._store.trace, trace_id)
        if row is None:
            raise _unknown(trace_id)
        lines, following = await self._threads.read(lambda: self._store.piece(trace_id, limit=limit, after=after))
        scores = await self._threads.read(self._store.scores, trace_id)
        head, cursor = bytes(as_json(row).body), bytes(as_json(following).body)
        body = b'{"trace":%b,"observations":[%b],"scores":[%b],"next":%b}' % (
            head,
            b",".join(lines),
            b",".join(scores),
            cursor,
        )
        return Response(body, media_type="application/json")

    async def trace_records(self, request: Request) -> Response:
        """Return the lines of a trace, as they were received."""
        Parameters(request.query_params).finish()
        trace_id = request.path_params["trace_id"]
        if await self._threads.read(self._store.trace, trace_id) is None:
            raise _unknown(trace_id)
        return self._lines(self._store.records(trace_id))

    async def records(self, request: Request) -> Response:
        """Return the lines of a part of the list of traces."""
        given = Parameters(request.query_params)
        limit, cursor, oldest_first = given.limit(_PAGE), given.text("cursor"), given.oldest_first()
        wanted = given.filter()
        given.finish()
        page = await self._threads.read(
            lambda: self._store.traces(wanted, limit=limit, cursor=cursor, oldest_first=oldest_first)
        )
        lines = (line for row in page.rows for line in self._store.records(row["trace_id"]))
        return self._lines(lines, {NEXT: page.next} if page.next else {})

    async def export(self, request: Request) -> Response:
        """Return the lines of all traces that match, oldest first."""
        given = Parameters(request.query_params)
        wanted = given.filter()
        given.finish()
        await self._threads.read(lambda: self._store.traces(wanted, limit=1))  # an error has to be the answer
        return self._lines(self._all(wanted), {"Content-Disposition": 'attachment; filename="traces.jsonl"'})

    def _all(self, wanted: CollectorFilter) -> Iterator[bytes]:
        cursor = None
        while True:
            page = self._store.traces(wanted, limit=_EXPORT_PAGE, cursor=cursor, oldest_first=True)
            for row in page.rows:
                yield from self._store.records(row["trace_id"])
            if (cursor := page.next) is None:
                return

    async def sessions(self, request: Request) -> Response:
        """Return a part of the list of sessions."""
        given = Parameters(request.query_params)
        limit, cursor, wanted = given.limit(_PAGE), given.text("cursor"), given.filter()
        given.finish()
        if wanted.text is not None:
            raise FilterError("sessions are not searched for a text; list traces with it (/api/v1/traces?text=...)")
        page = await self._threads.read(lambda: self._store.sessions(wanted, limit=limit, cursor=cursor))
        return as_json({"sessions": page.rows, "next": page.next})

    async def totals(self, request: Request) -> Response:
        """Return counts, errors, latencies, tokens and cost of observations, over time and by group."""
        given = Parameters(request.query_params)
        wanted = given.totals()
        given.finish()
        steps = await self._threads.read(self._store.totals, wanted)
        return as_json({"totals": [as_object(step, wanted.by) for step in steps]})

    async def scores(self, request: Request) -> Response:
        """Return the scores of a trace."""
        Parameters(request.query_params).finish()
        lines = await self._threads.read(self._store.scores, request.path_params["trace_id"])
        return Response(b'{"scores":[%b]}' % b",".join(lines), media_type="application/json")

    async def delete_trace(self, request: Request) -> Response:
        """Delete one trace."""
        Parameters(request.query_params).finish()
        return await self._deleted(Deletion(trace_id=request.path_params["trace_id"]))

    async def delete(self, request: Request) -> Response:
        """Delete the traces of a session, of a user, or that are older than a span."""
        given = Parameters(request.query_params)
        session, user, span = given.text("session"), given.text("user"), given.text("older_than")
        given.finish()
        if sum(value is not None for value in (session, user, span)) != 1:
            raise FilterError("say what to delete: exactly one of session, user and older_than")
        try:
            before = None if span is None else datetime.now(UTC) - age_of(span)
        except ValueError:
            raise FilterError(f"older_than must be {AGES}, got {(span or '')[:60]!r}") from None
        return await self._deleted(Deletion(session_id=session, user_id=user, before=before))

    async def _deleted(self, which: Deletion) -> Response:
        if not self._can_delete:
            raise Refused(409, "this collector follows a folder: delete its files with `fluxloop prune`")
        return as_json({"deleted": await self._threads.write(self._store.delete, which)})

    def _lines(self, lines: Iterable[bytes], headers: dict[str, str] | None = None) -> Response:
        return StreamingResponse(self._pieces(iter(lines)), headers=headers, media_type=NDJSON)

    async def _pieces(self, lines: Iterator[bytes]) -> AsyncIterator[bytes]:
        while piece := await self._threads.read(_piece_of, lines):
            yield piece


def _piece_of(lines: Iterator[bytes]) -> bytes:
    """Return the next lines, up to about `_PIECE_BYTES`."""
    parts, size = list[bytes](), 0
    for line in islice(lines, 1_000):
        parts += [line, b"\n"]
        size += len(line)
        if size >= _PIECE_BYTES:
            break
    return b"".join(parts)


def _unknown(trace_id: str) -> Refused:
    return Refused(404, "trace not found: no trace has this id. GET /api/v1/traces lists the ids")


Endpoint = Callable[[Request], Any]
