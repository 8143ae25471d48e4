"""
Run a recorded trace against the code of today, and compare the two trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import ndiff
from typing import Any

from ..errors import ReplayError
from ..models import Trace
from ..testing import outline
from .block import replay
from .entry import entry_of
from .matching import Match
from .reports import ReplayReport


@dataclass(frozen=True, slots=True)
class Rerun:
    """A recorded trace, run again."""

    target: str
    then: str
    """The outline of the recorded trace."""
    now: str
    """The outline of the run of today."""
    report: ReplayReport
    error: str | None
    """The exception of the run, if it raised another one than the recorded run."""
    traces: list[Trace]
    """The records of the run of today."""

    @property
    def is_same(self) -> bool:
        """Whether both trees and all calls are the same."""
        return self.then == self.now and self.report.is_same

    def diff(self) -> list[str]:
        """Return the lines of both outlines, those of the recorded one with ``-`` and of today's with ``+``."""
        return [line for line in ndiff(self.then.splitlines(), self.now.splitlines()) if not line.startswith("?")]

    def first_divergence(self) -> str | None:
        """Return the first difference; None if there is none."""
        changed = next((line for line in self.diff() if line[:1] in "+-"), None)
        return self.report.first_divergence or changed


def rerun(
    trace: Trace, target: str | None = None, *, match: Match = "strict", live: Sequence[str] = (), **options: Any
) -> Rerun:
    """
    Run the function *target* with the recorded input of *trace*, its calls answered from the recording.

    Args:
        trace: The recorded trace.
        target: ``module:function``; by default the recorded entry point.
        match: See `fluxloop.replay`.
        live: See `fluxloop.replay`.
        options: ``secrets``, ``fork_at`` and what it changes, see `fluxloop.replay`.

    Raises:
        ConfigError: If the function cannot be imported.
        ReplayError: If the function is not known, or does not take the recorded input; if the step of a fork does not
            exist; if no call, recorded or made, has a name in *live*.
    """
    entry = entry_of(trace, target)
    block = replay(trace, match=match, live=live, **options)
    block.warns = False
    now, error = entry.run(block)
    if unknown := block.session.unknown_live():
        raise ReplayError(unknown)
    return Rerun(entry.name, outline(trace), now.outline(), block.report(), error, now.traces())
