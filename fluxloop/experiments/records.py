"""
The records of an experiment: a client that writes to the experiment's folder, and what each run adds to its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ..client import FluxLoopClient, default
from ..errors import WriteError
from ..llm.prices import Cost, context_of
from ..models import Usage
from ..storage import FileStorage
from ..storage.contract import Record
from ..storage.journal import Journal
from .line_file import Lines, RecordLines

FINAL_RESPONSE = "agent_final_response"
"""The name of an observation whose output is the output of the run."""

_COUNTS = tuple(Usage.model_fields)


@dataclass(slots=True)
class RunFacts:
    """What the records of one run say about it."""

    observations: int = 0
    actions: list[tuple[int, str]] = field(default_factory=list)
    """The agents and tools of the run with the order of their start, as ``agent:Name`` and ``tool:Name``."""
    final_response: Any = None
    agent_output: Any = None
    """The output of the outermost agent that ended last."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """The observations with token counts, and all that may contain them."""
    parents: dict[str, str | None] = field(default_factory=dict)
    has_usage: bool = False


KINDS = ("observation", "trace")
"""The kinds of records, each with a file of its own."""


class RunStorage:
    """
    Stores records, and notes what the rows of open runs need.

    Args:
        files: Where the lines of each of `KINDS` go.
        journal: Keeps the observations that are open when the process dies. A process that dies with the whole
            experiment needs none, since its open runs are executed again.
    """

    def __init__(self, files: Mapping[str, Lines], journal: Journal | None = None) -> None:
        self.journal, self._files = journal, files
        self._open: dict[bytes, RunFacts] = {}
        self._is_closed = False

    @classmethod
    def in_folder(cls, folder: Path, *, has_journal: bool = False) -> RunStorage:
        """Return a storage of files in *folder*, which is ``artifacts`` of the experiment."""
        files = FileStorage(folder, dated=False)  # the names of the files, and the journal
        is_compact = default.configuration.settings().compact_histories
        lines = {kind: RecordLines(files.path(kind, ""), is_compact=is_compact) for kind in KINDS}
        return cls(lines, files.journal if has_journal else None)

    def append(self, lines: Mapping[str, Sequence[bytes]]) -> None:
        """Store the lines that another process recorded, by kind; raises WriteError."""
        for kind, found in lines.items():
            for line in found:
                self._files[kind].write(line)

    def write(self, records: Sequence[Record]) -> None:
        """Store *records*; raises WriteError, also for those of runs that outlive their experiment."""
        if self._is_closed:
            raise WriteError("the experiment has ended: records of a run that outlives it are not stored")
        for kind, _, line in records:
            self._files[kind].write(line)
            if kind == "observation":
                start = line.find(b'"trace_id":"') + 12
                facts = self._open.get(line[start : line.find(b'"', start)])
                if facts is not None:
                    _note(facts, line)

    def close(self) -> None:
        """Close the files."""
        self._is_closed = True
        for file in self._files.values():
            file.close()
        if self.journal is not None:
            self.journal.close()

    def open_run(self, trace_id: str) -> RunFacts:
        """Start to note what the records of the trace say."""
        facts = self._open[trace_id.encode()] = RunFacts()
        return facts

    def close_run(self, trace_id: str) -> None:
        """Stop noting: later records of the trace are only stored."""
        self._open.pop(trace_id.encode(), None)


_PLAIN = frozenset({b"SPAN", b"EVENT", b"CHAIN"})
"""The types of observations that only count, unless they have usage or the name of a final response."""

_FINAL_NAME = FINAL_RESPONSE.encode()


def _note(facts: RunFacts, line: bytes) -> None:
    facts.observations += 1
    has_usage = b',"usage":{' in line
    start = line.find(b'"type":"') + 8
    if not has_usage and line[start : line.find(b'"', start)] in _PLAIN and _FINAL_NAME not in line:
        return
    record = orjson.loads(line)
    kind, name, output = record.get("type"), record.get("name"), record.get("output")
    if name == FINAL_RESPONSE and output is not None:
        facts.final_response = output
    if kind in ("AGENT", "TOOL"):
        facts.actions.append((record.get("seq", 0), f"{kind.lower()}:{name}"))
    if kind == "AGENT" and output is not None:
        facts.agent_output = output
    if has_usage or kind == "GENERATION":
        facts.has_usage = facts.has_usage or has_usage
        fields = ("id", "parent_id", "type", "name", "status", "model", "provider", "usage")
        call = {key: record.get(key) for key in fields}
        call["context"] = context_of(record.get("metadata"), record.get("model_parameters"), output)
        facts.calls.append(call)
    if record.get("id"):
        facts.parents[record["id"]] = record.get("parent_id")


def actions_of(facts: RunFacts) -> list[str]:
    """Return the agents and tools in the order of their start."""
    return [name for _, name in sorted(facts.actions)] if facts.actions else []


def cost_of(facts: RunFacts) -> Cost | None:
    """Return the price of the run's model calls, as `fluxloop list` computes it; None without usage or prices."""
    if not facts.has_usage:
        return None
    from ..reading.catalog.costs import cost_of_facts
    from ..reading.catalog.facts import CODES, Fact, Label
    from ..reading.pricing import project_pricing

    pricing = project_pricing()
    if pricing is None:
        return None
    labels: list[Label] = []
    found: dict[str, Fact] = {}
    for call in facts.calls:
        usage = call["usage"]
        counts: Any = tuple(usage.get(name) for name in _COUNTS) if usage else None
        found[call["id"]] = (call["parent_id"], len(labels), CODES.get(str(call["status"]), -1), False, None, counts)
        labels.append(Label(call["type"], call["name"], call["model"], call["provider"], call["context"]))
    for key, parent in facts.parents.items():
        if key not in found:
            found[key] = (parent, len(labels), CODES["success"], False, None, None)
            labels.append(Label("SPAN", "", None, None, ""))
    return cost_of_facts(found, labels.__getitem__, pricing.prices, datetime.now(UTC))


class UncountedMarks:
    """Discards the counts of masked secrets and truncations in rows: the records of the run have them too."""

    redacted = 0
    truncated = 0


class ExperimentClient(FluxLoopClient):
    """
    Records the runs of an experiment into its folder.

    It has the settings of the program, among them those for redaction. All runs are recorded, whatever the program's
    ``enabled`` and ``sample_rate`` are, and their arguments are not appended to a recording.

    Args:
        storage: Where the records go.
    """

    def __init__(self, storage: RunStorage) -> None:
        super().__init__()
        self.storage = storage
        settings = replace(
            default.configuration.settings(),
            storage=self.storage,
            enabled=True,
            sample_rate=1.0,
            session_id=None,
            record_args=False,
        )
        self._use(settings)

    def plain(self, value: Any) -> Any:
        """Return *value* as JSON data, with secrets masked."""
        return orjson.loads(self.recorder.encode(value, UncountedMarks()))

    def encoded(self, value: Any) -> bytes:
        """Return *value* as JSON, with secrets masked."""
        return self.recorder.encode(value, UncountedMarks())
