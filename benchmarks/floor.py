"""
The floor: the same records, made by hand.

What a person would write into their own function to get our record out of it, and nothing more: no settings, no
limits, no redaction, no journal, no care for errors, threads, forks or a full disk. Each of the three is written
out, since a shared helper would cost a call and lower the bar.

A record costs a context variable read, set and reset, an id from a counter, the time of day read twice, one
`orjson.dumps` of a dict and one `os.write`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

from orjson import OPT_APPEND_NEWLINE, OPT_UTC_Z, dumps

_LINE = OPT_APPEND_NEWLINE | OPT_UTC_Z
_PREFIX = "257311e2-63e8-8465-bc8e-"
_TRACE = "257311e2-63e8-8465-bc8e-200000000000"

_ids = count(300_000_000_000)
_order = count()
_current: ContextVar[str | None] = ContextVar("floor", default=None)
_now = datetime.now


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Open the file that the floor writes to, and close it."""
    fd = os.open(folder / "floor.jsonl", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def function(fd: int, body: Callable[[Any, int], Any]) -> Callable[..., Any]:
    """Return *body*, a function of a query and a limit, with each call recorded by hand."""
    name = body.__name__

    def recorded(query: Any, limit: int = 10) -> Any:
        parent = _current.get()
        own_id = f"{_PREFIX}{next(_ids)}"
        token = _current.set(own_id)
        start = _now(UTC)
        try:
            output = body(query, limit)
        finally:
            end = _now(UTC)
            _current.reset(token)
        record = {
            "id": own_id,
            "trace_id": _TRACE,
            "parent_id": parent,
            "type": "TOOL",
            "name": name,
            "seq": next(_order),
            "start_time": start,
            "end_time": end,
            "duration_ms": (end - start).total_seconds() * 1000,
            "status": "success",
            "level": "INFO",
            "input": {"query": query, "limit": limit},
            "output": output,
        }
        os.write(fd, dumps(record, option=_LINE))
        return output

    return recorded


def coroutine(fd: int, body: Callable[[Any, int], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """As `function`, for a coroutine function."""
    name = body.__name__

    async def recorded(query: Any, limit: int = 10) -> Any:
        parent = _current.get()
        own_id = f"{_PREFIX}{next(_ids)}"
        token = _current.set(own_id)
        start = _now(UTC)
        try:
            output = await body(query, limit)
        finally:
            end = _now(UTC)
            _current.reset(token)
        record = {
            "id": own_id,
            "trace_id": _TRACE,
            "parent_id": parent,
            "type": "TOOL",
            "name": name,
            "seq": next(_order),
            "start_time": start,
            "end_time": end,
            "duration_ms": (end - start).total_seconds() * 1000,
            "status": "success",
            "level": "INFO",
            "input": {"query": query, "limit": limit},
            "output": output,
        }
        os.write(fd, dumps(record, option=_LINE))
        return output

    return recorded


def generator(fd: int, body: Callable[[Any, int], Iterator[str]]) -> Callable[..., Iterator[str]]:
    """
    As `function`, for a generator of texts: the items, their offsets and the joined text are recorded.

    The observation is current only while *body* runs, as it has to be. What is sent or thrown in is not handed on.
    """
    name = body.__name__

    def recorded(query: Any, limit: int = 10) -> Iterator[str]:
        parent = _current.get()
        own_id = f"{_PREFIX}{next(_ids)}"
        items: list[str] = []
        offsets: list[float] = []
        start = _now(UTC)
        begun = perf_counter()
        running = body(query, limit)
        while True:
            token = _current.set(own_id)
            try:
                item = next(running)
            except StopIteration:
                break
            finally:
                _current.reset(token)
            offsets.append((perf_counter() - begun) * 1000)
            items.append(item)
            yield item
        end = _now(UTC)
        stream = {"count": len(items), "ended": "exhausted", "offsets_ms": offsets, "items": items}
        record = {
            "id": own_id,
            "trace_id": _TRACE,
            "parent_id": parent,
            "type": "TOOL",
            "name": name,
            "seq": next(_order),
            "start_time": start,
            "end_time": end,
            "duration_ms": (end - start).total_seconds() * 1000,
            "status": "success",
            "level": "INFO",
            "input": {"query": query, "limit": limit},
            "output": "".join(items),
            "metadata": {"stream": stream},
        }
        os.write(fd, dumps(record, option=_LINE))

    return recorded
