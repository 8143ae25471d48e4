"""
Say a trace, or an observation that has ended, in one line for a terminal or a pipe.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from ..models import ObservationData, Trace
from . import formatting
from .values import brief, plain

NARROWEST = 40
"""Columns; on a terminal narrower than this lines are broken by the terminal."""

WIDE_ENOUGH = 76
"""Columns from which duration, tokens and status have columns of their own."""


def summaries(traces: Sequence[Trace], width: int = 100, *, signs: formatting.Signs = formatting.UNICODE) -> Text:
    """Return *traces* one line each: when, how it ended, name, duration, tokens, end of the id, and error."""
    longest = max((cell_len(name_of(trace)) for trace in traces), default=0)
    return Text("\n").join(_summary(trace, max(width, NARROWEST), min(longest, width // 3), signs) for trace in traces)


def _summary(trace: Trace, width: int, name_width: int, signs: formatting.Signs) -> Text:
    line = Text().append(f"{formatting.moment(trace.start_time)[:19]:19}  ", style="dim")
    line.append(f"{formatting.status_word(trace.status, signs):13}  ", style=formatting.STATUS_STYLES[trace.status])
    name = cut(Text(name_of(trace), style="bold"), name_width, signs)
    name.pad_right(name_width - name.cell_len)
    line.append_text(name).append(f"  {formatting.duration(trace.duration_ms):>8}")
    if width >= WIDE_ENOUGH:
        line.append(f"  {formatting.tokens_in_out(trace.usage, signs):>11}", style="cyan")
    line.append(f"  {short_id(trace.trace_id, signs)}", style="dim")
    if trace.error:
        line.append(f"  {_flat(trace.error)}", style="red")
    return cut(line, width, signs)


def short_id(trace_id: str, signs: formatting.Signs) -> str:
    """Return the end of an id, as ids made by one process share their beginning."""
    return plain(trace_id) if len(trace_id) <= 12 else signs.cut + plain(trace_id[-8:])


def ended(observation: ObservationData, trace_name: str, *, signs: formatting.Signs = formatting.UNICODE) -> Text:
    """Return an observation that has ended in one line of any length, as for a log."""
    time = observation.end_time or observation.start_time
    line = Text().append(f"{formatting.moment(time)[11:19]}.{time.microsecond // 1000:03d}  ", style="dim")
    line.append(f"{observation.type.name:10}  ", style=formatting.TYPE_STYLES[observation.type])
    line.append(
        f"{formatting.status_word(observation.status, signs):13}  ", style=formatting.STATUS_STYLES[observation.status]
    )
    line.append(f"{formatting.duration(observation.duration_ms):>8}  {plain(observation.name) or '(no name)'}")
    if tokens := formatting.tokens_in_words(observation.usage):
        line.append(f"  {tokens}", style="cyan")
    line.append(f"  in {plain(trace_name)}" if trace_name not in ("", observation.name) else "", style="dim")
    if observation.error:
        line.append(f"  {_flat(observation.error)}", style="red")
    elif observation.output is not None:
        line.append(f"  {signs.arrow} {brief(observation.output)}")
    return line


def _flat(text: str) -> str:
    return plain(" ".join(text.split()))


def name_of(trace: Trace) -> str:
    """Return the trace's name, or what stands for it where nobody recorded one."""
    return plain(trace.name) or "(the root was not recorded)"


def cut(text: Text, width: int, signs: formatting.Signs) -> Text:
    """Shorten *text* to *width*, its end replaced by the sign for that."""
    if text.cell_len > width:
        text.truncate(width - cell_len(signs.cut))
        text.append(signs.cut, style="dim")
    return text
