"""
What the index keeps of a trace: enough to make its row again when more of its records are read.

Facts of records that are written as our writer writes them are taken as they are. Any other record is built first, so
that foreign spellings and unknown values mean the same here as in `fluxloop.read_traces`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from ...enums import ObservationType, Status
from ...llm.prices import Counts, context_of
from ...storage.decoding import Json
from .kept import counts_of, kept_of

STATUSES = tuple(str(status) for status in Status)
RUNNING = len(STATUSES)
"""The code of an observation that has not ended; other codes are positions in `STATUSES`."""

CODES = {status: code for code, status in enumerate(STATUSES)}
_SUCCESS, ERROR, CRASHED, _ABANDONED = (
    CODES[str(s)] for s in (Status.SUCCESS, Status.ERROR, Status.CRASHED, Status.ABANDONED)
)
TYPES = frozenset(ObservationType.__members__)

PREFIX = 24
"""Characters that the ids made by one process begin with."""


class Label(NamedTuple):
    """What many observations have in common."""

    type: str
    name: str
    model: str | None = None
    provider: str | None = None
    context: str = ""
    """What the price of the call depends on, see `fluxloop.llm.prices.context_of`."""

    @classmethod
    def of(cls, type: str, name: str | None, *rest: Any) -> Label:
        """Return the label with these fields."""
        return cls(type, name or "", *rest)


NOT_OURS = (AttributeError, KeyError, TypeError, ValueError)
"""What a record of another writer makes Python raise where one of ours is expected."""

_FIELDS = itemgetter("id", "parent_id", "type", "name", "start_time", "duration_ms", "status", "level")

Fact = tuple[str | None, int, int, bool, float | None, Counts | None]
"""
What is kept of one observation: the key of its parent, the number of its `Label`, its status (a position in `STATUSES`,
or `RUNNING`), whether its level is WARNING, or ERROR without the status ``error``, its duration, and its usage.
"""

Number = Callable[[tuple[Any, ...]], int]
"""Returns the number of a label, which is the same for every trace of an index."""

Coded = tuple[int, int, bool]
"""The number of a `Label`, the status and whether the level is a warning, as in a `Fact`."""


class Codes(dict[tuple[Any, ...], Coded]):
    """
    What is kept of the type, name, status and level of an observation, and of its model, provider and context if it
    has these: computed once for each combination.

    Args:
        number: The numbers of labels.
    """

    def __init__(self, number: Number) -> None:
        self.number = number

    def __missing__(self, seen: tuple[Any, ...]) -> Coded:
        kind, name, status, level, *of_model = seen
        code = CODES[status]
        is_warning = level != "INFO" and (level == "WARNING" or (level == "ERROR" and code != ERROR))
        coded = self.number((kind, name, *of_model)), code, is_warning
        if len(self) >= MOST_KNOWN:
            self.clear()
        self[seen] = coded
        return coded


MOST_KNOWN = 10_000
"""Labels, or combinations of them, that are kept in memory: a program may give every observation another name."""


class TraceFacts:
    """The facts about one trace, as far as its records have been read."""

    __slots__ = ("_prefix", "facts", "has_line", "has_root", "head", "root", "start")

    def __init__(self, trace_id: str) -> None:
        self._prefix = trace_id[:PREFIX]
        self.facts: dict[str, Fact] = {}
        """By the key of the observation's id; the last record of an id wins."""
        self.has_line = False
        """Whether the trace's own line was read."""
        self.has_root = False
        """Whether an observation without a parent was read."""
        self.head: Json = {}
        """The fields of the line."""
        self.root: Json = {}
        """The same fields of the observation without a parent, where the line lacks some."""
        self.start = "~"
        """The earliest start of an observation, as text in UTC; ``"~"`` if there is none."""

    def key(self, id: str) -> str:
        """Return the key of an id: shorter than the id where it begins as that of the trace, as with ids of ours."""
        return id[PREFIX:] if id.startswith(self._prefix) else f"={id}"

    def add_observation(self, record: Json, codes: Codes) -> None:
        """Add the record of an observation that has ended."""
        try:
            self.add_ours(record, codes)
        except NOT_OURS:
            self.add_ours(_rebuilt(record), codes)

    def add_ours(self, record: Json, codes: Codes) -> None:
        """Add a record as our writer makes it; anything else raises one of `NOT_OURS`."""
        id, parent, kind, name, start, duration, status, level = _FIELDS(record)
        if len(start) != 27 or (type(duration) is not float and duration is not None):
            raise ValueError
        prefix = self._prefix
        key = id[PREFIX:] if id.startswith(prefix) else f"={id}"
        if parent is not None:
            parent = parent[PREFIX:] if parent.startswith(prefix) else f"={parent}"
        if start < self.start:
            self.start = start
        if "model" in record or "usage" in record:
            get = record.get
            counts = counts_of(usage) if (usage := get("usage")) else None
            context = context_of(get("metadata"), get("model_parameters"), get("output"))
            label, code, is_warning = codes[kind, name, status, level, get("model"), get("provider"), context]
            self.facts[key] = (parent, label, code, is_warning, duration, counts)
        else:
            label, code, is_warning = codes[kind, name, status, level]
            self.facts[key] = (parent, label, code, is_warning, duration, None)
        if parent is None:
            self._add_root(record, start)

    def _add_root(self, record: Json, start: str) -> None:
        if "parent_observation_id" in record:
            raise ValueError
        self.has_root = True
        is_first = not self.root or start < self.root["start_time"] or record["id"] == self.root["id"]
        if is_first and self.needs_root:
            self.root = record

    def add_line(self, record: Json) -> None:
        """Add the trace's own line."""
        if record.get("status") not in CODES or not _is_our_time(record.get("start_time")):
            record = _rebuilt_line(record)
        self.head, self.has_line = record, True

    @property
    def is_complete(self) -> bool:
        """Whether no more records are expected: our writer writes the line last, after the root."""
        return self.has_line and self.has_root

    @property
    def needs_root(self) -> bool:
        """Whether the root can have values that the line lacks: these it can supply."""
        get = self.head.get
        # One call per field, since this is asked for every trace.
        return not self.has_line or None in (
            get("name"),
            get("end_time"),
            get("status"),
            get("input"),
            get("output"),
        )

    def settle(self) -> None:
        """Replace the records that are still held by the few fields that are kept."""
        self.head, self.root = kept_of(self.head), kept_of(self.root) if self.needs_root else {}

    def add_earlier(self, earlier: TraceFacts) -> None:
        """Add what was known before; what is known now wins."""
        self.facts = {**earlier.facts, **self.facts}
        self.head = self.head or earlier.head
        self.root = self.root or earlier.root
        self.has_line |= earlier.has_line
        self.has_root |= earlier.has_root
        self.start = min(self.start, earlier.start)

    def encoded(self) -> bytes:
        """Return the facts as bytes, see `decoded`."""
        return orjson.dumps((self.has_line, self.has_root, self.start, self.head, self.root, self.facts))

    @classmethod
    def decoded(cls, trace_id: str, data: bytes) -> TraceFacts:
        """Return what `encoded` made bytes of."""
        facts = cls(trace_id)
        facts.has_line, facts.has_root, facts.start, facts.head, facts.root, facts.facts = orjson.loads(data)
        return facts


