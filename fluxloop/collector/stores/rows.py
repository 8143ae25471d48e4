"""
The row of a trace, kept up to date as its records arrive in any order.

Every store that updates rows uses this module, so that all of them give the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson

from ...reading.catalog.kept import WORDS, kept_value, words_of
from ...reading.values import error_words
from ..record_rows import Observation, TraceLine, iso_of, plain

HOUR_US = 3_600_000_000

MAX_FACETS = 1_000
"""Different texts by which one trace can be found; the names of more observations are not searched by name."""

COLUMNS = (
    "trace_id",
    "name",
    "session_id",
    "user_id",
    "status",
    "start_us",
    "duration_ms",
    "observations",
    "errors",
    "warnings",
    "input_tokens",
    "output_tokens",
    "tokens",
    "cost",
    "input",
    "output",
    "error",
    "tags",
    "models",
    "failed_tools",
    "facets",
    "state",
)
"""The columns of a trace, beside its number and its line."""

NUMBERS = (
    ("min_cost", "cost", ">="),
    ("max_cost", "cost", "<="),
    ("min_tokens", "tokens", ">="),
    ("max_tokens", "tokens", "<="),
    ("min_duration", "duration_ms", ">="),
    ("max_duration", "duration_ms", "<="),
)
"""The conditions on numbers: the field of the filter, the column, and the comparison."""

SHOWN = COLUMNS[:-2]
"""Those from which `as_object` makes the row that is returned."""

LISTS = ("tags", "models", "failed_tools")

_COUNTED = ("GENERATION", "EMBEDDING")
"""The types whose tokens are summed up while the line of the trace, which has the sum, is missing."""


@dataclass(slots=True)
class TraceState:
    """What is known of one trace."""

    trace_id: str
    number: int | None = None
    """In the store; None for a trace that is new."""
    has_line: bool = False
    name: str = ""
    session_id: str | None = None
    user_id: str | None = None
    status: str | None = None
    """None while it is running."""
    start_us: int = 0
    duration_ms: float | None = None
    observations: int = 0
    errors: int = 0
    warnings: int = 0
    counts: list[int] | None = None
    """Input, output and all tokens, as the line of the trace has them."""
    sums: list[int] = field(default_factory=lambda: [0, 0, 0])
    """The same, summed up over model calls."""
    cost: float | None = None
    input: str | None = None
    output: str | None = None
    error: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    failed_tools: list[str] = field(default_factory=list)
    found_by: set[str] = field(default_factory=set)
    """The facets of its observations."""
    roots: list[Observation] = field(default_factory=list)
    """New ones, which say what the trace's own line says, too."""
    line: bytes | None = None
    """The new line of the trace; None if it did not change."""
    before: tuple[int, frozenset[str]] = (0, frozenset())
    """The start and the facets that the store has."""

    @classmethod
    def of_columns(cls, number: int, columns: tuple[Any, ...]) -> TraceState:
        """Return the state of a trace that the store has."""
        row = dict(zip(COLUMNS, columns, strict=True))
        inner = orjson.loads(row.pop("state"))
        facets = frozenset(orjson.loads(row.pop("facets")))
        for name in ("input_tokens", "output_tokens", "tokens"):
            del row[name]
        for name in LISTS:
            row[name] = orjson.loads(row[name])
        found_by = {facet for facet in facets if facet.startswith(_OF_OBSERVATIONS)}
        return cls(**row, **inner, number=number, found_by=found_by, before=(row["start_us"], facets))

    def add_line(self, row: TraceLine) -> None:
        """Set what the trace's own line says."""
        self.has_line, self.line = True, row.line
        self.roots.clear()
        self.name, self.session_id, self.user_id = row.name, row.session_id, row.user_id
        self.status, self.duration_ms, self.error = row.status, row.duration_ms, row.error
        self.start_us = row.start_us or self.start_us
        self.input, self.output = row.input, row.output
        self.tags, self.metadata = row.tags, row.metadata
        self.counts = None if row.counts is None else [*row.counts]

    def add(self, rows: Sequence[Observation]) -> None:
        """Add observations: column by column, which takes half the time of one after the other."""
        if not rows:
            return
        columns = tuple(zip(*rows, strict=True))
        self._count(columns, 1)
        parents, kinds, names, statuses, starts, models = itemgetter(2, 3, 4, 5, 7, 9)(columns)
        if not self.has_line:
            if (first := min(starts)) <= 0:
                first = min(filter(None, starts), default=0)
            if first:
                self.start_us = min(self.start_us or first, first)
            if None in parents:
                self.roots += [row for row in rows if row.parent_id is None]
        if "error" in statuses:
            failed = [row.name for row in rows if row.status == "error" and row.type == "TOOL"]
            self.failed_tools = [*dict.fromkeys([*self.failed_tools, *failed])][:100]
        seen = tuple(dict.fromkeys(zip(kinds, names, models, strict=True)))
        facets, used = facets_of(seen)
        if not used.issubset(self.models):
            self.models = sorted(used.union(self.models))[:100]
        if len(self.found_by) + len(facets) <= MAX_FACETS:
            self.found_by |= facets
        else:
            for one in seen:
                if len(self.found_by) < MAX_FACETS:
                    self.found_by |= facets_of((one,))[0]

    def remove(self, row: Observation) -> None:
        """Stop counting an observation that was replaced."""
        self._count(tuple(zip(row, strict=True)), -1)

    def _count(self, columns: Sequence[tuple[Any, ...]], sign: int) -> None:
        """Count the observations with these *columns*, or stop counting them where *sign* is -1."""
        _, _, _, kinds, _, statuses, levels, _, _, _, given, made, tokens, costs, _ = columns
        self.observations += sign * len(kinds)
        if "error" in statuses:
            self.errors += sign * statuses.count("error")
        if "WARNING" in levels or "ERROR" in levels:
            for status, level in zip(statuses, levels, strict=True):
                if level == "WARNING" or (level == "ERROR" and status != "error"):
                    self.warnings += sign
        if known := [cost for cost in costs if cost is not None]:
            self.cost = max(0.0, (self.cost or 0.0) + sign * sum(known))
        if any(tokens) or any(given) or any(made):
            sums = self.sums
            for kind, of_input, of_output, of_all in zip(kinds, given, made, tokens, strict=True):
                if kind in _COUNTED:
                    sums[0] += sign * of_input
                    sums[1] += sign * of_output
                    sums[2] += sign * of_all

    def settle(self) -> None:
        """Set what the roots say, unless the trace's own line, which is written after them, says it."""
        for root in self.roots:
            self._add_root(root)
        self.roots.clear()

    def _add_root(self, row: Observation) -> None:
        self.name, self.status, self.duration_ms = row.name, row.status, row.duration_ms
        try:
            record = orjson.loads(row.line)
        except ValueError:  # a place in a file, see `following`
            return
        if isinstance(begun := record.get("trace"), dict):
            self.session_id = _text_or_none(begun.get("session_id")) or self.session_id
            self.user_id = _text_or_none(begun.get("user_id")) or self.user_id
        for name in ("input", "output"):
            if (value := record.get(name)) is not None:
                setattr(self, name, plain(kept_value(value)))
        if (error := record.get("error")) is not None:
            self.error = plain(error_words(error, WORDS))

    def facets(self) -> frozenset[str]:
        """Return the texts by which the trace is found."""
        found = {*self.found_by, _facet("name", self.name), _facet("status", self.status or "running")}
        found |= {_facet("tag", tag) for tag in self.tags} | {_facet("metadata", text) for text in self.metadata}
        if self.session_id is not None:
            found.add(_facet("session", self.session_id))
        if self.user_id is not None:
            found.add(_facet("user", self.user_id))
        if self.errors or self.status == "error":
            found.add(FAILED)
        return frozenset(found)

    def columns(self) -> tuple[Any, ...]:
        """Return the values of `COLUMNS`."""
        given, made, total = self.counts or self.sums
        is_counted = self.counts is not None or any(self.sums)
        inner = {"has_line": self.has_line, "counts": self.counts, "sums": self.sums, "metadata": self.metadata}
        return (
            self.trace_id,
            self.name,
            self.session_id,
            self.user_id,
            self.status,
            self.start_us,
            self.duration_ms,
            self.observations,
            self.errors,
            self.warnings,
            *((given, made, total) if is_counted else (None, None, None)),
            self.cost,
            self.input,
            self.output,
            self.error,
            *(orjson.dumps(getattr(self, name)).decode() for name in LISTS),
            orjson.dumps(sorted(self.facets())).decode(),
            orjson.dumps(inner).decode(),
        )


