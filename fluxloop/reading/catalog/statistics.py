"""
Add up the traces of an index by agent, tool, model and day: counts, errors, latencies, tokens and cost.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from math import ceil
from typing import Any, NamedTuple

from ...enums import Status
from ...llm.prices import Cost, Counts, Pricing
from ..filters import TraceFilter
from ..moments import day_in
from . import Catalog
from .costs import cost_of_call
from .facts import ERROR, Fact, Label, counted_calls, facts_in

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SECTIONS = ("agent", "tool", "model", "day", "user", "session")
"""What traces can be added up by. An agent is an AGENT observation, with the model calls below it."""

DEFAULT_SECTIONS = SECTIONS[:4]


@dataclass(slots=True)
class Group:
    """The sums over some observations, or over some traces."""

    count: int = 0
    errors: int = 0
    durations: array[float] = field(default_factory=lambda: array("d"))
    """In milliseconds, of those that recorded one."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Cost | None = None
    """None where there are no prices."""

    def add(self, duration_ms: float | None, *, is_error: bool) -> None:
        """Count an observation or a trace."""
        self.count += 1
        self.errors += is_error
        if duration_ms is not None:
            self.durations.append(duration_ms)

    def add_call(self, counts: Counts | None, cost: Cost | None) -> None:
        """Add the tokens and the cost of a model call."""
        if counts is not None:
            self.input_tokens += counts[0] or 0
            self.output_tokens += counts[1] or 0
        if cost is not None:
            self.cost = cost if self.cost is None else self.cost + cost

    def percentiles(self, *shares: float) -> list[float | None]:
        """Return the durations below which these shares of all are, by nearest rank; None without durations."""
        ordered = sorted(self.durations)
        if not ordered:
            return [None] * len(shares)
        return [ordered[max(0, ceil(len(ordered) * share) - 1)] for share in shares]


@dataclass(slots=True)
class Statistics:
    """The sums over all traces, and over the groups of each section, by the section and the name of the group."""

    total: Group
    sections: dict[str, dict[str, Group]]


class _Trace(NamedTuple):
    name: str
    user: str
    session: str
    day: str
    is_error: bool
    duration_ms: float | None
    start: datetime
    facts: dict[str, Fact]


def statistics(
    catalog: Catalog,
    wanted: TraceFilter,
    *,
    sections: Sequence[str] = DEFAULT_SECTIONS,
    pricing: Pricing | None = None,
    zone: tzinfo | None = None,
) -> Statistics:
    """
    Return the sums over the traces of *catalog* that *wanted* accepts.

    Args:
        catalog: The traces.
        wanted: Which of them.
        sections: Of `SECTIONS`.
        pricing: The prices; None leaves the cost out.
        zone: The time zone of days; None for local time.
    """
    found = Statistics(Group(), {section: {} for section in sections})
    label_of = catalog.store.labels.__getitem__
    for trace in _traces(catalog, wanted, zone):
        groups = [found.total]
        groups += [
            _group(found, section, getattr(trace, section))
            for section in ("day", "user", "session")
            if section in sections
        ]
        for group in groups:
            group.add(trace.duration_ms, is_error=trace.is_error)
        for _, number, status, _, duration, _ in trace.facts.values():
            label = label_of(number)
            if label.type == "TOOL" and "tool" in sections:
                _group(found, "tool", label.name).add(duration, is_error=status == ERROR)
            elif label.type == "AGENT" and "agent" in sections:
                _group(found, "agent", label.name).add(duration, is_error=status == ERROR)
        for key, counts in counted_calls(trace.facts, label_of):
            fact = trace.facts[key]
            label = label_of(fact[1])
            cost = None if pricing is None else cost_of_call(label, counts, pricing.prices, trace.start)
            of_call = [*groups]
            if "agent" in sections:
                of_call.append(_group(found, "agent", _agent_of(fact, trace, label_of)))
            if "model" in sections:
                of_call.append(group := _group(found, "model", label.model or "(no model)"))
                group.add(fact[4], is_error=fact[2] == ERROR)
            for group in of_call:
                group.add_call(counts, cost)
    return found


def _group(found: Statistics, section: str, name: str) -> Group:
    groups = found.sections[section]
    group = groups.get(name)
    if group is None:
        group = groups[name] = Group()
    return group


def _agent_of(fact: Fact, trace: _Trace, label_of: Callable[[int], Label]) -> str:
    """Return the name of the innermost agent around a model call; the name of the trace if there is none."""
    parent = fact[0]
    for _ in range(len(trace.facts)):
        if parent not in trace.facts:
            break
        parent, number, *_ = trace.facts[parent]
        if label_of(number).type == "AGENT":
            return label_of(number).name
    return trace.name or "(no name)"


def _traces(catalog: Catalog, wanted: TraceFilter, zone: tzinfo | None) -> Iterator[_Trace]:
    columns = "name, user_id, session_id, start_us, status, duration_ms, facts"
    for name, user, session, start_us, status, duration, data in catalog.select(columns, wanted):
        start = _EPOCH + timedelta(microseconds=start_us or 0)
        day = str(day_in(start, zone)) if start_us is not None else "(no time)"
        is_error = status == Status.ERROR
        yield _Trace(
            name, user or "(no user)", session or "(no session)", day, is_error, duration, start, facts_in(data)
        )


def as_json(found: Statistics) -> dict[str, Any]:
    """Return statistics as one JSON object."""
    groups = {
        name: [_object(group, name=key) for key, group in section.items()] for name, section in found.sections.items()
    }
    return {"total": _object(found.total), **{f"by_{name}": section for name, section in groups.items()}}


def _object(group: Group, **first: str) -> dict[str, Any]:
    p50, p95, p99 = group.percentiles(0.5, 0.95, 0.99)
    return {
        **first,
        "count": group.count,
        "errors": group.errors,
        "error_rate": group.errors / group.count if group.count else 0.0,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "input_tokens": group.input_tokens,
        "output_tokens": group.output_tokens,
        "cost": group.cost.amount if group.cost else None,
        "unpriced_models": [*group.cost.unknown] if group.cost else [],
    }
