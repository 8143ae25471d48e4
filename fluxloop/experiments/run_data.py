"""
A run of an experiment: the row of the folder, and the records of its trace.

Records stay plain dicts in the record format: an experiment may have a million of them, and building models takes ten
times as long as decoding. `Run.trace` builds the models for callers that need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ..models import Trace
from ..models.tree import positions_by_parent
from ..reading.assembly import Assembly
from ..storage.decoding import Json, decode
from .folder import Row

if TYPE_CHECKING:
    computed = cached_property
else:

    class computed:  # noqa: N801
        """A property that is computed once. `cached_property` takes a lock up to Python 3.11, as long as the rest."""

        def __init__(self, function):
            self.function, self.name = function, function.__name__

        def __get__(self, instance, owner=None):
            value = instance.__dict__[self.name] = self.function(instance)
            return value


class ToolCall(NamedTuple):
    """A call of a tool in a run."""

    name: str
    arguments: Any
    """By name, as a dict, where the tool recorded them so."""
    output: Any
    error: str | None


class Run:
    """
    A run of an experiment.

    Args:
        row: What the folder says of it.
        records: Its observations in the record format, in start order.
        trace_record: The record of the trace itself.
    """

    def __init__(self, row: Row, records: list[Json] | None = None, trace_record: Json | None = None) -> None:
        self.row = row
        self.records: list[Json] = [] if records is None else records
        self.trace_record = trace_record
        self.data: Mapping[str, Any] = row.data
        """The members of the row."""
        get = row.data.get
        self.trace_id = row.trace_id
        self.status = row.status
        self.succeeded = self.status == "success"
        self.output = get("output")
        """What the target returned."""
        persona = get("persona")
        self.persona = None if persona is None else str(persona)
        """The name of the persona."""
        self.duration_ms = _number(get("duration_ms"))
        """How long the run took, in milliseconds."""
        error = get("error")
        self.error = None if error is None else _error_text(error)
        """The error as text, ``Type: message``."""

    @property
    def input_key(self) -> str:
        """The identity of the input: its id, or the input itself where it has none. Repeats of an input share it."""
        own = self.data.get("input_id")
        return str(self.data.get("input") if own is None else own)

    @computed
    def tool_records(self) -> list[Json]:
        """The observations of tools, in start order."""
        return [record for record in self.records if record["type"] == "TOOL"]

    @computed
    def tool_names(self) -> list[str]:
        """The name of each call of a tool, in start order."""
        return [str(record.get("name", "")) for record in self.tool_records]

    @computed
    def tools(self) -> list[ToolCall]:
        """The calls of tools, in start order."""
        return [
            ToolCall(name, _arguments(record.get("input")), record.get("output"), _error(record))
            for name, record in zip(self.tool_names, self.tool_records, strict=True)
        ]

    @computed
    def model_calls(self) -> int:
        """The number of calls of models."""
        return [record["type"] for record in self.records].count("GENERATION")

    @computed
    def tokens(self) -> dict[str, int]:
        """``input_tokens``, ``output_tokens`` and ``total_tokens``, as far as they are known."""
        usage = self.data.get("token_usage")
        if isinstance(usage, dict):
            counts = {ours: _number(usage.get(theirs, usage.get(ours))) for theirs, ours in _TOKENS}
        elif any(record.get("usage") for record in self.records) and self.trace and self.trace.usage:
            counts = {ours: getattr(self.trace.usage, ours) for _, ours in _TOKENS}
        else:
            return {}
        known = {name: int(count) for name, count in counts.items() if count is not None}
        if known and "total_tokens" not in known:
            known["total_tokens"] = known.get("input_tokens", 0) + known.get("output_tokens", 0)
        return known

    @computed
    def cost(self) -> float | None:
        """The price of the model calls in US dollars; None where it is not known."""
        recorded = _number(self.data.get("cost"))
        if recorded is not None or not any(record.get("usage") for record in self.records):
            return recorded
        cost = self.trace.cost if self.trace else None
        return cost.amount if cost else None

    @computed
    def trace(self) -> Trace | None:
        """The trace with its observations as models; None if nothing was recorded."""
        if not self.records and self.trace_record is None:
            return None
        assembly = Assembly(self.row.trace_id)
        for record in (*self.records, *([self.trace_record] if self.trace_record else [])):
            assembly.add(record)
        return assembly.trace()

    @computed
    def tree(self) -> list[tuple[int, Json]]:
        """Each record with its depth, parents before children; the depth of a root is 0."""
        return _nested(self.records) or self._tree()

    def _tree(self) -> list[tuple[int, Json]]:
        tree: list[tuple[int, Json]] = []
        by_parent = positions_by_parent([(record["id"], record.get("parent_id")) for record in self.records])
        pending = [(0, position) for position in reversed(by_parent.pop(None, ()))]
        while pending:
            depth, position = pending.pop()
            record = self.records[position]
            tree.append((depth, record))
            if children := by_parent.pop(record["id"], None):
                pending += [(depth + 1, child) for child in reversed(children)]
        return tree


_TOKENS = (
    ("prompt_tokens", "input_tokens"),
    ("completion_tokens", "output_tokens"),
    ("total_tokens", "total_tokens"),
)
"""The names in the row, and those of `fluxloop.Usage`."""


def _nested(records: list[Json]) -> list[tuple[int, Json]] | None:
    """Return the tree of *records* if they are in its order already, as those of a run without parallel steps are."""
    tree: list[tuple[int, Json]] = []
    path: list[str | None] = [None]
    for record in records:
        parent = record.get("parent_id")
        while path[-1] != parent:
            path.pop()
            if not path:
                return None
        tree.append((len(path) - 1, record))
        path.append(record["id"])
    return tree


def _arguments(value: Any) -> Any:
    """Return the arguments of a tool: JSON text is decoded, everything else stays as it was recorded."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return decode(value.encode())
        except ValueError:
            return value
    return value


def _error_text(error: Any) -> str:
    if isinstance(error, Mapping):
        parts = [str(error[name]) for name in ("type", "message") if error.get(name)]
        return ": ".join(parts) or "failed"
    return str(error)


def _error(record: Json) -> str | None:
    if record.get("error") is not None:
        return str(record["error"])
    return None if record.get("status") == "success" else str(record.get("status") or "not ended")


def _number(value: Any) -> float | None:
    kind = type(value)
    return value if (kind is float or kind is int) and value == value else None
