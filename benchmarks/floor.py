"""
The floor: a minimal recorder written by hand, which writes the same records as FluxLoop.

It has no settings, limits, redaction or journal, and does not handle errors, threads, forks or a full disk. The three
functions share no helper, since a helper would add a call to the floor.

For each record, the floor reads, sets and resets a context variable, takes an id from a counter, reads the time twice,
and calls `orjson.dumps` and `os.write` once.
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
    """Open the file that the floor writes to, and close it afterwards."""
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
    """Return *body*, a coroutine function, with each call recorded by hand."""
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
    Return *body*, a generator function of texts, with items, offsets and the joined text recorded by hand.

    The observation is current only while *body* runs. Sent values and thrown exceptions are not passed on.
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
