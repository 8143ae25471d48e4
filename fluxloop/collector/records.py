"""
Turn the lines of a batch into the rows of a store.

Every row holds the line as it was received, and the few fields that filters and totals need. A line that is not a
record is rejected with a reason; it does not affect the other lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from operator import itemgetter
from typing import Any

import orjson

from ..llm.price_library import Call, Tiers
from ..llm.prices import Counts, Prices, context_of, dollars_of
from ..reading.building import finished_observation, in_utc, observation_of
from ..reading.catalog.facts import CODES, TYPES
from ..reading.catalog.kept import counts_of
from ..storage.decoding import Json, decode, kind_of, trace_id_of
from .record_rows import EPOCH, MAX_ID, Observation, Refusal, Row, id_of, plain, sums_of, time_us
from .trace_rows import own_trace_line, score_of, trace_line
from .typed_records import LEVELS, LONGEST_MS, PRICED, typed_reader

MAX_DEPTH = 250
"""Levels of nesting in a record; the recorder writes up to 200."""


_SHALLOW_BYTES = 2 * MAX_DEPTH
"""A line that is not longer has fewer levels: each has a bracket at its start, and one at its end."""

_MINUTE_US = 60_000_000

_MOST_TIERS = 4_096
"""Prices that are remembered."""


@dataclass(slots=True)
class Batch:
    """The rows of a batch, and the lines that are not records."""

    rows: list[Row] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    """The number of each line, from 1, and the reason."""


class RowMaker:
    """
    Makes rows of records.

    Args:
        prices: For the cost of model calls; None leaves the cost out.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._prices = prices
        self._tiers: dict[tuple[str, object, str, int], Tiers | None] = {}
        """The prices of calls in a minute, by what they depend on."""
        self._typed = typed_reader(None if prices is None else self._cost)

    def batch(self, lines: Iterable[bytes], *, most_rejected: int | None = None) -> Batch:
        """Return the rows of *lines*; blank lines are skipped. The lines after more rejected ones are not read."""
        batch = Batch()
        for number, line in enumerate(lines, start=1):
            if line and not line.isspace():
                try:
                    batch.rows.append(self.row(line))
                except Refusal as refusal:
                    batch.rejected.append({"line": number, "reason": str(refusal)})
                    if most_rejected is not None and len(batch.rejected) > most_rejected:
                        break
        return batch

    def row(self, line: bytes) -> Row:
        """
        Return the row of one line.

        Raises:
            Refusal: If it is not a record.
        """
        is_deep = len(line) > _SHALLOW_BYTES and _brackets(line) > MAX_DEPTH
        if self._typed is not None and not is_deep and (row := self._typed(line)) is not None:
            return row
        try:
            record = orjson.loads(line)
        except ValueError:
            record, line = _repaired(line)
            is_deep = True
        if is_deep and _depth_of(record) > MAX_DEPTH:
            raise Refusal(f"nested deeper than {MAX_DEPTH} levels")
        return self.row_of(record, line)

    def row_of(self, record: Any, line: bytes) -> Row:
        """
        Return the row of a decoded *record*, which *line* holds.

        Raises:
            Refusal: If it is not a record.
        """
        if isinstance(record, dict):
            if (row := self._own_row(record, line)) is not None:
                return row
            if record.get("record") == "score":
                return score_of(record, line)
        kind = kind_of(record)
        if kind is None:
            raise Refusal("neither an observation, nor a trace, nor a score")
        for name in ("id", "trace_id"):
            if len(str(record.get(name, ""))) > MAX_ID:
                raise Refusal(f"{name} is longer than {MAX_ID} characters")
        try:
            return self._observation(record, line) if kind == "observation" else trace_line(record, line)
        except Refusal:
            raise
        except _ERRORS as error:
            raise Refusal(f"not a record that can be read: {type(error).__name__}") from None

    def _own_row(self, record: Json, line: bytes) -> Row | None:
        """Return the row of a record written as the recorder writes it; None for any other."""
        try:
            if "parent_id" in record:
                return self._own_observation(record, line)
            return own_trace_line(record, line) if "schema" in record else None
        except _ERRORS:  # a value of another type than the recorder's
            return None

    def _observation(self, record: Json, line: bytes) -> Observation:
        """Return the row of an observation by any writer."""
        row = self._own_observation(_as_ours(record), line)
        if row is None:
            raise Refusal("not an observation that can be read")
        return row

    def _own_observation(self, record: Json, line: bytes) -> Observation | None:
        """Return the row of an observation written as the recorder writes it; None for any other."""
        if not _is_ours(record):
            return None
        get = record.get
        usage = get("usage")
        counts = counts_of(usage) if usage and type(usage) is dict else None
        if not (start_us := time_us(start := get("start_time"))) and start:
            return None  # perhaps a time in another spelling
        kind, name, model = record["type"], record["name"], get("model")
        cost = None
        given, made, total = _NO_TOKENS if counts is None else sums_of(counts)
        if counts is not None and kind in PRICED and self._prices is not None and model:
            context = context_of(get("metadata"), get("model_parameters"), get("output"))
            cost = self._cost(model, get("provider"), context, start_us, counts)
        values = (
            record["trace_id"],
            record["id"],
            get("parent_id"),
            kind,
            plain(name),
            get("status"),
            level if (level := get("level")) in LEVELS else "INFO",
            start_us,
            get("duration_ms"),
            plain(model) if model else None,
            given,
            made,
            total,
            cost,
            line,
        )
        return tuple.__new__(Observation, values)  # without the call that gives the fields names

    def _cost(self, model: str, provider: Any, context: str, start_us: int, counts: Counts) -> float | None:
        key = model, provider, context, start_us // _MINUTE_US
        try:
            tiers = self._tiers[key]
        except KeyError:
            if len(self._tiers) >= _MOST_TIERS:
                self._tiers.clear()
            time = EPOCH + timedelta(microseconds=start_us)
            prices: Prices = self._prices  # type: ignore[assignment]  # it is not None here
            tiers = self._tiers[key] = prices.tiers(Call(model, provider, context), time)
        return dollars_of(tiers, counts) if tiers else None


