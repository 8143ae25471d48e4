"""
Exceptions that are raised into FluxLoop's code from outside.

A signal handler (an alarm, Ctrl-C, a worker's time limit) and ``PyThreadState_SetAsyncExc`` raise at any bytecode,
inside FluxLoop's frames too. Such an exception belongs to the program: the code that guards the program from
FluxLoop's own failures asks `was_raised_from_outside`, and raises it again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

_PARENT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

OUR_FOLDERS = tuple(
    os.path.join(_PARENT, package, "")
    for package in ("fluxloop", "fluxloop_langchain", "fluxloop_langgraph", "fluxloop_custom")
)
"""The folders of FluxLoop's packages, each with a separator at its end."""

_EMPTY_BY_NATURE = (MemoryError, AssertionError, StopIteration, StopAsyncIteration, RecursionError)
"""Exceptions that Python code and the interpreter raise without arguments."""


def was_raised_from_outside(exc: BaseException) -> bool:
    """
    Whether *exc*, caught in FluxLoop's code, was raised into this thread and is not a failure of what it ran.

    Anything but an ``Exception`` is. An ``Exception`` is where a signal handler is in its traceback, or where it was
    raised in a frame of FluxLoop's and cannot be one of FluxLoop's: injected exceptions are made from a class,
    without arguments, which no code here does.
    """
    if not isinstance(exc, Exception):
        return True
    codes = [frame.f_code for frame in _frames(exc)]
    foreign = [code for code in codes if not code.co_filename.startswith(OUR_FOLDERS)]
    if foreign and not _handler_codes().isdisjoint(foreign):
        return True
    is_ours = bool(codes) and (not foreign or codes[-1] is not foreign[-1])
    return is_ours and not exc.args and not isinstance(exc, _EMPTY_BY_NATURE)


def _frames(exc: BaseException) -> Iterator[FrameType]:
    traceback = exc.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _handler_codes() -> set[CodeType]:
    """Return the code of every Python signal handler that is installed."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return {code for handler in handlers if callable(handler) and (code := _code_of(handler)) is not None}


def _code_of(func: Any) -> CodeType | None:
    while not hasattr(func, "__code__"):
        inner = getattr(func, "func", None) or getattr(func, "__func__", None)  # of a partial, of a bound method
        if inner is None:
            func = type(func).__call__
            break
        func = inner
    code = getattr(func, "__code__", None)
    return code if isinstance(code, CodeType) else None
