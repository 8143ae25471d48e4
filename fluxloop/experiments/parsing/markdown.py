"""
A run as a Markdown document: front matter, input and output, conversation, tree, and each step in full.

Recorded text cannot change the structure of the document: values are in fences longer than any in them, and names are
escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from ...reading.json_text import encode, escaped
from ...reading.values import first_words, in_json
from ..run_data import Run
from ..shown import dollars, milliseconds

LONGEST_VALUE = 20_000
"""Characters of a value that are written; per_trace.jsonl has it in full."""

LONGEST_LINE = 100
"""Characters of a value in the tree."""

LONGEST_CACHED = 100
"""Characters of a text whose escaped form is cached, since names and statuses repeat."""

MOST_STEPS = 500
"""Steps that are written in full; the tree and per_trace.jsonl have all of them."""


def document(run: Run) -> str:
    """Return the document of *run*."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: Run) -> Iterator[str]:
    yield from _front_matter(run)
    yield "# Trace Analysis\n"
    yield from _summary(run)
    yield f"### Input\n\n{_fenced(run.data.get('input'))}\n"
    yield f"### Output\n\n{_fenced(run.output)}\n"
    if (expected := run.data.get("expected")) is not None:
        yield f"### Expected\n\n{_fenced(expected)}\n"
    if error := run.error:
        yield f"### Error\n\n{_fenced(error)}\n"
    if metadata := run.data.get("metadata"):
        yield f"### Metadata\n\n{_fenced(metadata)}\n"
    yield from _conversation(run)
    steps = run.tree
    if not steps:
        yield "## Timeline\n\n(no records of this run in the artifacts)"
        return
    tree = "\n".join(f"{'  ' * depth}{_on_one_line(record)}" for depth, record in steps)
    yield f"## Tree\n\n```text\n{tree}\n```\n"
    yield "## Timeline\n"
    for number, (depth, record) in enumerate(steps[:MOST_STEPS], start=1):
        yield _step(number, depth, record)
    if len(steps) > MOST_STEPS:
        yield f"({len(steps) - MOST_STEPS:,} more steps; per_trace.jsonl has them)"


def _front_matter(run: Run) -> Iterator[str]:
    row = run.data
    fields = {
        "trace_id": run.row.trace_id,
        "run": row.get("run"),
        "iteration": row.get("iteration"),
        "persona": run.persona,
        "input_id": row.get("input_id"),
        "duration_ms": run.duration_ms,
        "success": run.row.succeeded,
        "status": run.row.status,
        "termination_reason": row.get("termination_reason"),
        **run.tokens,
        "cost": run.cost,
    }
    yield "---"
    for name, value in fields.items():
        if value is not None or name == "persona":
            yield f"{name}: {encode(value)}"  # JSON scalars are YAML
    yield "---\n"


def _summary(run: Run) -> Iterator[str]:
    yield "## Summary\n"
    yield f"- **Status**: {run.row.status}"
    if run.duration_ms is not None:
        yield f"- **Duration**: {milliseconds(run.duration_ms)}"
    counts = f"{len(run.records)}, {run.model_calls} calls of models, {len(run.tools)} of tools"
    yield f"- **Observations**: {counts}"
    if run.tokens:
        yield f"- **Tokens**: {', '.join(f'{count:,} {name[:-7]}' for name, count in run.tokens.items())}"
    if run.cost is not None:
        yield f"- **Cost**: {dollars(run.cost)}"
    if failed := [record for record in run.records if record.get("error")]:
        yield "- **Errors**:"
        for record in failed[:20]:
            yield f"  - {_name(record)}: {_inline(record['error'])}"
    yield ""


def _conversation(run: Run) -> Iterator[str]:
    turns = run.data.get("conversation")
    if not isinstance(turns, list) or not turns:
        return
    yield "## Conversation\n"
    for turn in turns:
        if not isinstance(turn, dict):
            continue
        persona = turn["metadata"].get("persona") if isinstance(turn.get("metadata"), dict) else None
        notes = [f"source={_inline(turn.get('source'))}"] if turn.get("source") else []
        notes += [f"persona={_inline(persona)}"] if persona else []
        role = str(turn.get("role", "unknown")).capitalize()
        note = f" _({' ; '.join(notes)})_" if notes else ""
        yield f"- **{_inline(role)}**: {_inline(turn.get('content'))}{note}"
    yield ""


def _step(number: int, depth: int, record: dict[str, Any]) -> str:
    get = record.get
    text = f"### Step {number}: [{get('type', '').lower()}] {_name(record)}\n"
    for title, field in _FACTS:
        value = get(field)
        if value is not None:
            text += f"\n- {title}: {_inline(value)}"
    if (duration := get("duration_ms")) is not None:
        text += f"\n- Duration: {milliseconds(duration)}"
    if depth:
        text += f"\n- Depth: {depth}"
    if usage := get("usage"):
        counts = [f"{count} {name}" for name, count in usage.items() if count is not None]
        text += f"\n- Tokens: {', '.join(counts)}"
    text += f"\n\nInput\n\n{_fenced(get('input'))}\n\nOutput\n\n{_fenced(get('output'))}\n"
    for title, field in (("Error", "error"), ("Metadata", "metadata")):
        if value := get(field):
            text += f"\n{title}\n\n{_fenced(value)}\n"
    return text


_FACTS = (("Start", "start_time"), ("End", "end_time"), ("Status", "status"), ("Level", "level"), ("Model", "model"))


def _on_one_line(record: dict[str, Any]) -> str:
    get = record.get
    line = f"{get('type')} {_escaped_name(str(get('name', '')))}"
    if (duration := get("duration_ms")) is not None:
        line += f" {milliseconds(duration)}"
    status = get("status")
    if status != "success":
        line += f" [{status or 'running'}]"
    error = get("error")
    return f"{line} {first_words(error, LONGEST_LINE)}" if error else line


def _escaped_name(name: str) -> str:
    return _escaped(name) if len(name) < LONGEST_CACHED else escaped(name)


_escaped = lru_cache(maxsize=1_000)(escaped)


def _fenced(value: Any) -> str:
    """Return *value* in a fence that nothing in it can close."""
    if value is None:
        return "(no data)"
    kind, text = ("text", value) if isinstance(value, str) else ("json", _indented(value))
    if len(text) > LONGEST_VALUE:
        text = f"{text[:LONGEST_VALUE]}\n... ({len(text):,} characters)"
    fence = "```"
    if fence in text:
        fence = "`" * (1 + max(len(run) for run in _TICKS.findall(text)))
    return f"{fence}{kind}\n{text}\n{fence}"


def _indented(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
    except TypeError:
        return in_json(value)


_TICKS = re.compile("`+")
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|&])")
_PLAIN = re.compile(r"[A-Za-z0-9.:/()$%+-]*")
"""A word that means the same in Markdown as it is: most names, and all times."""


def _name(record: dict[str, Any]) -> str:
    return _inline(record.get("name") or "(no name)")


def _inline(value: Any) -> str:
    """Return *value* on one line, with characters that Markdown or HTML would interpret escaped."""
    text = value if type(value) is str else "" if value is None else in_json(value)
    if len(text) >= LONGEST_CACHED:
        return _on_line.__wrapped__(text)
    return text if _PLAIN.fullmatch(text) else _on_line(text)


@lru_cache(maxsize=1_000)
def _on_line(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", escaped(" ".join(text.split())[:LONGEST_VALUE]))
