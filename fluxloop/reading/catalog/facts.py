"""
What the index keeps of a trace: enough to make its row again when more of its records are read.

Facts of records that are written as our writer writes them are taken as they are. Any other record is built first, so
that foreign spellings and unknown values mean the same here as in `fluxloop.read_traces`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os.path import commonprefix
from typing import Any, NamedTuple

import orjson

from ...enums import ObservationType, Status
from ...llm.prices import Counts, context_of
from ...storage.decoding import Json
from ..values import first_words

STATUSES = tuple(str(status) for status in Status)
RUNNING = len(STATUSES)
"""The code of an observation that has not ended; other codes are positions in `STATUSES`."""

_CODES = {status: code for code, status in enumerate(STATUSES)}
_SUCCESS, ERROR, CRASHED, _ABANDONED = (_CODES[str(s)] for s in (Status.SUCCESS, Status.ERROR, Status.CRASHED, Status.ABANDONED))
_TYPES = frozenset(ObservationType.__members__)

WORDS = 200
"""Characters kept of an input, an output or an error."""


class Label(NamedTuple):
    """What many observations have in common."""

    type: str
    name: str
    model: str | None = None
    provider: str | None = None
    context: str = ""
    """What the price of the call depends on, see `fluxloop.llm.prices.context_of`."""


class Fact(NamedTuple):
    """What is kept of one observation."""

    parent: str | None
    label: int
    """The number of its `Label`."""
    status: int
    """A position in `STATUSES`, or `RUNNING`."""
    is_warning: bool
    """Whether its level is WARNING, or ERROR without the status ``error``."""
    duration_ms: float | None
    usage: Counts | None


Number = Callable[[Label], int]
"""Returns the number of a label, which is the same for every trace of an index."""


class TraceFacts:
    """The facts about one trace, as far as its records have been read."""

    __slots__ = ("facts", "has_line", "has_root", "head", "root", "start")

    def __init__(self) -> None:
        self.facts: dict[str, Fact] = {}
        """By the id of the observation; the last record of an id wins."""
        self.has_line = False
        """Whether the trace's own line was read."""
        self.has_root = False
        """Whether an observation without a parent was read."""
        self.head: Json = {}
        """The fields of the line."""
        self.root: Json = {}
        """The same fields of the observation without a parent, where the line has not been read."""
        self.start = ""
        """The earliest start of an observation, as text in UTC; ``""`` if there is none."""

    def add_observation(self, record: Json, number: Number) -> None:
        """Add the record of an observation that has ended."""
        status, kind, level = _CODES.get(record.get("status")), record.get("type"), record.get("level")
        usage = record.get("usage")
        start, parent = record.get("start_time"), record.get("parent_id")
        duration = record.get("duration_ms")
        if (
            status is None
            or kind not in _TYPES
            or type(record["id"]) is not str
            or type(start) is not str
            or len(start) != 27
            or (parent is None and "parent_observation_id" in record)
            or (parent is not None and type(parent) is not str)
            or (usage is not None and type(usage) is not dict)
            or (duration is not None and type(duration) is not float)
        ):
            record = _rebuilt(record)
            status, kind, level, usage = _CODES[record["status"]], record["type"], record["level"], record["usage"]
            start, parent, duration = record["start_time"], record["parent_id"], record["duration_ms"]
        name, model = record.get("name"), record.get("model")
        counts = None
        if usage:
            counts = counts_of(usage)
            context = context_of(record.get("metadata"), record.get("model_parameters"), record.get("output"))
            provider = record.get("provider")
            label = Label(kind, str(name or ""), model and str(model), provider and str(provider), context)
        else:
            label = Label(kind, str(name or ""), model and str(model), None)
        is_warning = level == "WARNING" or (level == "ERROR" and status != ERROR)
        self.facts[record["id"]] = Fact(parent, number(label), status, is_warning, duration, counts)
        if not self.start or start < self.start:
            self.start = start
        if parent is None:
            self.has_root = True
            if self.needs_root and (not self.root or start < self.root["start_time"]):
                self.root = record

    def add_line(self, record: Json) -> None:
        """Add the trace's own line."""
        if record.get("status") not in _CODES or not _is_our_time(record.get("start_time")):
            record = _rebuilt_line(record)
        self.head, self.has_line = record, True

    @property
    def is_complete(self) -> bool:
        """Whether no more records are expected: our writer writes the line last, after the root."""
        return self.has_line and self.has_root

    @property
    def needs_root(self) -> bool:
        """Whether the root can have values that the line lacks."""
        return not self.has_line or any(self.head.get(name) is None for name in _OF_ROOT)

    def settle(self) -> None:
        """Replace the records that are still held by the few fields that are kept."""
        self.head, self.root = kept(self.head), kept(self.root) if self.needs_root else {}

    def add_earlier(self, earlier: TraceFacts) -> None:
        """Add what was known before; what is known now wins."""
        self.facts = {**earlier.facts, **self.facts}
        self.head = self.head or earlier.head
        self.root = self.root or earlier.root
        self.has_line |= earlier.has_line
        self.has_root |= earlier.has_root
        self.start = min(filter(None, (self.start, earlier.start)), default="")

    def counted(self, facts: dict[str, Fact] | None = None) -> Iterator[Fact]:
        """Yield the observations whose usage counts: those of which no descendant reports usage, too."""
        facts = self.facts if facts is None else facts
        reporting = [id for id, fact in facts.items() if fact.usage is not None]
        if not reporting:
            return
        above: set[str | None] = set()
        for id in reporting:
            parent = facts[id].parent
            while parent in facts and parent not in above:
                above.add(parent)
                parent = facts[parent].parent
        yield from (facts[id] for id in reporting if id not in above)

    def encoded(self) -> bytes:
        """Return the facts as bytes, see `decoded`."""
        ids = list(self.facts)
        prefix = commonprefix(ids) if len(ids) > 1 else ""
        positions = {id: position for position, id in enumerate(ids)}
        parents, labels, statuses, warnings, durations, usages = zip(*self.facts.values(), strict=True) if ids else ((),) * 6
        return orjson.dumps(
            [
                [self.has_line, self.has_root, self.head, self.root, self.start],
                prefix,
                [id[len(prefix) :] for id in ids],
                [positions.get(parent, parent) for parent in parents],
                labels,
                statuses,
                [position for position, warning in enumerate(warnings) if warning],
                durations,
                {str(position): usage for position, usage in enumerate(usages) if usage is not None},
            ]
        )

    @classmethod
    def decoded(cls, data: bytes) -> TraceFacts:
        """Return what `encoded` made bytes of."""
        facts = cls()
        (
            (facts.has_line, facts.has_root, facts.head, facts.root, facts.start),
            prefix,
            tails,
            parents,
            labels,
            statuses,
            warnings,
            durations,
            usages,
        ) = orjson.loads(data)
        ids = [prefix + tail for tail in tails]
        warned = {*warnings}
        for position, id in enumerate(ids):
            parent, usage = parents[position], usages.get(str(position)) if usages else None
            facts.facts[id] = Fact(
                ids[parent] if type(parent) is int else parent,
                labels[position],
                statuses[position],
                position in warned,
                durations[position],
                None if usage is None else tuple(usage),
            )
        return facts


