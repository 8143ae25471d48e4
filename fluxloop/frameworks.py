"""
What frameworks make of a function, recognised without importing any of them.

A decorator of ours that is put on a framework's tool object asks each instrumenter for an object of
the same type, recorded inside. Instrumenters come from the entry-point group `GROUP`, looked up when
such an object is first met, and from `add_instrumenter`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .arguments import Binder
from .report import log

F = TypeVar("F", bound=Callable[..., Any])

GROUP = "fluxloop.instrumenters"
"""The entry-point group under which a package offers an `Instrumenter`."""


class Recording(Protocol):
    """Returns a function recorded the way the decorator was asked to."""

    def __call__(self, func: F, /, *, called: str | None = None, bind: Binder | None = None) -> F:
        """
        Return *func* recorded.

        Args:
            func: The user's own function, of any shape.
            called: The tool's name: the observation's, unless the user gave one.
            bind: Takes the arguments of a call and returns what to capture of them; by parameter name if None.
        """


class Instrumenter(Protocol):
    """Takes what is no function, and what records; returns None for an object it does not know."""

    def __call__(self, target: Any, recording: Recording, /) -> Any: ...


_instrumenters: list[Instrumenter] = []
_has_looked = False


def add_instrumenter(instrumenter: Instrumenter) -> None:
    """Ask *instrumenter* too, after those there are; the same one twice counts once."""
    if instrumenter not in _instrumenters:
        _instrumenters.append(instrumenter)


def instrumented(target: object, recording: Recording) -> Any:
    """Return *target*, a framework's object, recorded inside; None where no instrumenter knows it."""
    _look()
    for instrumenter in _instrumenters:
        made = instrumenter(target, recording)
        if made is not None:
            return made
    return None


def _look() -> None:
    global _has_looked
    if _has_looked:
        return
    _has_looked = True
    from importlib.metadata import entry_points  # costs as much as the rest of the import, and few need it

    for entry in entry_points(group=GROUP):
        try:
            add_instrumenter(entry.load())
        except Exception as exc:  # one broken package must not take the others' support away
            log.warning("the instrumenter %r could not be loaded: %r", entry.value, exc)
