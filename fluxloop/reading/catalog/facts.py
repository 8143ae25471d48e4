"""
What the index keeps of a trace: enough to make its row again when more of its records are read.

Facts of records that are written as our writer writes them are taken as they are. Any other record is built first, so
that foreign spellings and unknown values mean the same here as in `fluxloop.read_traces`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from ...enums import ObservationType, Status
from ...llm.prices import Counts, context_of
from ...storage.decoding import Json, decode
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

_FIELDS = itemgetter("id", "parent_id", "start_time", "duration_ms")
_OF_ID, _OF_NUMBER = (str, type(None)), (float, type(None))
_CODED = itemgetter("type", "name", "status", "level")

Row = tuple[str, str | None, int, float | None, Counts | None]
"""An observation in the index: its id, its parent's, its code (see `code_of`), its duration in ms, and its usage."""

Fact = tuple[str | None, int, int, bool, float | None, Counts | None]
"""
The same, as the computations take it: the id of the parent, the number of the `Label`, the status (a position in
`STATUSES`, or `RUNNING`), whether the level is WARNING, or ERROR without the status ``error``, the duration, the usage.
"""


def code_of(label: int, status: int, *, is_warning: bool) -> int:
    """Return the number of a label, a status and whether the level is a warning as one number."""
    return label << 4 | status << 1 | is_warning


def status_of_code(code: int) -> int:
    """Return the status in a code."""
    return code >> 1 & 7


def facts_of(rows: Iterable[Row]) -> dict[str, Fact]:
    """Return the fact about each observation, by its id; the last record of an id wins."""
    return {
        id: (parent, code >> 4, code >> 1 & 7, bool(code & 1), duration, counts)
        for id, parent, code, duration, counts in rows
    }


Number = Callable[[tuple[Any, ...]], int]
"""Returns the number of a label, which is the same for every trace of an index."""


class Codes(dict[tuple[Any, ...], int]):
    """
    The code (see `code_of`) of the type, name, status and level of an observation, and of its model, provider and
    context if it has these: computed once for each combination.

    Args:
        number: The numbers of labels.
    """

    def __init__(self, number: Number) -> None:
        self.number = number

    def __missing__(self, seen: tuple[Any, ...]) -> int:
        kind, name, status, level, *of_model = seen
        number = CODES[status]
        is_warning = level != "INFO" and (level == "WARNING" or (level == "ERROR" and number != ERROR))
        code = code_of(self.number((kind, name, *of_model)), number, is_warning=is_warning)
        if len(self) >= MOST_KNOWN:
            self.clear()
        self[seen] = code
        return code


MOST_KNOWN = 10_000
"""Labels, or combinations of them, that are kept in memory: a program may give every observation another name."""


