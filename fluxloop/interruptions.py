"""
Recognise exceptions that are raised into FluxLoop's code from outside.

A signal handler (an alarm, Ctrl-C, the time limit of a worker) and ``PyThreadState_SetAsyncExc`` can raise at any
bytecode, also in FluxLoop's frames. Such an exception is meant for the program. Code that suppresses FluxLoop's own
failures therefore calls `was_raised_from_outside`, and re-raises such an exception.
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

_OFTEN_EMPTY = (MemoryError, AssertionError, StopIteration, StopAsyncIteration, RecursionError)
"""Exceptions that the interpreter and ordinary code raise without arguments."""

_traceback_of = BaseException.__dict__["__traceback__"].__get__
_args_of = BaseException.__dict__["args"].__get__
"""Read the attributes of an exception where it stores them: its class may have properties of these names."""


def was_raised_from_outside(exc: BaseException) -> bool:
    """
    Return whether *exc*, caught in FluxLoop's code, was raised into this thread from outside.

    That is true of every exception that is not an ``Exception``. An ``Exception`` comes from outside if its traceback
    contains a signal handler. An exception without arguments, such as an injected one, does so too if it was raised in
    a frame of FluxLoop, or in one of the standard library or pydantic at an instruction other than ``raise``.
    """
    if not issubclass(type(exc), Exception):
        return True
    last = _traceback_of(exc)
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
    if last is None or _args_of(exc) or issubclass(type(exc), _OFTEN_EMPTY):
        return False
    code = last.tb_frame.f_code
    return code.co_filename.startswith(OUR_FOLDERS) or (
        _is_library(code.co_filename) and code.co_code[last.tb_lasti] not in _RAISES
    )


def was_raised_by_a_value(exc: BaseException) -> bool:
    """
    Return whether *exc*, caught while code of a value ran, was raised by that code, and not meant for the program.

    Code of a value, such as ``__str__``, can also raise ``SystemExit`` or ``KeyboardInterrupt``. It does so with a
    ``raise``, or with arguments, as ``sys.exit(1)`` does; an injected exception has neither.
    """
    if issubclass(type(exc), Exception):
        return not was_raised_from_outside(exc)
    if was_raised_in_a_signal_handler(exc):
        return False
    last = _traceback_of(exc)
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return bool(_args_of(exc)) or (last is not None and last.tb_frame.f_code.co_code[last.tb_lasti] in _RAISES)


def was_raised_in_a_signal_handler(exc: BaseException) -> bool:
    """Return whether the traceback of *exc* contains a signal handler that is installed."""
    codes, last = set(), _traceback_of(exc)
    while last is not None:
        codes.add(last.tb_frame.f_code)
        last = last.tb_next
    return not _handler_codes().isdisjoint(codes)


def _is_library(filename: str) -> bool:
    """
    Whether the file belongs to the standard library or to pydantic, whose code FluxLoop runs.

    ``<string>`` is generated code: of named tuples and dataclasses, and of FluxLoop's functions that bind arguments.
    """
    if filename == "<string>" or f"{os.sep}pydantic{os.sep}" in filename:
        return True
    return filename.startswith((_STANDARD_LIBRARY, "<frozen ")) and "-packages" not in filename


def _handler_codes() -> set[CodeType]:
    """Return the code objects of all installed Python signal handlers."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return {code for handler in handlers if callable(handler) and (code := _code_of(handler)) is not None}


def _code_of(func: Any) -> CodeType | None:
    while not hasattr(func, "__code__"):
        inner = getattr(func, "func", None) or getattr(func, "__func__", None)  # a partial, a bound method
        if inner is None:
            func = type(func).__call__
            break
        func = inner
    code = getattr(func, "__code__", None)
    return code if isinstance(code, CodeType) else None