def counted_calls(facts: Mapping[str, Fact], label_of: Callable[[int], Label]) -> Iterator[tuple[str, Counts | None]]:
    """
    Yield the key and the counts of each model call, each call once.

    The usage of an observation counts unless a descendant reports usage, too: frameworks repeat it on the steps around
    their calls. A GENERATION or EMBEDDING that succeeded without usage is a call whose counts are None, unless an
    ancestor or a descendant reports usage.
    """
    reporting = [key for key, fact in facts.items() if fact[5] is not None]
    above: set[str] = set()
    for key in reporting:
        parent = facts[key][0]
        while parent is not None and parent in facts and parent not in above:
            above.add(parent)
            parent = facts[parent][0]
    for key, (parent, label, status, _, _, counts) in facts.items():
        if key in above:
            continue
        if counts is not None:
            yield key, counts
        elif status == _SUCCESS and label_of(label).type in _CALL_TYPES and not _has_counts_above(parent, facts):
            yield key, None


_CALL_TYPES = ("GENERATION", "EMBEDDING")


def _has_counts_above(parent: str | None, facts: Mapping[str, Fact]) -> bool:
    passed: set[str] = set()  # damaged records may have rings of parents
    while parent is not None and parent in facts and parent not in passed:
        if facts[parent][5] is not None:
            return True
        passed.add(parent)
        parent = facts[parent][0]
    return False


def open_fact(facts: TraceFacts, record: Json, number: Number, *, is_alive: bool) -> Fact:
    """Return the fact about an observation that a journal lists as open in the trace of *facts*."""
    kind, parent = record.get("type"), record.get("parent_id")
    label = (kind if kind in TYPES else "SPAN", record.get("name"))
    return (facts.key(parent) if parent else None, number(label), RUNNING if is_alive else CRASHED, False, None, None)


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
    from ..building import in_utc

    fields = {name: value for name, value in item if name != "observations"}
    for name in ("start_time", "end_time"):
        if (time := fields[name]) is not None:
            fields[name] = f"{in_utc(time).isoformat(timespec='microseconds')[:26]}Z"
    for name in ("type", "level"):
        if name in fields:
            fields[name] = fields[name].name
    if fields["status"] is not None:
        fields["status"] = str(fields["status"])
    if fields["usage"] is not None:
        fields["usage"] = dict(fields["usage"])
    return fields
