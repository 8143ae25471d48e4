"""
Seams: where the methods of frameworks are replaced while a replay is open anywhere in the process.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol
from weakref import ref

from ..forks import after_fork
from ..interruptions import was_raised_from_outside
from ..report import log


class Seam(Protocol):
    """The methods of a framework that are replaced while a replay is open."""

    def open(self) -> None:
        """Replace the methods. They still run the originals where no replay is open in the context."""

    def close(self) -> None:
        """Restore the methods. It is called again if it was interrupted, and after `open` was."""

    # on_loaded(framework), which is optional, is called if a framework is imported while the seam is open.


_seams: list[Seam] = []
_open_replays: dict[int, ref[object]] = {}
"""By id. A signal handler that raises just before ``__exit__`` begins prevents that: a block is open while it lives."""
_opened: list[Any] = []
"""The seams that are open, and what watches imports; each is closed once, whatever interrupts that."""
_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_lock)


def register_seam(seam: Seam) -> None:
    """
    Open *seam* while a replay is open; at once if one is open already.

    It replaces a seam for the same methods, which an adapter that was imported twice has registered before.
    """
    with _lock:
        for earlier in [each for each in _seams if _subject(each) == _subject(seam)]:
            _seams.remove(earlier)
            if earlier in _opened:
                earlier.close()
                _opened.remove(earlier)
        _seams.append(seam)
        if seams_open():
            _opened.append(seam)
            seam.open()


def _subject(seam: Seam) -> tuple[str, str, object]:
    """Return what *seam* replaces: its class by name, as a second import makes another one, and its base."""
    return type(seam).__module__, type(seam).__qualname__, getattr(seam, "base", None)


def open_seams(replay: object) -> None:
    """Note that *replay* is open, and open the seams for the first one; if that fails, nothing stays open."""
    with _lock:
        if not seams_open():
            _close_all()  # of replays that were not left
            from .late_imports import LateImports  # loaded here for programs without replays

            try:
                for seam in [*_seams, LateImports(_ADAPTERS, _on_loaded)]:
                    _opened.append(seam)
                    seam.open()
            except BaseException:  # a signal handler raised
                _close_all()
                raise
        _open_replays[id(replay)] = ref(replay)


def close_seams(replay: object) -> None:
    """Note that *replay* is closed, and close the seams after the last one; again, if that was interrupted."""
    with _lock:
        _open_replays.pop(id(replay), None)
        if not seams_open():
            _close_all()


def _close_all() -> None:
    while _opened:
        try:
            _opened[-1].close()
        except Exception as problem:  # such as of a seam whose `open` failed
            if was_raised_from_outside(problem):
                raise  # it is closed when this function is called again
            log.debug("%r could not be closed: %s", _opened[-1], problem)
        _opened.pop()


_ADAPTERS = {
    "langchain_core": "fluxloop_langchain",
    "agents": "fluxloop_custom.openai_agents",
    "openai": "fluxloop_custom.clients",
    "anthropic": "fluxloop_custom.clients",
    "google.genai": "fluxloop_custom.clients",
}
"""The module that registers the seams of a framework."""


def load_adapters() -> None:
    """Import what registers the seams of frameworks that are loaded, so that a replay sees all of their calls."""
    for framework, adapter in _ADAPTERS.items():
        if framework in sys.modules and adapter not in sys.modules:
            try:
                import_module(adapter)
            except Exception as problem:  # a version that is not supported, or another package of this name
                if was_raised_from_outside(problem):
                    raise
                log.debug("the adapter of %s is not loaded: %s", framework, problem)


def _on_loaded(framework: str) -> None:
    """Let open replays see the calls of *framework*, which was imported just now."""
    load_adapters()
    with _lock:
        for seam in list(_seams) if seams_open() else ():
            if (on_loaded := getattr(seam, "on_loaded", None)) is not None:
                on_loaded(framework)


def seams_open() -> bool:
    """Whether a replay is open in any context of the process."""
    return any(replay() is not None for replay in list(_open_replays.values()))


class ClassMethodsSeam:
    """
    Replaces methods of all subclasses of *base*, also of those that are defined while it is open.

    Args:
        base: The class whose subclasses are changed.
        wraps: For each name of a method, a function that takes the original and returns the replacement.
        is_with_base: Whether the methods of *base* itself are replaced too.
    """

    def __init__(self, base: type, wraps: dict[str, Callable[[Any], Any]], *, is_with_base: bool = False) -> None:
        self.base = base
        self.wraps = wraps
        self.is_with_base = is_with_base
        self._replaced: list[tuple[type, str, Any, Any]] = []
        self._hook: Any = None
        self.is_open = False

    def open(self) -> None:
        """See `Seam`."""
        self._hook = vars(self.base).get("__init_subclass__")
        base: Any = self.base
        replace = self._replace

        def hook(cls: Any, **options: Any) -> None:
            super(base, cls).__init_subclass__(**options) if self._hook is None else self._hook.__func__(cls, **options)
            replace(cls)

        self.is_open = True
        type.__setattr__(base, "__init_subclass__", classmethod(hook))  # type: ignore[arg-type]
        if self.is_with_base:
            replace(base)
        pending: list[Any] = [*base.__subclasses__()]
        seen: set[Any] = set()
        while pending:
            cls = pending.pop()
            if cls not in seen:
                seen.add(cls)
                replace(cls)
                pending += cls.__subclasses__()

    def close(self) -> None:
        """See `Seam`. A method that other code has replaced since is left to that code."""
        if not self.is_open:
            return
        if self._hook is not None:
            type.__setattr__(self.base, "__init_subclass__", self._hook)
        elif "__init_subclass__" in vars(self.base):
            type.__delattr__(self.base, "__init_subclass__")
        while self._replaced:
            cls, name, original, replacement = self._replaced[-1]
            if vars(cls).get(name) is replacement:
                type.__setattr__(cls, name, original)
            self._replaced.pop()
        self.is_open = False

    def _replace(self, cls: type) -> None:
        for name, wrap in self.wraps.items():
            original = vars(cls).get(name)
            if callable(original) and not getattr(original, "__isabstractmethod__", False):
                replacement = wrap(original)
                self._replaced.append((cls, name, original, replacement))
                type.__setattr__(cls, name, replacement)


class ReopenableSeam(Seam, Protocol):
    """A seam that has state: what it replaces, and whether it is open."""

    base: Any
    is_open: bool


class SharedSeam:
    """
    A seam that is open while one of its users is: replays, and recordings that keep answers whole.

    So each method is replaced once, and restored once, whichever of the users ends first.
    """

    def __init__(self, seam: ReopenableSeam) -> None:
        self.seam = seam
        self.base = seam.base
        self._users: set[str] = set()

    def open(self, user: str = "replays") -> None:
        """See `Seam`."""
        with _lock:
            self._users.add(user)
            if not self.seam.is_open:
                self.seam.open()

    def close(self, user: str = "replays") -> None:
        """See `Seam`."""
        with _lock:
            self._users.discard(user)
            if not self._users:
                self.seam.close()
