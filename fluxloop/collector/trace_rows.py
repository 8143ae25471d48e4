"""
The rows of traces' own lines, and of scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from ..reading.building import in_utc, trace_of
from ..reading.catalog.facts import CODES
from ..reading.catalog.kept import WORDS, counts_of, kept_value
from ..reading.values import error_words
from ..storage.decoding import Json, trace_id_of
from .record_rows import EPOCH, MAX_ID, Refusal, Score, TraceLine, id_of, plain, sums_of, time_us


def own_trace_line(record: Json, line: bytes) -> TraceLine | None:
    """Return the row of a trace's line written as the recorder writes it; None for any other."""
    get = record.get
    texts: tuple[Any, ...] = (
        get("trace_id"),
        get("name"),
        get("start_time"),
        get("session_id") or "",
        get("user_id") or "",
        get("error") or "",
    )
    tags, metadata, duration = get("tags") or [], get("metadata") or {}, get("duration_ms")
    if (
        not all(type(text) is str for text in texts)
        or get("status") not in CODES
        or type(duration) is not float
        or not abs(duration) < 1e15
        or type(tags) is not list
        or not all(type(tag) is str for tag in tags)
        or type(metadata) is not dict
        or not 0 < len(texts[0]) <= MAX_ID
        or "\0" in texts[0]
        or not _USAGE.isdisjoint(record)
    ):
        return None
    if not (start_us := time_us(texts[2])) and texts[2]:
        return None  # perhaps a time in another spelling
    usage = get("usage")
    counts = counts_of(usage) if usage and type(usage) is dict else None
    error = get("error")
    return TraceLine(
        texts[0],
        plain(texts[1]),
        None if get("session_id") is None else plain(texts[3]),
        None if get("user_id") is None else plain(texts[4]),
        record["status"],
        start_us,
        duration,
        None if error is None else plain(error_words(error, WORDS)),
        None if (value := get("input")) is None else plain(kept_value(value)),
        None if (value := get("output")) is None else plain(kept_value(value)),
        [plain(tag) for tag in tags[:100]],
        [plain(text) for text in _metadata(metadata)],
        None if counts is None else sums_of(counts),
        line,
    )


_USAGE = frozenset({"prompt_tokens", "completion_tokens", "total_tokens", "type", "parent_id", "parent_observation_id"})
"""Fields of other formats, and of observations."""


def trace_line(record: Json, line: bytes) -> TraceLine:
    """Return the row of a trace's line by any writer."""
    trace = trace_of({**record, "trace_id": trace_id_of(record)})
    start = trace.start_time
    counts = sums_of(counts_of(dict(trace.usage))) if trace.usage and trace.usage.reported else None
    duration = trace.duration_ms
    if duration is None and start and trace.end_time:
        duration = (in_utc(trace.end_time) - in_utc(start)) / timedelta(milliseconds=1)
    status = trace.status or ("error" if trace.error is not None else "success")
    return TraceLine(
        id_of(trace.trace_id),
        plain(trace.name),
        None if trace.session_id is None else plain(trace.session_id),
        None if trace.user_id is None else plain(trace.user_id),
        str(status),
        (in_utc(start) - EPOCH) // timedelta(microseconds=1) if start else 0,
        duration if duration is not None and abs(duration) < 1e15 else None,
        None if trace.error is None else plain(error_words(trace.error, WORDS)),
        None if trace.input is None else plain(kept_value(trace.input)),
        None if trace.output is None else plain(kept_value(trace.output)),
        [plain(tag) for tag in trace.tags[:100]],
        [plain(text) for text in _metadata(trace.metadata)],
        counts,
        line,
    )


def _metadata(metadata: Json) -> Iterator[str]:
    for key, value in list(metadata.items())[:100]:
        yield str(key)
        if isinstance(value, str | int | float):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{key}={text}"


def score_of(record: Json, line: bytes) -> Score:
    trace_id, name, value = record.get("trace_id"), record.get("name"), record.get("value")
    if not isinstance(trace_id, str) or not trace_id or len(trace_id) > MAX_ID:
        raise Refusal("a score needs the trace_id it is about")
    if not isinstance(name, str) or not name:
        raise Refusal("a score needs a name")
    if not isinstance(value, str | int | float):
        raise Refusal("the value of a score must be a number, a flag or a text")
    if isinstance(value, int | float) and not abs(value) < 2**63:
        raise Refusal("the value of a score must be a finite number of up to 64 bits")
    comment = record.get("comment")
    if comment is not None and not isinstance(comment, str):
        raise Refusal("the comment of a score must be a text")
    own = record.get("id") or f"{name}@{record.get('time')}"[:MAX_ID]
    if not isinstance(own, str) or len(own) > MAX_ID:
        raise Refusal(f"the id of a score must be a text of up to {MAX_ID} characters")
    return Score(id_of(trace_id), id_of(own), plain(name), value, comment, time_us(record.get("time")), line)
