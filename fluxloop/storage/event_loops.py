"""
Make blocking calls on event loops that forbid them.

Guards such as ``blockbuster``, which ``langgraph dev`` enables, replace functions of `os` with functions that raise on
the thread of a running event loop. They allow writes to a non-blocking descriptor, but not creating a folder or
inspecting a path. `unguarded` makes such a call in a helper thread and waits for it, so that the record is in the file
when the recorded function returns.
"""

from __future__ import annotations

import os
import sys
from _thread import start_new_thread
from collections.abc import Callable
from queue import SimpleQueue
from types import BuiltinFunctionType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def unguarded(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call *call* and return its result; use a helper thread if a guard forbids blocking calls in this one."""
    if not _is_guarded():
        return call(*args, **kwargs)
    # The guard also forbids waiting for locks, but does not replace this queue, which is implemented in C.
    outcomes: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((call(*args, **kwargs), None))
        except BaseException as exc:
            outcomes.put((None, exc))

    start_new_thread(run, ())
    result, error = outcomes.get()
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # without an error, this is the result


def _is_guarded() -> bool:
    """Return whether an event loop runs in this thread and functions of `os` were replaced."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None or all(isinstance(function, BuiltinFunctionType) for function in (os.stat, os.mkdir)):
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
