"""
Callback methods that langchain-core calls where the event happens, in sync and in async runs alike.

On an async run langchain-core awaits a handler's method if it is a coroutine function, and otherwise sends it
to a thread, which is dearer by far and leaves the order of events to chance. On a sync run it starts an event
loop for what a coroutine function returned. A method that does its work when it is called, looks like a coroutine
function, and returns something that can be awaited but is no coroutine, is cheap and in order on both.

The flag ``run_inline`` would do as much, but makes langchain-core skip everybody else's ``on_llm_start``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

M = TypeVar("M", bound=Callable[..., Any])


class _Done:
    """Can be awaited, at once and as often as you like."""

    __slots__ = ()

    def __await__(self) -> Iterator[None]:
        return iter(())


DONE: Final = _Done()
"""What a method marked by `in_place` returns."""


def in_place(method: M) -> M:
    """
    Mark *method*, a plain function that returns `DONE`, as one to be called where its event happens.

    Subclasses of our handler use it too: an unmarked method works as well, from a thread on async runs.
    """
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(method)
    # 3.11 knows no such mark and asks the code object. The flag is for readers only: since 3.11 it is
    # the code's first instruction that makes a coroutine.
    code = method.__code__
    method.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    return method
