"""
Exceptions that are raised into FluxLoop's code from outside.

A signal handler (an alarm, Ctrl-C, a worker's time limit) and ``PyThreadState_SetAsyncExc`` raise at any bytecode,
inside FluxLoop's frames too. Such an exception belongs to the program: the code that guards the program from
FluxLoop's own failures asks `was_raised_from_outside`, and raises it again.
"""

from __future__ import annotations

import os
import signal
from opcode import opmap
from types import CodeType
from typing import Any

_PARENT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

OUR_FOLDERS = tuple(
    os.path.join(_PARENT, package, "")
    for package in ("fluxloop", "fluxloop_langchain", "fluxloop_langgraph", "fluxloop_custom")
)
"""The folders of FluxLoop's packages, each with a separator at its end."""

_STANDARD_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_RAISES = {opmap["RAISE_VARARGS"], opmap["RERAISE"]}

_EMPTY_BY_NATURE = (MemoryError, AssertionError, StopIteration, StopAsyncIteration, RecursionError)
"""Exceptions that Python code and the interpreter raise without arguments."""


def was_raised_from_outside(exc: BaseException) -> bool:
    """
    Whether *exc*, caught in FluxLoop's code, was raised into this thread and is not a failure of what it ran.

    Anything but an ``Exception`` is. An ``Exception`` is if a signal handler is in its traceback, or if it has no
    arguments, as injected exceptions, and was raised in a frame of FluxLoop's, which raises none of these, or of the
    standard library's at an instruction that is not a ``raise``.
    """
    if not isinstance(exc, Exception):
        return True
    last = exc.__traceback__
    codes: set[CodeType] = set()
    while last is not None:
        code = last.tb_frame.f_code
        if not code.co_filename.startswith(OUR_FOLDERS):
            codes.add(code)
        if last.tb_next is None:
            break
        last = last.tb_next
    if codes and not _handler_codes().isdisjoint(codes):
        return True
    if last is None or exc.args or isinstance(exc, _EMPTY_BY_NATURE):
        return False
    code = last.tb_frame.f_code
    return code.co_filename.startswith(OUR_FOLDERS) or (
        _is_standard(code.co_filename) and code.co_code[last.tb_lasti] not in _RAISES
    )


def _is_standard(filename: str) -> bool:
    return filename.startswith((_STANDARD_LIBRARY, "<frozen ")) and "-packages" not in filename


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
