"""
``fluxloop dataset from-traces``: recorded traces as inputs of experiments. Yesterday's failures are today's test set.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..errors import FilterError, WriteError
from ..models import Trace
from ..reading.filters import TraceFilter
from ..reading.json_text import encode
from ..reading.reader import read_traces

ARGUMENT_NAMES = ("input", "input_text", "message", "query", "text", "content", "user_message", "prompt", "question")
"""The arguments of an agent that its input is in, in this order."""

OTHER_FORMS = (".json", ".csv", ".yaml", ".yml")
"""Endings with which an experiment would read a file of inputs in another form."""

SEED = 20260117
"""The seed of samples: the same traces give the same sample."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The result of `from_traces`."""

    inputs: list[dict[str, Any]]
    """Entries of an inputs file: ``input``, ``id``, ``metadata``, and ``expected`` on request."""
    traces: int
    """Traces that matched."""
    duplicates: int
    without_input: int
    """Traces without a recorded input."""

    def write(self, path: str | os.PathLike[str]) -> None:
        """
        Write the entries to *path*, one JSON object per line.

        Raises:
            WriteError: If the file cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() in OTHER_FORMS:
            raise WriteError(f"{target}: inputs are written as JSON lines. Next step: give it a name with .jsonl")
        part = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_text("".join(f"{line}\n" for line in self.lines()), encoding="utf-8")
            part.replace(target)
        except OSError as error:
            raise WriteError(f"{target} cannot be written: {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                part.unlink()

    def lines(self) -> Iterator[str]:
        """Yield the entries as JSON."""
        return map(encode, self.inputs)


def from_traces(
    path: str | os.PathLike[str] | None = None,
    *,
    expected: bool = False,
    field: str | None = None,
    sample: int | None = None,
    seed: int = SEED,
    where: TraceFilter | Callable[[Trace], object] | None = None,
    **filters: Any,
) -> Dataset:
    """
    Return the inputs of recorded traces as entries of an inputs file, without duplicates.

    Args:
        path: As for `fluxloop.read_traces`: a folder of records, an experiment, or a file.
        expected: Whether the answer of each trace becomes the ``expected`` of its input. Of traces with the same input,
            the last one that succeeded counts.
        field: The argument of the agent that is the input; by default the first of `ARGUMENT_NAMES`, or the only one.
        sample: So many inputs, chosen at random, in the order of their traces.
        seed: The seed of the sample.
        where: As for `fluxloop.read_traces`.
        filters: As for `fluxloop.read_traces`, such as ``status="error", since="yesterday"``.

    Raises:
        FilterError: If a filter is unknown or not accepted.
        ReadError: If *path* cannot be read.
    """
    if sample is not None and sample < 1:
        raise FilterError(f"sample must be a whole number from 1 up, got {sample}")
    traces = read_traces(Path(path) if path is not None else None, where=where, **filters)
    dataset = _deduplicated(traces, expected, field)
    if sample is None or sample >= len(dataset.inputs):
        return dataset
    places = sorted(random.Random(seed).sample(range(len(dataset.inputs)), sample))
    chosen = [dataset.inputs[place] for place in places]
    return Dataset(chosen, dataset.traces, dataset.duplicates, dataset.without_input)


def _deduplicated(traces: Iterable[Trace], expected: bool, field: str | None) -> Dataset:
    entries: dict[bytes, dict[str, Any]] = {}
    count = without = 0
    for trace in traces:
        count += 1
        value = input_of(trace, field)
        if value in (None, "", {}, []):
            without += 1
            continue
        key = orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)
        entry = entries.setdefault(key, _entry(trace, value))
        if expected and trace.status == "success" and trace.output is not None:
            entry["expected"] = trace.output
    return Dataset([*entries.values()], count, count - without - len(entries), without)


def _entry(trace: Trace, value: Any) -> dict[str, Any]:
    tools = [observation.name for observation in trace.observations if observation.type.name == "TOOL"]
    metadata: dict[str, Any] = {"source_trace": trace.trace_id, "source_status": str(trace.status or "running")}
    if trace.error:
        metadata["source_error"] = trace.error
    if tools:
        metadata["source_tools"] = tools
    return {"id": trace.trace_id, "input": value, "metadata": metadata}


def input_of(trace: Trace, field: str | None = None) -> Any:
    """
    Return the input of *trace*: the argument *field* of its agent, or the one that is most likely the input.

    The arguments of a call are recorded by name. A single argument is the input, whatever its name.
    """
    value = trace.input
    if not isinstance(value, dict):
        return value
    if field is not None:
        return value.get(field)
    for name in ARGUMENT_NAMES:
        if name in value:
            return value[name]
    if isinstance(messages := value.get("messages"), list):
        return _last_user_text(messages) or value
    return next(iter(value.values())) if len(value) == 1 else value


def _last_user_text(messages: list[Any]) -> str | None:
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role", message.get("type")) in ("user", "human"):
            content = message.get("content")
            return content if isinstance(content, str) else None
    return None
