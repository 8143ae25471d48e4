"""
The entry point of a recorded trace: the function that was run, and its recorded arguments.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..errors import ReplayError, ReplayMismatch
from ..models import Trace
from ..testing import Captured, SystemClock, capture


@dataclass(frozen=True, slots=True)
class Entry:
    """A function and the recorded input to call it with."""

    name: str
    function: Any
    input: Any
    error: str | None
    """The text of the exception that the recorded run raised, if it did."""

    def call(self) -> None:
        """Call the function, and read or await what it returns to its end."""
        args, kwargs = arguments_for(self.function, copy.deepcopy(self.input), self.name)
        _finish(self.function(*args, **kwargs))

    def run(self, block: AbstractContextManager[Any], **settings: Any) -> tuple[Captured, str | None]:
        """
        Call the function in *block*.

        Returns:
            The records of the run; and its exception as text, if it raised another one than the recorded run.
        """
        error: str | None = None
        with capture(clock=SystemClock(), **settings) as captured:
            try:
                with block:
                    self.call()
            except ReplayMismatch as mismatch:
                error = str(mismatch)
            except ReplayError:
                raise
            except Exception as raised:
                if self.error is None or str(raised) != self.error:
                    error = f"{type(raised).__name__}: {raised}"
        return captured, error


def entry_of(trace: Trace, target: str | None = None) -> Entry:
    """
    Return the entry point of *trace*, or the function *target* with the recorded input.

    Args:
        trace: The recorded trace.
        target: ``module:function``, ``module:Class.method`` or an object with ``invoke``.

    Raises:
        ConfigError: If the function cannot be imported.
        ReplayError: If the function is not known, or does not take the recorded input.
    """
    root = next(iter(trace.roots), None)
    known = root.metadata.get("target") if root is not None else None
    name = target or (known if isinstance(known, str) else None)
    if root is None or name is None:
        raise ReplayError(
            f"the entry point of trace {trace.trace_id} is not recorded: name it with --target module:function, or "
            "record the run with replayable=True"
        )
    function = function_at(name)
    arguments_for(function, root.input, name)
    return Entry(name, function, root.input, root.error)


def function_at(name: str, option: str = "--target") -> Any:
    """
    Import what *name* names, and return what to call.

    Args:
        name: ``module:function``, ``module:Class.method`` or an object with ``invoke``.
        option: The option that has the name, for messages.

    Raises:
        ConfigError: If it cannot be imported or called.
    """
    from ..experiments.configuration.models import Runner
    from ..experiments.targets import find_target

    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    return find_target(Runner(target=name), option).for_run()


def arguments_for(func: Any, given: Any, name: str) -> tuple[list[Any], dict[str, Any]]:
    """
    Return the arguments with which *func* is called for the recorded input *given*.

    Raises:
        ReplayError: If it takes other arguments.
    """
    signature = inspect.signature(func)
    args: list[Any] = []
    kwargs: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and isinstance(kwargs.get(parameter.name), dict):
            kwargs |= kwargs.pop(parameter.name)
    if not signature.parameters:
        return [], {}
    if not isinstance(given, dict) and given is not None:
        args, kwargs = [given], {}
    try:
        signature.bind(*args, **kwargs)
    except TypeError as problem:
        if isinstance(given, dict):
            try:
                signature.bind(given)
            except TypeError:
                raise ReplayError(f"{name} does not take the recorded input {list(given)}: {problem}") from None
            return [given], {}
        raise ReplayError(f"{name} does not take the recorded input: {problem}") from None
    return args, kwargs


def _finish(result: Any) -> None:
    """Read or await *result* to its end, if it is a generator or a coroutine."""
    if inspect.isasyncgen(result):

        async def read() -> None:
            async for _ in result:
                pass

        asyncio.run(read())
    elif inspect.isgenerator(result):
        for _ in result:
            pass
    elif inspect.iscoroutine(result):
        asyncio.run(result)
