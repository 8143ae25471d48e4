"""
Read the traces of a collector, by its query API.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ..client import default
from ..errors import FilterError, ReadError
from ..llm.prices import Cost
from ..models import Trace
from ..storage.decoding import Json, decode, kind_of, trace_id_of
from .assembly import Assembly
from .catalog.row import TraceRow
from .filters import CollectorFilter, TraceFilter

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 60.0
"""How long an answer, or a part of one, is waited for."""

_PAGE = 200
"""Rows in one request."""

_TRACES = 20
"""Traces in one request for records."""

_NEEDS_KEY = ". Next step: set FLUXLOOP_API_KEY to a key that may read, and FLUXLOOP_COLLECTOR_URL to this collector"
"""Both, because the key is sent to the configured collector only."""


class Server:
    """
    A collector.

    Args:
        url: Where it answers, as ``http://127.0.0.1:8000``.
        api_key: A key that may read; by default that of the settings, if this is the collector of the settings.

    All methods raise `ReadError` if it does not answer as a collector does, or does not accept the key, and
    `FilterError` for a condition that it does not know.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url
        self._key = api_key or _key_for(url)

    def __str__(self) -> str:
        return self.url

    def traces(
        self, wanted: TraceFilter | None = None, *, trace_id: str | None = None, newest_first: bool = False
    ) -> Iterator[Trace]:
        """Yield the traces that *wanted* accepts, or the one with *trace_id*, in the order they began."""
        if trace_id is not None:
            with self._client() as client:
                yield from self._of_answer(client, f"/api/v1/traces/{quote(trace_id, safe='')}/records", [], [])
            return
        conditions = [*parameters_of(wanted or TraceFilter()), ("limit", str(_TRACES))]
        conditions.append(("order", "newest" if newest_first else "oldest"))
        cursor: list[str] = []
        with self._client() as client:
            while True:
                parameters = [*conditions, *(("cursor", at) for at in cursor)]
                cursor = []
                yield from self._of_answer(client, "/api/v1/records", parameters, cursor)
                if not cursor:
                    return

    def rows(self, wanted: TraceFilter, *, limit: int | None = None, oldest_first: bool = False) -> Iterator[TraceRow]:
        """Yield the rows of the traces that *wanted* accepts, the newest first."""
        conditions = [*parameters_of(wanted), ("order", "oldest" if oldest_first else "newest")]
        cursor, left = None, limit
        with self._client() as client:
            while left is None or left > 0:
                page = [("limit", str(_PAGE if left is None else min(left, _PAGE)))]
                page += [("cursor", cursor)] if cursor else []
                answer = self._object(client, "/api/v1/traces", [*conditions, *page])
                rows = [_row(row) for row in answer["traces"]]
                yield from rows
                left = None if left is None else left - len(rows)
                if (cursor := answer.get("next")) is None:
                    return

    def matching(self, part: str, *, limit: int) -> list[TraceRow]:
        """Return the traces whose id begins or ends with *part*, newest first."""
        with self._client() as client:
            answer = self._object(client, "/api/v1/traces", [("id", part), ("limit", str(limit))])
        return [_row(row) for row in answer["traces"]]

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        import httpx

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            # Redirects are not followed: they would carry the key to another host.
            with httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            raise ReadError(f"{self.url}: no answer: {reason}. Next step: is the collector running?") from None

    def _object(self, client: httpx.Client, path: str, parameters: list[tuple[str, str]]) -> Json:
        answer = client.get(path, params=dict_of(parameters))
        self._check(answer.status_code, answer.content)
        try:
            found = decode(answer.content)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("traces"), list):
            raise self._no_collector()
        return found

    def _of_answer(
        self, client: httpx.Client, path: str, parameters: list[tuple[str, str]], following: list[str]
    ) -> Iterator[Trace]:
        """Yield the traces of an answer, and put the cursor of the next one in *following*."""
        with client.stream("GET", path, params=dict_of(parameters)) as answer:
            if answer.status_code == 404 and "/records" in path and path != "/api/v1/records":
                return
            if answer.status_code != 200:
                answer.read()
                self._check(answer.status_code, answer.content)
            if "ndjson" not in answer.headers.get("content-type", ""):
                raise self._no_collector()
            following += filter(None, [answer.headers.get("x-fluxloop-next")])
            assembly: Assembly | None = None
            running: list[tuple[bool, Json]] = []
            for line in _lines(answer.iter_bytes()):
                if not line:
                    continue
                record = decode(line)
                kind = kind_of(record)
                if kind is None:
                    continue
                if assembly is None or assembly.trace_id != trace_id_of(record):
                    if assembly is not None:
                        yield _assembled(assembly, running)
                    assembly, running = Assembly(trace_id_of(record)), []
                if kind == "score":
                    assembly.add(record)
                elif _is_open(record):
                    running.append((True, record))
                else:
                    assembly.add_line(line, record)
            if assembly is not None:
                yield _assembled(assembly, running)

    def _check(self, status: int, content: bytes) -> None:
        if status == 200:
            return
        try:
            reason = str(decode(content)["error"])
        except (ValueError, TypeError, KeyError):
            raise self._no_collector() from None
        if status == 400:
            raise FilterError(reason)
        hint = _NEEDS_KEY if status in (401, 403) else ""
        raise ReadError(f"{self.url}: {reason}{hint}")

    def _no_collector(self) -> ReadError:
        return ReadError(f"{self.url}: the answer is not that of a collector. Next step: check the address")


