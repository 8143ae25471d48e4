"""
Draw a trace as a tree for a terminal: one row per observation, followed by its input and output.

`render` depends on nothing but the trace and its options, so the terminal, a pipe, a live display and a test get the
same text. Inputs and outputs are shortened to the width; errors never are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from ..enums import ObservationType, Status
from ..models import ObservationData, Trace
from ..reading.json_text import escaped
from ..reading.values import brief, whole
from . import formatting
from .formatting import joined, shortened, wrapped
from .summaries import COLUMNS_FROM, NARROWEST, name_of

TYPE_WIDTH = 12
"""Columns of ``GENERATION``, the longest type, and two spaces."""


def render(
    trace: Trace,
    width: int = 100,
    full: bool = False,
    *,
    signs: formatting.Signs = formatting.UNICODE,
    now: datetime | None = None,
) -> Text:
    """
    Return *trace* as a tree, with a header of two or more lines.

    Args:
        trace: Any trace, finished or running.
        width: Columns; no line is wider, unless *width* is under `NARROWEST`.
        full: Do not shorten inputs and outputs, and add metadata and tracebacks.
        signs: `formatting.UNICODE`, or `formatting.ASCII` for outputs that cannot show it.
        now: The time up to which durations of running observations count.
    """
    drawing = _Drawing(trace, max(width, NARROWEST), full, signs, now)
    return Text("\n").join([*drawing.header(), *drawing.body()])


@dataclass(frozen=True, slots=True)
class _Place:
    """The position of an observation in the tree, as the guide lines to draw before it."""

    own: str
    """Before its row."""
    below: str
    """Before its other lines."""


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
        cost = formatting.cost(trace.cost) if tokens else ""
        if fits := title.cell_len + 2 + len(tokens) <= self.width:
            title.append(f"  {tokens}", style="cyan")
        title.rstrip()
        yield shortened(title, self.width, self.signs)
        facts = [
            formatting.utc_time(trace.start_time),
            "" if fits else tokens,
            f"cost {cost}" if cost else "",
            f"trace {escaped(trace.trace_id)}",
            f"session {escaped(trace.session_id)}" if trace.session_id else "",
            f"user {escaped(trace.user_id)}" if trace.user_id else "",
            f"tags {', '.join(map(escaped, trace.tags))}" if trace.tags else "",
        ]
        for line in joined(filter(None, facts), f" {self.signs.dot} ", self.width):
            yield shortened(Text(line, style="dim"), self.width, self.signs)
        if trace.metadata:
            yield from self._value("", "metadata ", trace.metadata, "dim")
        if trace.error and all(o.error != trace.error for o in trace.observations):
            yield from self._wrapped("", trace.error, formatting.STATUS_STYLES[trace.status])
        if trace.observations:
            yield Text()

    def body(self) -> Iterator[Text]:
        raised_by: dict[tuple[str | None, str | None], str] = {
            (o.parent_id, o.error): o.name for o in self.trace.observations if o.error
        }
        for place, observation in self._places():
            yield from self._row(place, observation)
            yield from self._details(place.below, observation, raised_by.get((observation.id, observation.error)))

    def _places(self) -> Iterator[tuple[_Place, ObservationData]]:
        """Return every observation in the order of the tree, each with its guide lines."""
        walked = list(self.trace.walk())
        deepest = max(1, (self.width - 36) // 6)  # half of the width beside the type and a short name
        open_depths: set[int] = set()
        places = []
        for i in range(len(walked) - 1, -1, -1):  # upwards: what follows decides where a line continues
            depth = walked[i][0]
            open_depths = {d for d in open_depths if d <= depth}
            above = "".join(self._guide(d in open_depths) for d in range(max(1, depth - deepest), depth))
            if depth > deepest + 1:
                above = f"{self.signs.ellipsis:{len(self.signs.line)}}" + above[len(self.signs.line) :]
            own = "" if depth == 0 else self.signs.branch if depth in open_depths else self.signs.last
            has_children = i + 1 < len(walked) and walked[i + 1][0] > depth
            below = above + (self._guide(depth in open_depths) if depth else "") + self._guide(has_children)
            places.append(_Place(above + own, below))
            open_depths.add(depth)
        return zip(reversed(places), (observation for _, observation in walked), strict=True)

    def _guide(self, continues: bool) -> str:
        return self.signs.line if continues else " " * len(self.signs.line)

    def _row(self, place: _Place, observation: ObservationData) -> Iterator[Text]:
        """Type, guide lines, name and model; then duration, tokens and status in columns, or on a second line."""
        left = Text().append(f"{observation.type.name:{TYPE_WIDTH}}", style=formatting.TYPE_STYLES[observation.type])
        left.append(place.own, style="dim").append(escaped(observation.name) or "(no name)", style="bold")
        if observation.model:
            left.append(f" {self.signs.dot} {escaped(observation.model)}", style="dim")
        duration, tokens, status = self._columns(observation)
        if self.width < COLUMNS_FROM:
            yield shortened(left, self.width, self.signs)
            if columns := Text("  ").join(filter(None, (duration, tokens, status))):
                yield shortened(self._start(place.below).append_text(columns), self.width, self.signs)
            return
        duration.pad_left(max(0, 8 - duration.cell_len))
        tokens.pad_left(max(0, 11 - tokens.cell_len))
        status.pad_right(max(0, 13 - status.cell_len))
        right = Text("  ").join((Text(), duration, tokens, status))
        shortened(left, self.width - right.cell_len, self.signs)
        left.pad_right(max(0, self.width - right.cell_len - left.cell_len))
        row = left.append_text(right)
        row.rstrip()
        yield row

    def _columns(self, observation: ObservationData) -> tuple[Text, Text, Text]:
        """Duration, tokens and status; an EVENT that is a point in time has only tokens."""
        tokens = Text(formatting.tokens_in_out(observation.usage, self.signs), style="cyan")
        is_success = observation.status is Status.SUCCESS
        if observation.type is ObservationType.EVENT and is_success and not observation.duration_ms:
            return Text(), tokens, Text()
        style = "dim green" if is_success else formatting.STATUS_STYLES[observation.status]
        status = Text(formatting.status_word(observation.status, self.signs), style=style)
        return Text(formatting.duration(formatting.elapsed(observation, self.now))), tokens, status

    def _details(self, guide: str, observation: ObservationData, origin: str | None) -> Iterator[Text]:
        """The lines after a row: input, output, annotations and error."""
        yield from self._input_and_output(guide, observation)
        if annotations := f" {self.signs.dot} ".join(_annotations(observation)):
            yield shortened(self._start(guide).append(annotations, style="dim italic"), self.width, self.signs)
        if observation.error:
            style = formatting.STATUS_STYLES[observation.status]
            error_type = observation.metadata.get("error_type")
            if origin is not None and not self.full:
                yield from self._wrapped(guide, f"{error_type or 'error'} from {origin}, see below", "red")
            else:
                yield from self._wrapped(
                    guide, f"{error_type}: {observation.error}" if error_type else observation.error, style
                )
        if self.full:
            yield from self._full_details(guide, observation)

    def _input_and_output(self, guide: str, observation: ObservationData) -> Iterator[Text]:
        """Input and output, as ``input → output`` on one line where both fit, else on two."""
        value_in = None if observation.input == {} else observation.input
        value_out = observation.output
        if self.full:
            for label, value in (("in   ", value_in), ("out  ", value_out)):
                if value is not None:
                    yield from self._value(guide, label, value)
            return
        start, arrow = self._start(guide), Text(f"{self.signs.arrow} ", style="dim")
        limit = 4 * self.width  # measuring a megabyte that is cut afterwards takes long
        left = Text(brief(value_in)[:limit] if value_in is not None else "")
        right = Text.assemble(arrow, brief(value_out)[:limit]) if value_out is not None else Text()
        both = Text(" ").join(filter(None, (left, right)))
        for part in [both] if start.cell_len + both.cell_len <= self.width else [left, right]:
            if part:
                yield shortened(start.copy().append_text(part), self.width, self.signs)

    def _full_details(self, guide: str, observation: ObservationData) -> Iterator[Text]:
        """The lines that only the full view has."""
        if isinstance(traceback := observation.metadata.get("traceback"), str):
            yield from self._wrapped(guide, traceback, "red")
        rest = {key: value for key, value in observation.metadata.items() if key not in ("traceback", "error_type")}
        for label, value in (("model parameters ", observation.model_parameters), ("metadata ", rest)):
            if value:
                yield from self._value(guide, label, value, "dim")
        if observation.finish_reasons:
            yield from self._value(guide, "finish reasons ", ", ".join(observation.finish_reasons), "dim")

    def _value(self, guide: str, label: str, value: Any, style: str = "") -> Iterator[Text]:
        """A labelled value: one line cut to the width, or the whole value in the full view."""
        start = self._start(guide) if guide else Text()
        if not self.full:
            yield shortened(start.append(label, style="dim").append(brief(value), style=style), self.width, self.signs)
            return
        room = max(4, self.width - start.cell_len - len(label))
        for line in whole(value, room):
            for piece in wrapped(line, room):
                yield start.copy().append(label, style="dim").append(piece, style=style)
                label = " " * len(label)

    def _wrapped(self, guide: str, text: str, style: str) -> Iterator[Text]:
        """The whole text, wrapped to the width."""
        start = self._start(guide) if guide else Text()
        room = max(4, self.width - start.cell_len)
        for line in text.expandtabs(4).splitlines():
            for piece in wrapped(escaped(line), room):
                yield start.copy().append(piece, style=style)

    def _start(self, guide: str) -> Text:
        return Text(" " * TYPE_WIDTH).append(guide, style="dim")


def _annotations(observation: ObservationData) -> Iterator[str]:
    """Facts about the record that its values do not show."""
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
