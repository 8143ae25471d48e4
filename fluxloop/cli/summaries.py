"""
One line for a trace, or for an observation that has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from ..models import ObservationData, Trace
from ..reading.json_text import escaped
from ..reading.values import brief
from . import formatting
from .formatting import shortened
from .row_lines import NARROWEST, local_time

COLUMNS_FROM = 76
"""Columns from which duration, tokens and status are aligned in columns."""


def summaries(
    traces: Sequence[Trace], width: int = 100, *, signs: formatting.Signs = formatting.UNICODE, utc: bool = True
) -> Text:
    """Return one line per trace: start, status, name, duration, tokens, end of the id, and error."""
    longest = max((cell_len(name_of(trace)) for trace in traces), default=0)
    width = max(width, NARROWEST)
    return Text("\n").join(_summary(trace, width, min(longest, width // 3), signs, utc) for trace in traces)


def _summary(trace: Trace, width: int, name_width: int, signs: formatting.Signs, utc: bool) -> Text:
    line = Text().append(f"{local_time(trace.start_time, utc=utc)}  ", style="dim")
    line.append(f"{formatting.status_word(trace.status, signs):13}  ", style=formatting.STATUS_STYLES[trace.status])
    name = shortened(Text(name_of(trace), style="bold"), name_width, signs)
    name.pad_right(name_width - name.cell_len)
    line.append_text(name).append(f"  {formatting.duration(trace.duration_ms):>8}")
    if width >= COLUMNS_FROM:
        line.append(f"  {formatting.tokens_in_out(trace.usage, signs):>11}", style="cyan")
    line.append(f"  {short_id(trace.trace_id, signs)}", style="dim")
    if trace.error:
        line.append(f"  {_on_one_line(trace.error)}", style="red")
    return shortened(line, width, signs)


def short_id(trace_id: str, signs: formatting.Signs) -> str:
    """Return the end of an id; the ids made by one process share their beginning."""
    return escaped(trace_id) if len(trace_id) <= 12 else signs.ellipsis + escaped(trace_id[-8:])


def observation_summary(
    observation: ObservationData,
    trace_name: str,
    *,
    signs: formatting.Signs = formatting.UNICODE,
    utc: bool = True,
) -> Text:
    """Return one line of any length for an observation that has ended, as for a log."""
    time = observation.end_time or observation.start_time
    line = Text().append(f"{formatting.in_zone(time, utc=utc):%H:%M:%S}.{time.microsecond // 1000:03d}  ", style="dim")
    line.append(f"{observation.type.name:10}  ", style=formatting.TYPE_STYLES[observation.type])
    line.append(
        f"{formatting.status_word(observation.status, signs):13}  ", style=formatting.STATUS_STYLES[observation.status]
    )
    line.append(f"{formatting.duration(observation.duration_ms):>8}  {escaped(observation.name) or '(no name)'}")
    if tokens := formatting.tokens_in_words(observation.usage):
        line.append(f"  {tokens}", style="cyan")
    line.append(f"  in {escaped(trace_name)}" if trace_name not in ("", observation.name) else "", style="dim")
    if observation.error:
        line.append(f"  {_on_one_line(observation.error)}", style="red")
    elif observation.output is not None:
        line.append(f"  {signs.arrow} {brief(observation.output)}")
    return line


def _on_one_line(text: str) -> str:
    return escaped(" ".join(text.split()))


def name_of(trace: Trace) -> str:
    """Return the trace's name, or a placeholder where the root was not recorded."""
    return escaped(trace.name) or "(the root was not recorded)"
