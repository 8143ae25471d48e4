"""
What a fork changes in a call that runs for real: its input, or its model.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from .open_replays import replaying

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


_next_change: ContextVar[tuple[Change, object] | None] = ContextVar("fluxloop_fork_change", default=None)
"""The change, and the replay that made it: it has no effect outside of that replay."""


def change_next(change: Change) -> None:
    """Change the call that is asked about now, which is to run; its adapter takes the change at once."""
    _next_change.set((change, replaying.get()))


def take_change() -> Change | None:
    """Return what a fork changes in the call for which `ask` returned None just now; None if nothing."""
    found = _next_change.get()
    if found is None:
        return None
    _next_change.set(None)
    change, replay = found
    return change if replay is not None and replay is replaying.get() else None
