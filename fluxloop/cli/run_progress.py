"""
Show how an experiment proceeds: a live bar in a terminal, plain lines in pipes and CI.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..experiments.orchestration import Progress
from ..experiments.preparing import Prepared
from ..experiments.results import Totals
from ..reading.json_text import escaped
from . import formatting
from .own_streams import skipped_if_closed

LINES_AT_MOST = 20
"""Plain lines of an experiment, besides those of failed runs."""

REFRESHES_PER_SECOND = 8


def progress_for(output: Console, *, plain: bool = False) -> Progress:
    """Return what shows progress on *output*."""
    output.file = output.file  # otherwise what the target makes of sys.stdout meanwhile
    return LiveProgress(output) if output.is_terminal and not plain else PlainProgress(output)


class SilentProgress:
    """Shows nothing."""

    def started(self, prepared: Prepared, totals: Totals) -> None:
        """Do nothing."""

    def finished(self, row: Mapping[str, Any], totals: Totals) -> None:
        """Do nothing."""

    def ended(self, totals: Totals) -> None:
        """Do nothing."""


def failure_line(row: Mapping[str, Any], width: int = 200) -> str:
    """Return a line for a failed run: its number, input and error."""
    error = row.get("error") or {}
    what = f"{error.get('type', row.get('status'))}: {error.get('message', '')}".replace("\n", " ")
    value = row.get("input")
    text = value if isinstance(value, str) else repr(value)
    line = escaped(f"run {row.get('run')} {row.get('status')}: {what}  (input {row.get('input_id')}: {text:.60})")
    return line if len(line) <= width else line[: width - 1] + "…"


class PlainProgress:
    """Prints a line at the start, for each failed run, and for each twentieth of the runs."""

    def __init__(self, output: Console) -> None:
        self._output = output
        self._next = self._step = 1

    def _print(self, line: str) -> None:
        with skipped_if_closed():
            self._output.print(line, markup=False, soft_wrap=True)

    def started(self, prepared: Prepared, totals: Totals) -> None:
        """Print what is run."""
        self._step = max(1, totals.planned // LINES_AT_MOST)
        self._next = totals.finished + self._step
        resumed = f", {totals.finished} of them finished before" if totals.finished else ""
        self._print(f"[fluxloop] running {prepared.name} ({totals.planned} total runs{resumed})")

    def finished(self, row: Mapping[str, Any], totals: Totals) -> None:
        """Print a failed run, and from time to time how many have finished."""
        if row.get("status") != "success":
            self._print(f"[fluxloop] {failure_line(row)}")
        if totals.finished >= self._next or totals.finished == totals.planned:
            self._next = totals.finished + self._step
            self._print(f"[fluxloop] run progress {totals.finished}/{totals.planned}")

    def ended(self, totals: Totals) -> None:
        """Do nothing: the command prints the result."""


class LiveProgress:
    """A bar with rate, failures, tokens, cost and remaining time, and the failed runs above it."""

    def __init__(self, output: Console) -> None:
        self._output = output
        self._live = Live(console=output, refresh_per_second=REFRESHES_PER_SECOND, transient=True)
        self._totals = Totals(0)
        self._name = ""
        self._began, self._before = monotonic(), 0

    def started(self, prepared: Prepared, totals: Totals) -> None:
        """Draw the bar."""
        self._name, self._totals = prepared.name, totals
        self._began, self._before = monotonic(), totals.finished
        self._live.start()
        self._live.update(_Drawn(self))

    def finished(self, row: Mapping[str, Any], totals: Totals) -> None:
        """Print a failed run above the bar; the bar is drawn at the next refresh."""
        self._totals = totals
        if row.get("status") != "success":
            with skipped_if_closed():
                self._live.console.print(Text(failure_line(row, self._output.width), style="red"), soft_wrap=True)

    def ended(self, totals: Totals) -> None:
        """Remove the bar."""
        self._totals = totals
        with skipped_if_closed():
            self._live.stop()

    def drawing(self) -> Group:
        """Return the bar and the line of counts."""
        totals = self._totals
        seconds = max(monotonic() - self._began, 1e-6)
        rate = (totals.finished - self._before) / seconds
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        bar.add_row(
            Text(escaped(self._name)),
            ProgressBar(total=max(totals.planned, 1), completed=totals.finished),
            Text(f"{totals.finished}/{totals.planned}"),
        )
        facts = [f"{rate:.1f} runs/s"]
        if totals.failed:
            facts.append(f"{totals.failed} failed")
        if count := totals.tokens.get("total_tokens"):
            facts.append(formatting.counted(count, "token"))
        if totals.cost is not None:
            facts.append(f"${totals.cost:,.4f}")
        if rate > 0 and totals.finished < totals.planned:
            facts.append(f"{formatting.duration((totals.planned - totals.finished) / rate * 1000)} left")
        return Group(bar, Text("  ".join(facts), style="dim"))


class _Drawn:
    """Draws the current state at each refresh."""

    def __init__(self, progress: LiveProgress) -> None:
        self._progress = progress

    def __rich__(self) -> Group:
        return self._progress.drawing()
