"""
The lines above a tree: name, status, times, tokens, cost and ids of the trace, and what to look at in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from ..enums import Status
from ..models import Score, Trace
from ..reading.json_text import escaped
from ..reading.outline import FAILURES, Outline
from . import formatting
from .folding import Only, Row, notices
from .formatting import joined, shortened
from .summaries import name_of
from .value_lines import Look

LONGEST_NOTE = 60
"""Characters of a text in the metadata that are shown above the tree."""


def header(trace: Trace, outline: Outline, rows: list[Row], look: Look) -> Iterator[Text]:
    """Yield the lines of the header; *rows* are those of the tree."""
    title = Text().append(name_of(trace), style="bold")
    title.append(f"  {formatting.status_word(trace.status, look.signs)}", style=formatting.STATUS_STYLES[trace.status])
    title.append(f"  {formatting.duration(formatting.elapsed(trace, look.now))}")
    tokens = formatting.tokens_in_words(trace.usage)
    cost = formatting.cost(trace.cost) if tokens else ""
    if fits := title.cell_len + 2 + len(tokens) <= look.width:
        title.append(f"  {tokens}", style="cyan")
    title.rstrip()
    yield shortened(title, look.width, look.signs)
    facts = [
        formatting.time_text(trace.start_time, utc=look.utc),
        "" if fits else tokens,
        f"cost {cost}" if cost else "",
        f"trace {escaped(trace.trace_id)}",
        f"session {escaped(trace.session_id)}" if trace.session_id else "",
        f"user {escaped(trace.user_id)}" if trace.user_id else "",
        f"tags {', '.join(map(escaped, trace.tags))}" if trace.tags else "",
        _origin(trace),
    ]
    dot = f" {look.signs.dot} "
    for line in joined(filter(None, facts), dot, look.width):
        yield shortened(Text(line, style="dim"), look.width, look.signs)
    for line in joined(notices(outline, trace.status in FAILURES), dot, look.width):
        yield shortened(Text(line, style="yellow"), look.width, look.signs)
    for line in joined(map(_score, trace.scores), dot, look.width):
        yield shortened(Text(line, style="magenta"), look.width, look.signs)
    if trace.metadata.keys() - {"forked_from"} or (trace.metadata and look.full):
        shown = {key: item for key, item in trace.metadata.items() if key != "forked_from" or look.full}
        metadata = shown if look.full else {key: _short(item) for key, item in shown.items()}
        yield from look.value((), "metadata ", metadata, "dim")
    if trace.error and not _shows(trace.error, outline, rows):
        yield from look.wrapped((), trace.error, formatting.STATUS_STYLES[trace.status])


def selection_line(only: Only, matched: int, total: int, look: Look) -> Text:
    """Return the line that says what ``--only`` left out."""
    text = f"{matched:,} of {formatting.counted(total, 'observation')}: {only}, and what they are in"
    return shortened(Text(text, style="dim italic"), look.width, look.signs)


def folded_line(folded: int, only: Only | None, look: Look) -> Text:
    """Return the line below a tree that does not show all of the trace."""
    more = "" if only else ", --only errors those that failed"
    text = f"{formatting.counted(folded, 'observation')} folded; --full shows all{more}"
    return shortened(Text(text, style="dim italic"), look.width, look.signs)


def _score(score: Score) -> str:
    value = str(score.value).lower() if isinstance(score.value, bool) else str(score.value)
    comment = f" ({escaped(_short_text(score.comment))})" if score.comment else ""
    return f"{escaped(score.name)} {escaped(_short_text(value))}{comment}"


def _short_text(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_NOTE else f"{text[: LONGEST_NOTE - 2]}.."


def _origin(trace: Trace) -> str:
    """Return what *trace* was forked from; empty if it was not forked."""
    origin = trace.metadata.get("forked_from")
    if not isinstance(origin, dict):
        return ""
    where = f"{origin.get('trace_id')} at {origin.get('step')}"
    return f"forked from {escaped(where)}, changed: {escaped(str(origin.get('changed')))}"


def _short(value: Any) -> Any:
    """Return a note in place of a text that is a document of its own, such as the diagram of a graph."""
    if not isinstance(value, str) or (len(value) <= LONGEST_NOTE and "\n" not in value):
        return value
    lines = value.count("\n") + 1
    return f"({formatting.counted(lines, 'line')}, --full shows them)" if lines > 1 else value


def _shows(error: str, outline: Outline, rows: list[Row]) -> bool:
    """Whether one of *rows* shows the error of the trace."""
    failed = (
        row.positions[0]
        for row in rows
        if not row.is_shared and outline.statuses[row.positions[0]] not in (None, Status.SUCCESS)
    )
    return any(outline.observation(position).error == error for position in failed)