def lines_of(body: bytes) -> list[bytes]:
    """Return the lines of a body, each without its line end; the last one may be empty."""
    return body.split(b"\n")


def _repaired(line: bytes) -> tuple[Any, bytes]:
    """Return the line that orjson refuses encoded again, and its value: what readers will decode, NaN as null."""
    try:
        value = decode(line)
        line = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
        return orjson.loads(line), line
    except (ValueError, RecursionError):
        raise Refusal("not JSON, or nested too deeply") from None
    except TypeError:  # an integer beyond 64 bits
        if b"NaN" in line or b"Infinity" in line:
            raise Refusal("numbers that are not JSON") from None
        return value, line.decode("utf-8", "replace").encode()


def _brackets(line: bytes) -> int:
    """Return how many objects and lists a line has at most."""
    return line.count(b"{") + (line.count(b"[") if line.find(b"[") >= 0 else 0)  # to find none is faster


def _depth_of(value: Any) -> int:
    """Return the levels of nesting of a decoded value, up to one more than `MAX_DEPTH`."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        children = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for items in children for child in items if isinstance(child, dict | list)]
    return depth


_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a record can raise whose values have unexpected types."""

_NO_TOKENS = (0, 0, 0)

_OURS = itemgetter("id", "trace_id", "parent_id", "type", "name", "start_time")


def _is_ours(record: Json) -> bool:
    """Whether the fields of an observation are written as the recorder writes them."""
    get = record.get
    try:
        id, trace_id, parent, kind, name, start = _OURS(record)
    except KeyError:
        return False
    status, duration, model = get("status"), get("duration_ms"), get("model")
    return (
        kind in TYPES
        and type(id) is type(trace_id) is type(name) is type(start) is str
        and (parent is None or type(parent) is str)
        and (status in CODES if status is not None else not _has_ended(record))
        and (duration is None or (type(duration) is float and abs(duration) < LONGEST_MS))
        and (model is None or type(model) is str)
        and 0 < len(id) <= MAX_ID
        and 0 < len(trace_id) <= MAX_ID
        and "record" not in record
        and "parent_observation_id" not in record
        and "\0" not in f"{id}{trace_id}{parent}"
    )


def _has_ended(record: Json) -> bool:
    return any(record.get(name) is not None for name in ("status", "end_time", "duration_ms", "error"))


def _as_ours(record: Json) -> Json:
    """Return an observation by any writer in our spelling."""
    built = finished_observation(record) if _has_ended(record) else observation_of(record)
    fields = {name: value for name, value in built}  # noqa: C416 - dict() takes it for a mapping
    trace_id = trace_id_of(record)
    duration = built.duration_ms
    return {
        **fields,
        "id": id_of(built.id),
        "trace_id": id_of(trace_id),
        "parent_id": None if built.parent_id is None else id_of(built.parent_id),
        "type": built.type.name,
        "name": built.name,
        "level": built.level.name,
        "status": None if built.status is None else str(built.status),
        "start_time": in_utc(start).isoformat() if (start := built.start_time) and start != EPOCH else "",
        "duration_ms": float(duration) if duration is not None and abs(duration) < LONGEST_MS else None,
        "usage": dict(built.usage) if built.usage and built.usage.reported else None,
    }
