"""
Recorded copies of framework objects, such as the tool object a framework makes of a function.

A FluxLoop decorator on such an object asks each instrumenter for an object of the same type, recorded
inside. Instrumenters come from the entry-point group `GROUP`, whose entries are named after the framework's
top-level package and loaded for objects of its classes, and from `add_instrumenter`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..report import log
from .arguments import Binder

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
    """Takes an object that is not a function, and what records; returns None for an object it does not recognise."""

    def __call__(self, target: Any, recording: Recording, /) -> Any: ...


_instrumenters: list[Instrumenter] = []
_loaded_packages: set[str] = set()


def add_instrumenter(instrumenter: Instrumenter) -> None:
    """Ask *instrumenter* too, before those added earlier; adding it twice changes nothing."""
    if instrumenter not in _instrumenters:
        _instrumenters.insert(0, instrumenter)


def instrumented(target: object, recording: Recording) -> Any:
    """Return *target*, a framework's object, recorded inside; None where no instrumenter knows it."""
    _load_instrumenters({kind.__module__.partition(".")[0] for kind in type(target).__mro__})
    for instrumenter in _instrumenters:
        made = instrumenter(target, recording)
        if made is not None:
            return made
    return None


def _load_instrumenters(packages: set[str]) -> None:
    """Load the instrumenters that entry points name for *packages*, each once."""
    new = packages - _loaded_packages
    if not new:
        return
    _loaded_packages.update(new)
    from importlib.metadata import entry_points  # costs as much as the rest of the import, and few need it

    for entry in entry_points(group=GROUP):
        if entry.name in new:
            try:
                _instrumenters.append(entry.load())
            except Exception as exc:  # one broken package must not disable the others
                log.warning("the instrumenter %r could not be loaded: %r", entry.value, exc)
