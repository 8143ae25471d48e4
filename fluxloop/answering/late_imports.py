"""
Notice frameworks that are imported while a replay is open, so that their calls are answered or refused too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from importlib.machinery import ModuleSpec
from typing import Any


class LateImports:
    """
    A finder of modules that finds none itself; it calls *on_loaded* after one of *names* was loaded.

    Args:
        names: The names of modules.
        on_loaded: Is called with the name, in the thread that imports the module, before its import returns.
    """

    def __init__(self, names: Collection[str], on_loaded: Callable[[str], None]) -> None:
        self._names = frozenset(names)
        self._on_loaded = on_loaded

    def open(self) -> None:
        """Watch imports."""
        sys.meta_path.insert(0, self)

    def close(self) -> None:
        """Watch no more imports."""
        with suppress(ValueError):  # other code has removed it
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return what the other finders find, for the *names*; see `importlib.abc.MetaPathFinder`."""
        if name not in self._names or name in sys.modules:
            return None
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                self._watch(name, spec.loader)
                return spec  # type: ignore[no-any-return]
        return None

    def _watch(self, name: str, loader: Any) -> None:
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return

        def exec_module(module: Any) -> None:
            with suppress(AttributeError):
                del loader.exec_module  # the loader is as it was, whatever happens
            execute(module)
            self._on_loaded(name)

        with suppress(AttributeError, TypeError):  # a loader without attributes of its own
            loader.exec_module = exec_module