FAILED = "failed"
"""The facet of a trace in which something failed."""

_OF_OBSERVATIONS = ("type:", "observation:", "model:")


@lru_cache(maxsize=4096)
def facets_of(seen: tuple[tuple[str, str, str | None], ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the texts by which a trace is found with observations of these types, names and models; and the models."""
    found, models = set[str](), {model for _, _, model in seen if model}
    for type, name, _ in seen:
        found |= {_facet("type", type), _facet("observation", name)}
    return frozenset(found.union(_facet("model", model) for model in models)), frozenset(models)


@lru_cache(maxsize=8192)
def _facet(kind: str, text: str) -> str:
    return f"{kind}:{folded(text)}"


def folded(text: str) -> str:
    """Return *text* with ASCII letters in lower case: filters ignore their case."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _text_or_none(value: object) -> str | None:
    return plain(value) if isinstance(value, str) and value else None


def as_object(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a trace as the query API returns it."""
    lists = {name: orjson.loads(columns[name]) for name in LISTS}
    cost = columns["cost"]
    return {
        "trace_id": columns["trace_id"],
        "name": columns["name"],
        "status": columns["status"],
        "start_time": iso_of(columns["start_us"]),
        "duration_ms": columns["duration_ms"],
        "session_id": columns["session_id"],
        "user_id": columns["user_id"],
        "tags": lists["tags"],
        "models": lists["models"],
        "observations": columns["observations"],
        "errors": columns["errors"],
        "failed_tools": lists["failed_tools"],
        "warnings": columns["warnings"],
        "input_tokens": columns["input_tokens"],
        "output_tokens": columns["output_tokens"],
        "total_tokens": columns["tokens"],
        "cost": None if cost is None else round(cost, 10),
        "error": columns["error"],
        "input": words_of(columns["input"]),
        "output": words_of(columns["output"]),
    }


def object_of(columns: tuple[Any, ...]) -> dict[str, Any]:
    """Do as `as_object`, for the values of `SHOWN`."""
    return as_object(dict(zip(SHOWN, columns, strict=True)))


def session_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a session as the query API returns it; the last value of *row* is its position."""
    session_id, traces, first, last, failed, observations, tokens, cost, _ = row
    return {
        "session_id": session_id,
        "traces": traces,
        "first_start_time": iso_of(first),
        "last_start_time": iso_of(last),
        "traces_with_errors": failed,
        "observations": observations,
        "total_tokens": tokens,
        "cost": None if cost is None else round(cost, 10),
    }


def changed_facets(states: Iterable[TraceState]) -> tuple[list[tuple[str, int, int]], list[tuple[str, int, int]]]:
    """Return the facets to remove and those to add: text, start of the trace, number of the trace."""
    removed: list[tuple[str, int, int]] = []
    added: list[tuple[str, int, int]] = []
    for state in states:
        start, known = state.before
        facets, number = state.facets(), state.number or 0
        moved = start != state.start_us
        removed += [(facet, start, number) for facet in (known if moved else known - facets)]
        added += [(facet, state.start_us, number) for facet in (facets if moved else facets - known)]
    return removed, added