def open_fact(record: Json, number: Number, *, is_alive: bool) -> Fact:
    """Return the fact about an observation that a journal lists as open."""
    kind = record.get("type")
    label = Label(kind if kind in _TYPES else "SPAN", str(record.get("name") or ""))
    return Fact(record.get("parent_id"), number(label), RUNNING if is_alive else CRASHED, False, None, None)


_KEPT = ("name", "session_id", "user_id", "start_time", "end_time", "duration_ms", "status", "tags", "usage")
_OF_ROOT = ("name", "end_time", "status", "input", "output")
_IN_WORDS = "in words"
"""Marks fields whose values are kept as their first words."""


def kept(record: Json) -> Json:
    """Return the fields of *record* that are kept, with the first words of its values."""
    if not record or record.get(_IN_WORDS):
        return record
    kept = {name: value for name in _KEPT if (value := record.get(name))}
    for name in ("input", "output"):
        if (value := record.get(name)) is not None:
            kept[name] = first_words(value, WORDS)
    if (error := record.get("error")) is not None:
        kept["error"] = error[: 2 * WORDS] if isinstance(error, str) else first_words(error, WORDS)
    kept[_IN_WORDS] = True
    return kept


def counts_of(usage: Json) -> Counts | None:
    """Return the token counts of a record; None if it has none."""
    counts = tuple(usage.get(name) for name in _COUNTS)
    if any(count is not None and not (type(count) is int and 0 <= count <= _MOST_TOKENS) for count in counts):
        counts = tuple(_count(count) for count in counts)
    return counts if any(count is not None for count in counts) else None  # type: ignore[return-value]  # of six


def _count(count: object) -> int | None:
    whole = int(count) if type(count) is float and count.is_integer() else count
    return whole if type(whole) is int and 0 <= whole <= _MOST_TOKENS else None


_COUNTS = ("input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_MOST_TOKENS = 2**53
"""A larger number is not a count."""


def _is_our_time(text: object) -> bool:
    return type(text) is str and len(text) == 27 and text[26] == "Z"


def _rebuilt(record: Json) -> Json:
    """Return the record of an observation by any writer in our spelling."""
    from ..building import finished_observation

    return _spelled(finished_observation(record))


def _rebuilt_line(record: Json) -> Json:
    """Return the line of a trace by any writer in our spelling; its status may be missing."""
    from ..building import trace_of

    return _spelled(trace_of(record))


def _spelled(item: Any) -> Json:
    fields = {name: value for name, value in item if name != "observations"}
    for name in ("start_time", "end_time"):
        if (time := fields[name]) is not None:
            fields[name] = f"{time.isoformat(timespec='microseconds')[:26]}Z"
    for name in ("type", "level"):
        if name in fields:
            fields[name] = fields[name].name
    if fields["status"] is not None:
        fields["status"] = str(fields["status"])
    if fields["usage"] is not None:
        fields["usage"] = dict(fields["usage"])
    return fields
