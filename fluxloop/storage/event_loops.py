"""
Blocking calls on the thread of an event loop that forbids them.

Guards such as ``blockbuster``, which ``langgraph dev`` switches on, replace functions of `os` with functions that
raise on a thread whose event loop runs. They allow writes to a non-blocking descriptor, and none of what precedes the
first write: making the folder, looking at a path. `unguarded` makes such calls in a helper thread there, and waits:
the call takes the time it takes without a guard, and its record is in the file when the traced function returns.
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
    """Return what *call* returns, called in a helper thread where a guard forbids it to block this one."""
    if not _is_guarded():
        return call(*args, **kwargs)
    # The guard forbids to wait for a lock as well, and leaves this queue alone, which waits in C.
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
    return result  # type: ignore[return-value]  # there was no error, so this is what the call returned


def _is_guarded() -> bool:
    """Whether an event loop runs in this thread, and functions of `os` were replaced."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None or all(isinstance(function, BuiltinFunctionType) for function in (os.stat, os.mkdir)):
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
