"""
Draw a trace as a tree for a terminal: one row an observation, and below it what went in and came out.

`render` is a pure function of the trace and the width, so one picture serves the terminal, a pipe, a
live display and a test. Inputs and outputs are shortened to the width; errors never are.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.text import Text

from ..enums import ObservationType, Status
from ..models import ObservationData, Trace
from . import formatting
from .oneline import NARROWEST, WIDE_ENOUGH, cut, name_of
from .values import brief, plain, whole

TYPE_WIDTH = 12
"""Columns of ``GENERATION``, the longest type, and two blanks."""


def render(
    trace: Trace,
    width: int = 100,
    full: bool = False,
    *,
    signs: formatting.Signs = formatting.UNICODE,
    now: datetime | None = None,
) -> Text:
    """
    Return *trace* as a tree, below a header of two lines or more.

    Args:
        trace: Any trace, finished or running.
        width: Columns; no line is wider, unless *width* is under `NARROWEST`.
        full: Do not shorten inputs and outputs, and add metadata and tracebacks.
        signs: `formatting.UNICODE`, or `formatting.ASCII` where that cannot be shown.
        now: The end, so far, of what still runs.
    """
    drawing = _Drawing(trace, max(width, NARROWEST), full, signs, now)
    return Text("\n").join([*drawing.header(), *drawing.body()])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an observation stands in the tree, as the lines to draw before it."""

    own: str
    """Before its row."""
    below: str
    """Before the lines that belong to it."""


