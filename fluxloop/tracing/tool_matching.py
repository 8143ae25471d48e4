"""
Whether a TOOL that begins inside a framework's tool event is that very call, or a helper the tool uses.

Both look the same from inside: the framework's event is what is current. But the framework calls the
tool, and the tool calls its helpers, so the frame that called tells one from the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from sys import _getframe
from types import FrameType
from typing import NamedTuple

_STRANDS = frozenset({"anyio", "asyncio", "concurrent", "threading"})
"""Packages that begin a thread's or a task's stack, where who started it cannot be seen, and names have to do."""


class ToolMatcher(NamedTuple):
    """What is known of a framework's tool event, and lets the tool's own function be told from others."""

    names: Callable[[], Collection[str]]
    """Tells the tool's name, as the framework has it, and its function's, where that is known to be another."""
    packages: frozenset[str] = frozenset()
    """The framework's top-level packages, which call the tool; where none is given, the first TOOL inside is it."""

    def matches(self, names: tuple[str, ...], *, is_body: bool = False) -> bool:
        """
        Whether the TOOL that begins in the calling frames is this very call.

        Args:
            names: What it goes by: its function's name, its observation's.
            is_body: Whether the frame outside FluxLoop is the tool's own body, as for one pushed by hand.
        """
        if not self.packages:
            return True
        caller = _outside(_getframe(1))
        if is_body and caller is not None:
            names = (*names, caller.f_code.co_name)
            caller = _outside(caller.f_back)
        package = _package(caller) if caller is not None else "threading"
        if package in self.packages:
            return True
        if package not in _STRANDS:
            return False
        known = self.names()
        return any(name.rpartition(".")[2] in known for name in names)


def _outside(frame: FrameType | None) -> FrameType | None:
    """Return the first frame from *frame* upwards that is not FluxLoop's."""
    while frame is not None and _package(frame).startswith("fluxloop"):
        frame = frame.f_back
    return frame


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