def _key_for(url: str) -> str | None:
    """Return the key of the settings if *url* is the collector of the settings: no other host receives the key."""
    settings = default.configuration.settings()
    try:
        return settings.api_key if _origin(settings.collector_url) == _origin(url) else None
    except ValueError:  # not a valid URL, which the request reports
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what decides who receives a request. The scheme belongs to it: http sends a key unencrypted."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def dict_of(parameters: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Return *parameters* with all values of each name."""
    found: dict[str, list[str]] = {}
    for name, value in parameters:
        found.setdefault(name, []).append(value)
    return found


def parameters_of(wanted: TraceFilter) -> Iterator[tuple[str, str]]:
    """Yield the conditions of a filter as parameters of the query API."""
    for field in dataclasses.fields(wanted):
        value = getattr(wanted, field.name)
        for one in value if isinstance(value, tuple) else (() if value is None else (value,)):
            yield field.name, _text(one)


def filter_of(**values: Any) -> CollectorFilter:
    """Return the filter with these *values*, which may be those that only a collector evaluates."""
    return CollectorFilter.of(**values)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value / timedelta(seconds=1):.6f}s"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of an answer; other characters that end lines in Unicode are content."""
    rest: list[bytes] = []
    for part in parts:
        first, *others = part.split(b"\n")
        rest.append(first)
        for other in others:
            yield b"".join(rest)
            rest = [other]
    if any(rest):
        yield b"".join(rest)


def _is_open(record: Json) -> bool:
    names = ("status", "end_time", "duration_ms", "error", "schema")
    return kind_of(record) == "observation" and all(record.get(name) is None for name in names)


def _assembled(assembly: Assembly, running: list[tuple[bool, Json]]) -> Trace:
    assembly.set_open(running)
    return assembly.trace()


def _row(row: Json) -> TraceRow:
    """Return the row of a trace as the index of files has it."""
    start, cost = row.get("start_time"), row.get("cost")
    us = None
    if start is not None:
        us = (datetime.fromisoformat(start) - datetime.fromisoformat("1970-01-01T00:00:00Z")) // timedelta(
            microseconds=1
        )
    fields = {
        name: row.get(name)
        for name in ("trace_id", "name", "session_id", "user_id", "status", "duration_ms", "observations", "errors")
    }
    more = {name: row.get(name) for name in ("warnings", "input_tokens", "output_tokens", "input", "output", "error")}
    lists = {name: row.get(name) or [] for name in ("tags", "models", "failed_tools")}
    priced = None if cost is None else Cost(cost, 1)
    day = (start or "")[:10].replace("-", "")
    return TraceRow(day=day, start_us=us, tokens=row.get("total_tokens"), cost=priced, **fields, **more, **lists)  # type: ignore[arg-type]
