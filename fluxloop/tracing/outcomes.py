"""
How an exception ends an observation.

`status_of` is the one place that decides between error, cancelled, abandoned and, for frameworks
that raise to steer rather than to fail, whatever their adapter registered with `register_ending`.
"""

from __future__ import annotations

import os
from typing import Any

from ..enums import Status

_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

MOST_FRAMES = 300
"""Frames of a traceback that are told, outermost first: an exception raised again and again gathers ever more."""

_registered: dict[type[BaseException], Status] = {}


def register_ending(kind: type[BaseException], status: Status) -> None:
    """Let exceptions of *kind*, subclasses included, end observations as *status* instead of ``error``."""
    _registered[kind] = status


def status_of(exc: BaseException) -> Status:
    """
    Return how an observation ends that was left by *exc*.

    Exceptions are errors. What only unwinds the program is not: ``KeyboardInterrupt``, ``SystemExit``,
    ``asyncio.CancelledError`` and their like (any ``BaseException``) cancel, ``GeneratorExit`` abandons.
    """
    for kind in type(exc).__mro__:
        if kind in _registered:
            return _registered[kind]
    if isinstance(exc, GeneratorExit):
        return Status.ABANDONED
    return Status.ERROR if isinstance(exc, Exception) else Status.CANCELLED


def message_of(exc: BaseException) -> str:
    """Return the text of *exc*; its class name where it has none or its ``__str__`` fails."""
    try:
        return str(exc) or type(exc).__name__
    except Exception:  # a broken __str__ is the user's, and not worth a second failure
        return type(exc).__name__


def error_details(exc: BaseException) -> dict[str, Any]:
    """Return the metadata of an error: its class, and its traceback without our own frames."""
    return {"error_type": type(exc).__name__, "traceback": _traceback_text(exc)}


def _traceback_text(exc: BaseException) -> str:
    from traceback import TracebackException  # not needed until something fails

    try:
        summary = TracebackException.from_exception(exc, compact=True, limit=MOST_FRAMES)
        pending, is_cut = [summary], False
        while pending:
            one = pending.pop()
            is_cut = is_cut or len(one.stack) == MOST_FRAMES
            one.stack[:] = [frame for frame in one.stack if not frame.filename.startswith(_OUR_FOLDER)]
            pending += [e for e in (one.__cause__, one.__context__, *(one.exceptions or ())) if e]
        told = "".join(summary.format())
        return f"{told}(no more than {MOST_FRAMES} frames are told)\n" if is_cut else told
    except Exception:  # exceptions with hostile attributes exist; the message alone then has to do
        return type(exc).__name__
