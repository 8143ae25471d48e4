"""
Recorded copies of framework objects, such as the tool object that a framework makes of a function.

A decorator that is applied to such an object calls the instrumenters. The one that recognises the object returns a
copy of the same type whose function is recorded. `add_instrumenter` registers an instrumenter; the entry-point group
`GROUP` lists more, by the top-level package of their framework, which are loaded for objects of its classes.
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
    """Records a function with the type and options of the decorator."""

    def __call__(self, func: F, /, *, called: str | None = None, bind: Binder | None = None) -> F:
        """
        Return *func* recorded.

        Args:
            func: The user's function, of any call shape.
            called: The name of the tool, which names the observation unless the user chose a name.
            bind: Returns the input to capture for the arguments of a call; by default the arguments by parameter name.
        """


class Instrumenter(Protocol):
    """Returns a recorded copy of an object that is not a function; None for an object it does not recognise."""

    def __call__(self, target: Any, recording: Recording, /) -> Any: ...


_instrumenters: list[Instrumenter] = []
_loaded_packages: set[str] = set()


def add_instrumenter(instrumenter: Instrumenter) -> None:
    """Register *instrumenter*, to be called before those registered earlier. A second call has no effect."""
    if instrumenter not in _instrumenters:
        _instrumenters.insert(0, instrumenter)


def instrumented(target: object, recording: Recording) -> Any:
    """Return a recorded copy of *target*, an object of a framework; None if no instrumenter recognises it."""
    _load_instrumenters({cls.__module__.partition(".")[0] for cls in type(target).__mro__})
    for instrumenter in _instrumenters:
        copy = instrumenter(target, recording)
        if copy is not None:
            return copy
    return None


def _load_instrumenters(packages: set[str]) -> None:
    """Load the instrumenters that entry points name for *packages*, each once."""
    new = packages - _loaded_packages
    if not new:
        return
    _loaded_packages.update(new)
    from importlib.metadata import entry_points  # slow to import, and rarely needed

    for entry in entry_points(group=GROUP):
        if entry.name in new:
            try:
                _instrumenters.append(entry.load())
            except Exception as exc:  # one broken package must not disable the others
                log.warning("the instrumenter %r could not be loaded: %r", entry.value, exc)
