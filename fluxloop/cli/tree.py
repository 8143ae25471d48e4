"""
Draw a trace as a tree for a terminal: one row per observation, followed by its input and output.

`render` depends on nothing but the trace and its options, so the terminal, a pipe, a live display and a test get the
same text. Inputs and outputs are shortened to the width; errors are wrapped. Of a large trace `folding` chooses the
rows, and the lines are made one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rich.text import Text

from ..enums import ObservationType, Status
from ..models import ObservationData, Trace
from ..reading.json_text import escaped
from ..reading.outline import FAILED, Outline
from ..reading.values import brief
from . import formatting
from .folding import Only, Plan, Row, plan, shared
from .formatting import Pieces, line_of, shortened, width_of
from .header import folded_line, header, selection_line
from .row_lines import NARROWEST
from .row_texts import PLAIN_STYLE, hidden_text, in_common, record_notes, status_text, type_and_name
from .summaries import COLUMNS_FROM
from .value_lines import TYPE_WIDTH, Look
from .waterfall import OFFSET_WIDTH, Timeline


def render(
    trace: Trace,
    width: int = 100,
    full: bool = False,
    *,
    signs: formatting.Signs = formatting.UNICODE,
    now: datetime | None = None,
    utc: bool = True,
    depth: int | None = None,
    only: Only | None = None,
    folds: bool = True,
) -> Text:
    """
    Return *trace* as a tree, with a header of two or more lines.

    Args:
        trace: Any trace, finished or running.
        width: Columns; no line is wider, unless *width* is under `NARROWEST`.
        full: Show values whole, with metadata and tracebacks, and fold nothing.
        signs: `formatting.UNICODE`, or `formatting.ASCII` for outputs that cannot show it.
        now: The time up to which durations of running observations count.
        utc: Print times in UTC instead of local time.
        depth: Levels of the tree to show; None for all.
        only: Show these observations, and those that they are in.
        folds: Let long runs of equal siblings share a row, and limit the number of rows.
    """
    look = Look(max(width, NARROWEST), full, signs, now, utc)
    return Text("\n").join(tree_lines(trace, look, depth=depth, only=only, folds=folds))


def tree_lines(
    trace: Trace, look: Look, *, depth: int | None = None, only: Only | None = None, folds: bool = True
) -> Iterator[Text]:
    """Yield the lines of `render` one after the other."""
    return map(look.fitted, _lines(trace, look, depth, only, folds))


def _lines(trace: Trace, look: Look, depth: int | None, only: Only | None, folds: bool) -> Iterator[Text]:
    outline = Outline(trace, look.now)
    chosen = plan(outline, depth=depth, only=only, folds=folds and not look.full)
    yield from header(trace, outline, chosen.rows, look)
    if only is not None and chosen.matched is not None:
        yield selection_line(only, chosen.matched, len(outline), look)
    if chosen.rows:
        yield Text()
    yield from _Drawing(outline, chosen, look, Timeline.of(outline, look.bar_width, look.signs)).lines()
    if chosen.folded and depth is None:
        yield Text()
        yield folded_line(chosen.folded, only, look)


class _Place(NamedTuple):
    """The position of a row in the tree, as the guide lines to draw before it."""

    own: str
    """Before the row."""
    below: str
    """Before its other lines."""


class _Cells(NamedTuple):
    """What a row shows besides its name."""

    start: int
    """Microseconds since 1970."""
    end: int
    duration: str
    tokens: str
    status: tuple[str, str]
    """Its text and style."""
    style: str
    """Of the bar."""


@dataclass(frozen=True, slots=True)
class _Drawing:
    outline: Outline
    plan: Plan
    look: Look
    timeline: Timeline | None

    def lines(self) -> Iterator[Text]:
        """Yield the rows, each with its details."""
        shown = {row.positions[0] for row in self.plan.rows if not row.is_shared}
        for place, row in zip(self._places(), self.plan.rows, strict=True):
            if row.is_shared:
                yield from self._shared_row(place, row)
                continue
            observation = self.outline.observation(row.positions[0])
            yield from self._row(
                place, *type_and_name(observation, self.look), self._cells(row.positions[0], observation)
            )
            if not row.is_context:
                origin = self._origin(row.positions[0], observation, shown)
                yield from self._details(place.below, observation, origin)
            if row.hidden:
                yield self._note(place.below, hidden_text(row.hidden, row.hidden_failures))

    def _places(self) -> list[_Place]:
        """Return the guide lines of each row."""
        rows, signs = self.plan.rows, self.look.signs
        deepest = max(1, (self.look.width - self.look.bar_width - 36) // 6)  # half of the width beside type and name
        open_depths: set[int] = set()
        places = []
        for i in range(len(rows) - 1, -1, -1):  # upwards: what follows decides where a line continues
            depth = rows[i].depth
            open_depths = {d for d in open_depths if d <= depth}
            above = "".join(self._guide(d in open_depths) for d in range(max(1, depth - deepest), depth))
            if depth > deepest + 1:
                above = f"{signs.ellipsis:{len(signs.line)}}" + above[len(signs.line) :]
            own = "" if depth == 0 else signs.branch if depth in open_depths else signs.last
            has_children = i + 1 < len(rows) and rows[i + 1].depth > depth
            below = above + (self._guide(depth in open_depths) if depth else "") + self._guide(has_children)
            places.append(_Place(above + own, below))
            open_depths.add(depth)
        return places[::-1]

    def _guide(self, continues: bool) -> str:
        return self.look.signs.line if continues else " " * len(self.look.signs.line)

    def _row(self, place: _Place, kind: Pieces, name: Pieces, cells: _Cells) -> Iterator[Text]:
        """Type, guide lines and name; then offset, duration, tokens, status and bar, or a second line with some."""
        look = self.look
        left: Pieces = (*kind, (place.own, "dim"), *name)
        if look.width < COLUMNS_FROM:
            yield shortened(line_of(*left), look.width, look.signs)
            shown = [piece for piece in ((cells.duration, ""), (cells.tokens, "cyan"), cells.status) if piece[0]]
            if shown:
                between = [piece for each in shown for piece in (("  ", ""), each)][1:]
                yield shortened(line_of(*look.start(place.below), *between), look.width, look.signs)
            return
        right: list[tuple[str, str]] = [
            (f"  {cells.duration:>8}  ", ""),
            (f"{cells.tokens:>11}  ", "cyan"),
            (f"{cells.status[0]:13}", cells.status[1]),
        ]
        bar_width = 0
        if self.timeline:
            right.insert(0, (f"  {self.timeline.offset(cells.start):>{OFFSET_WIDTH}}", "dim"))
            right += [("  ", ""), *self.timeline.bar(cells.start, cells.end, cells.style)]
            bar_width = self.timeline.width - sum(len(text) for text, _ in right[-2:])
        room = look.width - sum(len(text) for text, _ in right) - bar_width  # these have one column per character
        missing = room - width_of(left)
        if missing < 0:
            row = shortened(line_of(*left), room, look.signs)
            row.pad_right(max(0, room - row.cell_len))
            row.append_text(line_of(*right))
        else:
            row = line_of(*left, (" " * missing, ""), *right)
        row.rstrip()
        yield row

    def _cells(self, position: int, observation: ObservationData) -> _Cells:
        """The cells of an observation; an EVENT that is a point in time has neither duration nor status."""
        tokens = formatting.tokens_in_out(observation.usage, self.look.signs)
        start, end = self.outline.starts[position], self.outline.ends[position]
        word, style = status_text(observation, self.look.signs)
        is_failed = self.outline.flags[position] & FAILED
        bar_style = "red" if is_failed else formatting.TYPE_STYLES[observation.type]
        if observation.type is ObservationType.EVENT and not observation.duration_ms and style == PLAIN_STYLE:
            return _Cells(start, end, "", tokens, ("", ""), bar_style)
        duration = formatting.duration(formatting.elapsed(observation, self.look.now))
        return _Cells(start, end, duration, tokens, (word, style), bar_style)

    def _shared_row(self, place: _Place, row: Row) -> Iterator[Text]:
        """The row of several observations, with the values of the first of them and what they have in common."""
        look = self.look
        facts = shared(self.outline, row, look.signs.times)
        kind = facts.type.name if facts.type else ""
        type_style = formatting.TYPE_STYLES[facts.type] if facts.type else ""
        duration = formatting.duration((facts.end - facts.start) / 1000)
        if facts.failed:
            status = (f"{look.signs.statuses[Status.ERROR]} {facts.failed:,} failed", "bold red")
        elif facts.is_mixed:
            status = ("several", "yellow")
        else:
            style = PLAIN_STYLE if facts.status is Status.SUCCESS else formatting.STATUS_STYLES[facts.status]
            status = (formatting.status_word(facts.status, look.signs), style)
        cells = _Cells(facts.start, facts.end, duration, "", status, "red" if facts.failed else type_style)
        name = (look.printable(escaped(facts.title)), "bold")
        yield from self._row(place, ((f"{kind:{TYPE_WIDTH}}", type_style),), (name,), cells)
        first = self.outline.observation(row.positions[0])
        yield from self._input_and_output(place.below, first, "first: ")
        if notes := f" {look.signs.dot} ".join(in_common(facts)):
            yield self._note(place.below, notes)

    def _note(self, guide: str, text: str) -> Text:
        return shortened(line_of(*self.look.start(guide, text)), self.look.width, self.look.signs)

    def _origin(self, position: int, observation: ObservationData, shown: set[int]) -> str | None:
        """Return the name of the child that raised the error of *observation*, if its row shows it."""
        if not observation.error:
            return None
        children = (child for child in self.outline.children(position) if child in shown)
        failed = (child for child in children if self.outline.statuses[child] not in (None, Status.SUCCESS))
        raising = (self.outline.observation(child) for child in failed)
        return next((child.name for child in raising if child.error == observation.error), None)

    def _details(self, guide: str, observation: ObservationData, origin: str | None) -> Iterator[Text]:
        """The lines after a row: input, output, annotations and error."""
        look = self.look
        yield from self._input_and_output(guide, observation)
        if notes := f" {look.signs.dot} ".join(record_notes(observation)):
            yield self._note(guide, notes)
        if observation.error:
            error_type = observation.metadata.get("error_type")
            if origin is not None and not look.full:
                text, style = f"{error_type or 'error'} from {origin}, see below", "red"
            else:
                text = f"{error_type}: {observation.error}" if error_type else observation.error
                style = formatting.STATUS_STYLES[observation.status]
            yield from look.wrapped(look.start(guide), text, style)
        if look.full:
            yield from self._full_details(guide, observation)

    def _input_and_output(self, guide: str, observation: ObservationData, label: str = "") -> Iterator[Text]:
        """Input and output, as ``input → output`` on one line where both fit, else on two."""
        look = self.look
        value_in = None if observation.input == {} else observation.input
        value_out = observation.output
        start = look.start(guide, label)
        if look.full:
            for name, value in (("in   ", value_in), ("out  ", value_out)):
                if value is not None:
                    yield from look.value(start, name, value)
            return
        limit = 4 * look.width  # measuring a megabyte that is cut afterwards takes long
        left: Pieces = ((brief(value_in)[:limit], ""),) if value_in is not None else ()
        arrow = (f"{look.signs.arrow} ", "dim")
        right: Pieces = (arrow, (brief(value_out)[:limit], "")) if value_out is not None else ()
        both = (*left, (" ", ""), *right) if left and right else (*left, *right)
        for part in [both] if width_of(start) + width_of(both) <= look.width else [left, right]:
            if part:
                yield shortened(line_of(*start, *part), look.width, look.signs)
                start = look.start(guide, " " * len(label))

    def _full_details(self, guide: str, observation: ObservationData) -> Iterator[Text]:
        """The lines that only the full view has."""
        start = self.look.start(guide)
        if isinstance(traceback := observation.metadata.get("traceback"), str):
            yield from self.look.wrapped(start, traceback, "red")
        rest = {key: value for key, value in observation.metadata.items() if key not in ("traceback", "error_type")}
        for label, value in (("model parameters ", observation.model_parameters), ("metadata ", rest)):
            if value:
                yield from self.look.value(start, label, value, "dim")
        if observation.finish_reasons:
            yield from self.look.value(start, "finish reasons ", ", ".join(observation.finish_reasons), "dim")
