"""
What a fork changes in a call that runs for real: its input, or its model.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

UNCHANGED: Any = object()
"""In place of an input that a fork does not change."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a fork changes in a call that runs for real."""

    input: Any = UNCHANGED
    model: Any = None

    @property
    def has_input(self) -> bool:
        """Whether the call gets another input."""
        return self.input is not UNCHANGED


_next_change: ContextVar[Change | None] = ContextVar("fluxloop_fork_change", default=None)


def change_next(change: Change) -> None:
    """Change the call that is asked about now, which is to run; its adapter takes the change at once."""
    _next_change.set(change)


def take_change() -> Change | None:
    """Return what a fork changes in the call for which `ask` returned None just now; None if nothing."""
    change = _next_change.get()
    if change is not None:
        _next_change.set(None)
    return change
