"""
A trace as HTML, for notebooks: the tree, with a line for each observation that opens to show its values.

The HTML is self-contained, has no script, and every recorded text in it is escaped.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from .enums import Status

MAX_OBSERVATIONS = 500
"""Observations that are drawn; a notebook slows down with many thousands of elements."""
MAX_TEXT = 4_000
"""Characters of a value that are shown."""

_COLORS = {Status.SUCCESS: "#2e7d32", Status.ERROR: "#c62828", Status.INTERRUPTED: "#1565c0"}
_OTHER_COLOR = "#ef6c00"


def html_of(trace: Any) -> str:
    """
    Return *trace*, a `fluxloop.Trace`, as HTML.

    Of a large one, it has the first observations and the number of those that are left out.
    """
    lines = [_heading(trace)]
    total = len(trace.observations)
    for number, (depth, observation) in enumerate(trace.walk()):
        if number == MAX_OBSERVATIONS:
            lines.append(f"<div>{total - number:,} more observations</div>")
            break
        lines.append(_line(depth, observation))
    return f'<div style="font-family: monospace; font-size: 13px; line-height: 1.5">{"".join(lines)}</div>'


def _heading(trace: Any) -> str:
    started = trace.start_time.isoformat(sep=" ", timespec="seconds") if trace.start_time else ""
    return (
        f"<div><b>{escape(trace.name)}</b> {_status(trace.status)} {_duration(trace.duration_ms)} "
        f"{escape(started)} {escape(trace.trace_id)}</div>"
    )


def _line(depth: int, observation: Any) -> str:
    values = "".join(
        f"<div><i>{name}</i><pre style='white-space: pre-wrap; margin: 0 0 0 2em'>{_text(value)}</pre></div>"
        for name in ("input", "output", "error", "metadata")
        if (value := getattr(observation, name)) not in (None, {})
    )
    summary = (
        f"{observation.type.name} <b>{escape(observation.name)}</b> {_status(observation.status)} "
        f"{_duration(observation.duration_ms)}"
    )
    indent = f"margin-left: {1.5 * min(depth, 40)}em"
    return f'<details style="{indent}"><summary>{summary}</summary>{values}</details>'


def _status(status: Status | None) -> str:
    color = _COLORS.get(status, _OTHER_COLOR) if status else _OTHER_COLOR
    return f'<span style="color: {color}">{status.value if status else "running"}</span>'


def _duration(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:,.1f} ms"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, default=str)
    return escape(text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text):,} characters)")