@dataclass(frozen=True, slots=True)
class _Drawing:
    trace: Trace
    width: int
    full: bool
    signs: formatting.Signs
    now: datetime | None

    def header(self) -> Iterator[Text]:
        trace = self.trace
        title = Text().append(name_of(trace), style="bold")
        title.append(
            f"  {formatting.status_word(trace.status, self.signs)}", style=formatting.STATUS_STYLES[trace.status]
        )
        title.append(f"  {formatting.duration(formatting.elapsed(trace, self.now))}")
        tokens = formatting.tokens_in_words(trace.usage)
        if has_room := title.cell_len + 2 + len(tokens) <= self.width:
            title.append(f"  {tokens}", style="cyan")
        title.rstrip()
        yield cut(title, self.width, self.signs)
        facts = [
            formatting.moment(trace.start_time),
            "" if has_room else tokens,
            f"trace {plain(trace.trace_id)}",
            f"session {plain(trace.session_id)}" if trace.session_id else "",
            f"user {plain(trace.user_id)}" if trace.user_id else "",
            f"tags {', '.join(map(plain, trace.tags))}" if trace.tags else "",
        ]
        for line in _filled(filter(None, facts), f" {self.signs.dot} ", self.width):
            yield cut(Text(line, style="dim"), self.width, self.signs)
        if trace.metadata:
            yield from self._value("", "metadata ", trace.metadata, "dim")
        if trace.error and all(o.error != trace.error for o in trace.observations):
            yield from self._wrapped("", trace.error, formatting.STATUS_STYLES[trace.status])
        if trace.observations:
            yield Text()

    def body(self) -> Iterator[Text]:
        reported: dict[tuple[str | None, str | None], str] = {
            (o.parent_id, o.error): o.name for o in self.trace.observations if o.error
        }
        for place, observation in self._places():
            yield from self._row(place, observation)
            yield from self._details(place.below, observation, reported.get((observation.id, observation.error)))

    def _places(self) -> Iterator[tuple[_Place, ObservationData]]:
        """Every observation in the order of the tree, each with the lines to draw before it."""
        walked = list(self.trace.walk())
        deepest = max(1, (self.width - 36) // 6)  # half of what is left beside the type and a short name is for guides
        open_depths: set[int] = set()
        places = []
        for i in range(len(walked) - 1, -1, -1):  # upwards, as only what follows tells where a line must go on
            depth = walked[i][0]
            open_depths = {d for d in open_depths if d <= depth}
            above = "".join(self._guide(d in open_depths) for d in range(max(1, depth - deepest), depth))
            if depth > deepest + 1:
                above = f"{self.signs.cut:{len(self.signs.line)}}" + above[len(self.signs.line) :]
            own = "" if depth == 0 else self.signs.branch if depth in open_depths else self.signs.last
            has_children = i + 1 < len(walked) and walked[i + 1][0] > depth
            below = above + (self._guide(depth in open_depths) if depth else "") + self._guide(has_children)
            places.append(_Place(above + own, below))
            open_depths.add(depth)
        return zip(reversed(places), (observation for _, observation in walked), strict=True)

    def _guide(self, goes_on: bool) -> str:
        return self.signs.line if goes_on else " " * len(self.signs.line)

    def _row(self, place: _Place, observation: ObservationData) -> Iterator[Text]:
        """Type, place, name and model, then the facts in columns; or below, where there is no room for these."""
        left = Text().append(f"{observation.type.name:{TYPE_WIDTH}}", style=formatting.TYPE_STYLES[observation.type])
        left.append(place.own, style="dim").append(plain(observation.name) or "(no name)", style="bold")
        if observation.model:
            left.append(f" {self.signs.dot} {plain(observation.model)}", style="dim")
        length, tokens, ending = self._facts(observation)
        if self.width < WIDE_ENOUGH:
            yield cut(left, self.width, self.signs)
            if facts := Text("  ").join(filter(None, (length, tokens, ending))):
                yield cut(self._below(place.below).append_text(facts), self.width, self.signs)
            return
        length.pad_left(max(0, 8 - length.cell_len))
        tokens.pad_left(max(0, 11 - tokens.cell_len))
        ending.pad_right(max(0, 13 - ending.cell_len))
        right = Text("  ").join((Text(), length, tokens, ending))
        cut(left, self.width - right.cell_len, self.signs)
        left.pad_right(max(0, self.width - right.cell_len - left.cell_len))
        row = left.append_text(right)
        row.rstrip()
        yield row

    def _facts(self, observation: ObservationData) -> tuple[Text, Text, Text]:
        """Duration, tokens and ending; an EVENT that is a point in time has no more than tokens."""
        tokens = Text(formatting.tokens_in_out(observation.usage, self.signs), style="cyan")
        is_success = observation.status is Status.SUCCESS
        if observation.type is ObservationType.EVENT and is_success and not observation.duration_ms:
            return Text(), tokens, Text()
        style = "dim green" if is_success else formatting.STATUS_STYLES[observation.status]
        ending = Text(formatting.status_word(observation.status, self.signs), style=style)
        return Text(formatting.duration(formatting.elapsed(observation, self.now))), tokens, ending

    def _details(self, guide: str, observation: ObservationData, reported_by: str | None) -> Iterator[Text]:
        """The lines below a row: what went in, what came out, what went wrong, what is worth a word."""
        yield from self._in_and_out(guide, observation)
        if remarks := f" {self.signs.dot} ".join(_remarks(observation)):
            yield cut(self._below(guide).append(remarks, style="dim italic"), self.width, self.signs)
        if observation.error:
            style = formatting.STATUS_STYLES[observation.status]
            kind = observation.metadata.get("error_type")
            if reported_by is not None and not self.full:
                yield from self._wrapped(guide, f"{kind or 'error'} from {reported_by}, see below", "red")
            else:
                yield from self._wrapped(guide, f"{kind}: {observation.error}" if kind else observation.error, style)
        if self.full:
            yield from self._more(guide, observation)

    def _in_and_out(self, guide: str, observation: ObservationData) -> Iterator[Text]:
        """What went in and what came out, as ``input → output`` on one line where both fit, else on two."""
        given = None if observation.input == {} else observation.input
        made = observation.output
        if self.full:
            for label, value in (("in   ", given), ("out  ", made)):
                if value is not None:
                    yield from self._value(guide, label, value)
            return
        start, arrow = self._below(guide), Text(f"{self.signs.arrow} ", style="dim")
        most = 4 * self.width  # measuring a megabyte that is cut anyway takes its time
        left = Text(brief(given)[:most] if given is not None else "")
        right = Text.assemble(arrow, brief(made)[:most]) if made is not None else Text()
        both = Text(" ").join(filter(None, (left, right)))
        for part in [both] if start.cell_len + both.cell_len <= self.width else [left, right]:
            if part:
                yield cut(start.copy().append_text(part), self.width, self.signs)

    def _more(self, guide: str, observation: ObservationData) -> Iterator[Text]:
        """What only the full view shows."""
        if isinstance(traceback := observation.metadata.get("traceback"), str):
            yield from self._wrapped(guide, traceback, "red")
        rest = {key: value for key, value in observation.metadata.items() if key not in ("traceback", "error_type")}
        for label, value in (("model parameters ", observation.model_parameters), ("metadata ", rest)):
            if value:
                yield from self._value(guide, label, value, "dim")
        if observation.finish_reasons:
            yield from self._value(guide, "finish reasons ", ", ".join(observation.finish_reasons), "dim")

    def _value(self, guide: str, label: str, value: Any, style: str = "") -> Iterator[Text]:
        """A labelled value: one line, cut to the width, or all of it in the full view."""
        start = self._below(guide) if guide else Text()
        if not self.full:
            yield cut(start.append(label, style="dim").append(brief(value), style=style), self.width, self.signs)
            return
        room = max(4, self.width - start.cell_len - len(label))
        for line in whole(value, room):
            for piece in _wrap(line, room):
                yield start.copy().append(label, style="dim").append(piece, style=style)
                label = " " * len(label)

    def _wrapped(self, guide: str, text: str, style: str) -> Iterator[Text]:
        """Text in full, broken to the width."""
        start = self._below(guide) if guide else Text()
        room = max(4, self.width - start.cell_len)
        for line in text.expandtabs(4).splitlines():
            for piece in _wrap(plain(line), room):
                yield start.copy().append(piece, style=style)

    def _below(self, guide: str) -> Text:
        return Text(" " * TYPE_WIDTH).append(guide, style="dim")


def _remarks(observation: ObservationData) -> Iterator[str]:
    """What is worth a word beside the values."""
    stream = observation.metadata.get("stream")
    first = formatting.duration(observation.time_to_first_token_ms)
    if isinstance(stream, dict) and isinstance(count := stream.get("count"), int):
        if not first and isinstance(offset := stream.get("first_item_ms"), int | float):
            first = formatting.duration(offset)
        yield f"stream of {formatting.counted(count, 'chunk')}" + (f", first after {first}" if first else "")
    elif first:
        yield f"first token after {first}"
    if observation.redacted:
        yield f"{observation.redacted:,} redacted"
    if observation.truncated:
        yield f"{observation.truncated:,} cut to the size limit"
    if as_recorded := observation.metadata.get("as_recorded"):
        yield f"recorded as {brief(as_recorded)}"


def _wrap(line: str, width: int) -> list[str]:
    """Break *line* to *width*, at blanks where every character is one column wide."""
    if cell_len(line) <= width:
        return [line]
    if len(line) == cell_len(line):
        return textwrap.wrap(line, width, break_on_hyphens=False) or [""]
    return chop_cells(line, width)


def _filled(facts: Iterable[str], between: str, width: int) -> Iterator[str]:
    """Join *facts* into as few lines of *width* as will hold them."""
    line = ""
    for fact in facts:
        if line and cell_len(line + between + fact) > width:
            yield line
            line = fact
        else:
            line = f"{line}{between}{fact}" if line else fact
    if line:
        yield line