class TraceFacts:
    """The facts about one trace, as far as its records have been read."""

    __slots__ = ("_prefix", "has_line", "has_root", "head", "number", "root", "rows", "start")

    def __init__(self, trace_id: str) -> None:
        self._prefix = trace_id[:PREFIX]
        self.rows: list[Row] = []
        """The observations; after `settle`, only the last record of an id."""
        self.number: int | None = None
        """Of the trace in the index; None if it is not known."""
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

    @property
    def is_empty(self) -> bool:
        """Whether no record of the trace was read."""
        return not (self.rows or self.has_line)

    def add_observation(self, record: Json, codes: Codes) -> None:
        """Add the record of an observation that has ended."""
        try:
            self.add_ours(record, codes)
        except NOT_OURS:
            self.add_ours(_rebuilt(record), codes)

    def add_ours(self, record: Json, codes: Codes) -> None:
        """Add a record as our writer makes it; anything else raises one of `NOT_OURS`."""
        id, parent, start, duration = _FIELDS(record)
        if len(start) != 27 or type(id) is not str or type(parent) not in _OF_ID or type(duration) not in _OF_NUMBER:
            raise ValueError
        if "model" in record or "usage" in record:
            get = record.get
            counts = counts_of(usage) if (usage := get("usage")) else None
            context = context_of(get("metadata"), get("model_parameters"), get("output"))
            code = codes[(*_CODED(record), get("model"), get("provider"), context)]
        else:
            counts, code = None, codes[_CODED(record)]
        if parent is None:
            if "parent_observation_id" in record:
                raise ValueError
            self.add_root(id, start, record)
        if start < self.start:
            self.start = start
        self.rows.append((id, parent, code, duration, counts))

    def add_root(self, id: str, start: str, record: Json | bytes) -> None:
        """Add an observation without a parent: its record, or the line with it, which is decoded if it is needed."""
        self.has_root = True
        is_first = not self.root or start < self.root["start_time"] or id == self.root["id"]
        if is_first and self.needs_root:
            self.root = record if isinstance(record, dict) else {"id": id, "start_time": start, _LINE: record}

    def add_line(self, record: Json) -> None:
        """Add the trace's own line."""
        get = record.get
        status = get("status")
        is_ours = (
            type(status) is str
            and status in CODES
            and type(get("duration_ms")) in _OF_NUMBER
            and _is_our_time(get("start_time"))
        )
        if not is_ours:
            record = _rebuilt_line(record)
        self.head, self.has_line = record, True

    def add_kept_line(self, kept: Json) -> None:
        """Add what `kept_of` returns of the trace's own line."""
        self.head, self.has_line = kept, True

    @property
    def is_complete(self) -> bool:
        """Whether no more records are expected: our writer writes the line last, after the root."""
        return self.has_line and self.has_root

    @property
    def needs_root(self) -> bool:
        """Whether the root can have values that the line lacks: these it can supply."""
        # One call of a C function, since this is asked for every trace.
        return not self.has_line or None in map(self.head.get, _SUPPLIED)

    def settle(self) -> None:
        """Replace the records that are still held by the few fields that are kept."""
        self.head, self.root = kept_of(self.head), kept_of(_whole(self.root)) if self.needs_root else {}
        if len({row[0] for row in self.rows}) < len(self.rows):
            self.rows = [*{row[0]: row for row in self.rows}.values()]

    def add_earlier(self, earlier: TraceFacts) -> None:
        """Add what was known before; what is known now wins."""
        self.rows = [*earlier.rows, *self.rows]
        self.number = earlier.number
        self.head = self.head or earlier.head
        self.root = self.root or earlier.root
        self.has_line |= earlier.has_line
        self.has_root |= earlier.has_root
        self.start = min(self.start, earlier.start)

    def encoded(self) -> bytes:
        """Return the facts as bytes, see `decoded`."""
        rows = orjson.dumps(self.rows).replace(self._quoted_prefix(), _SHORT)
        fields = orjson.dumps((self.has_line, self.has_root, self.start, self.head, self.root))
        return b"%b\n%b" % (fields, rows)

    @classmethod
    def decoded(cls, trace_id: str, data: bytes) -> TraceFacts:
        """Return what `encoded` made bytes of."""
        facts = cls(trace_id)
        fields, rows = data.split(b"\n")
        facts.has_line, facts.has_root, facts.start, facts.head, facts.root = orjson.loads(fields)
        facts.rows = orjson.loads(rows.replace(_SHORT, facts._quoted_prefix()))
        return facts

    def _quoted_prefix(self) -> bytes:
        """Return what the trace's id and most ids of its observations begin with, as JSON without the last quote."""
        return orjson.dumps(self._prefix)[:-1]


_LINE = "line"
"""The only field of a root beside its id and start whose line has not been decoded."""


def _whole(root: Json) -> Json:
    """Return the record of a root."""
    return decode(root[_LINE]) if type(root.get(_LINE)) is bytes else root


_SHORT = b'"\\n'
"""Takes the place of the quoted prefix; in JSON of ids it occurs nowhere else."""

_SUPPLIED = ("name", "end_time", "status", "input", "output")


def facts_in(data: bytes) -> dict[str, Fact]:
    """Return the facts in what `TraceFacts.encoded` returned, by ids that may be shortened, all in the same way."""
    return facts_of(orjson.loads(data[data.index(b"\n") :]))


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


def open_fact(record: Json, number: Number, *, is_alive: bool) -> Fact:
    """Return the fact about an observation that a journal lists as open."""
    kind, parent = record.get("type"), record.get("parent_id")
    label = (kind if kind in TYPES else "SPAN", record.get("name"))
    return (parent or None, number(label), RUNNING if is_alive else CRASHED, False, None, None)


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
