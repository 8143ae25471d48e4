"""
Run a recorded trace against the code of today, and compare the two trees.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import ndiff
from importlib import import_module
from typing import Any

from ..errors import ReplayError, ReplayMismatch
from ..models import Trace
from ..testing import capture, outline
from .block import replay
from .matching import Match
from .session import ReplayReport


@dataclass(frozen=True, slots=True)
class Rerun:
    """A recorded trace, run again."""

    target: str
    then: str
    """The outline of the recorded trace."""
    now: str
    """The outline of the run of today."""
    report: ReplayReport
    error: str | None
    """The exception of the run, if it raised another one than the recorded run."""

    @property
    def is_same(self) -> bool:
        """Whether both trees and all calls are the same."""
        return self.then == self.now and self.report.is_same

    def diff(self) -> list[str]:
        """Return the lines of both outlines, those of the recorded one with ``-`` and of today's with ``+``."""
        return [line for line in ndiff(self.then.splitlines(), self.now.splitlines()) if not line.startswith("?")]

    def first_divergence(self) -> str | None:
        """Return the first difference; None if there is none."""
        changed = next((line for line in self.diff() if line[:1] in "+-"), None)
        return self.report.first_divergence or changed


def rerun(trace: Trace, target: str | None = None, *, match: Match = "strict", live: Sequence[str] = ()) -> Rerun:
    """
    Run the function *target* with the recorded input of *trace*, its calls answered from the recording.

    Args:
        trace: The recorded trace.
        target: ``module:function``; by default the recorded entry point.
        match: See `fluxloop.replay`.
        live: See `fluxloop.replay`.

    Raises:
        ReplayError: If the function is not known, cannot be imported, or does not take the recorded input.
    """
    root = next(iter(trace.roots), None)
    known = root.metadata.get("target") if root is not None else None
    name = target or (known if isinstance(known, str) else None)
    if root is None or name is None:
        raise ReplayError(
            "the trace does not have its entry point: name it with --target module:function. "
            "Traces that are recorded with replayable=True have it"
        )
    func = function_at(name)
    args, kwargs = arguments_for(func, root.input, name)
    error: str | None = None
    block = replay(trace, match=match, live=live)
    with capture() as captured:
        try:
            with block:
                _run(func, args, kwargs)
        except ReplayMismatch as mismatch:
            error = str(mismatch)
        except Exception as raised:
            if root.error is None or str(raised) != root.error:
                error = f"{type(raised).__name__}: {raised}"
        now = captured.outline()
    return Rerun(name, outline(trace), now, block.report(), error)


def function_at(name: str) -> Any:
    """
    Import the function at ``module:function``.

    Raises:
        ReplayError: If there is none.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise ReplayError(f"a target is module:function, got {name!r}")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except ImportError as missing:
        raise ReplayError(
            f"cannot import {module!r}: {missing}. Run the command where `import {module}` works"
        ) from None
    except AttributeError:
        raise ReplayError(f"the module {module!r} has no {path!r}") from None
    if not callable(found):
        raise ReplayError(f"{name} is a {type(found).__name__}, not a function")
    return found


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


def _run(func: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
    result = func(*args, **kwargs)
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
