"""
Answer decorated functions, of every call shape, and keep their answers whole for a later replay.

Both are interceptors of the recording path: they see a call that is recorded, and return the function to run for it.
"""

from __future__ import annotations

import functools
import inspect
import typing
from asyncio import ensure_future
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ..answering import Answer, Change, question_of, replaying, take_change
from ..models import ObservationData
from ..tracing.executions import Execution
from ..tracing.observation import OpenObservation
from .recording import ANSWERED
from .session import Session


def answer(call: Execution, func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the recorded outcome of *call*; *func* itself if no replay is open here."""
    session = replaying.get()
    observation = call.observation
    if not isinstance(session, Session) or observation is None:
        return func
    if call.spec.type not in ANSWERED:
        session.pair(observation)
        return func
    question = question_of(observation)

    def found() -> Answer | None:
        return session.ask(question)

    def run(*args: Any, **kwargs: Any) -> Any:
        change = take_change()
        return func(*args, **kwargs) if change is None else _changed(func, change, session)(*args, **kwargs)

    return _outcome(func, found, run)


def note_start(observation: OpenObservation) -> None:
    """Note that *observation* starts."""
    session = replaying.get()
    if isinstance(session, Session):
        session.matching.started.add(observation)


def note_manual(data: ObservationData) -> None:
    """Note that the program recorded *data* itself, without a call that could be answered."""
    session = replaying.get()
    if isinstance(session, Session):
        session.note_manual(data.type, data.name)


def _changed(func: Callable[..., Any], change: Change, session: Session) -> Callable[..., Any]:
    """Return *func* with the input or the model of a fork."""
    if callable(change.model):
        model: Callable[..., Any] = change.model
        return model
    name = getattr(func, "__qualname__", repr(func))

    def run(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(func).bind(*args, **kwargs)
        own = [name for name in bound.signature.parameters if name not in ("self", "cls")]
        wanted = {"model": change.model} if change.model is not None else change.input
        if not isinstance(wanted, dict):
            wanted = {next(iter(own), "input"): wanted}
        if unknown := [each for each in wanted if each not in own]:
            raise session.fail(
                f"fork: {name} has no parameter {unknown[0]!r}, it has {', '.join(own) or 'none'}. As model=, give the "
                "value of its parameter 'model', or a function with the same parameters"
            )
        bound.arguments.update(wanted)
        return func(*bound.args, **bound.kwargs)

    return run


def _outcome(
    func: Callable[..., Any], ask: Callable[[], Answer | None], run_live: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function of the call shape of *func* that has the outcome which *ask* returns, or runs *func*."""
    if inspect.isasyncgenfunction(func):

        async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            found = ask()
            async for item in run_live(*args, **kwargs) if found is None else found.aplay(found.items()):
                yield item

        return stream

    if inspect.isgeneratorfunction(func):

        def generate(*args: Any, **kwargs: Any) -> Any:
            found = ask()
            if found is None:
                return (yield from run_live(*args, **kwargs))
            yield from found.play(found.items())
            return found.stream.get("returned")

        return generate

    if inspect.iscoroutinefunction(func):

        async def run(*args: Any, **kwargs: Any) -> Any:
            found = ask()
            if found is None:
                return await run_live(*args, **kwargs)
            await found.await_()
            return _result(func, found)

        return run

    def call(*args: Any, **kwargs: Any) -> Any:
        found = ask()
        if found is None:
            return run_live(*args, **kwargs)
        shape = found.whole.get("shape") or _shape_of(func, found)
        if shape in ("coroutine", "task"):
            pending = _awaitable(func, found)
            return pending if shape == "coroutine" else ensure_future(pending)
        found.wait() if not found.is_stream else None
        return _result(func, found, shape)

    return call


def _result(func: Callable[..., Any], found: Answer, shape: str | None = None) -> Any:
    """Return the recorded result, a stream if it was one, or raise the recorded error."""
    if found.is_stream:
        items = found.items()
        is_async = (shape or found.whole.get("shape") or _shape_of(func, found)) == "async generator"
        return found.aplay(items) if is_async else found.play(items)
    if (error := found.error()) is not None:
        raise error
    return found.value() if "value" in found.whole else _annotated(func, found.value())


async def _awaitable(func: Callable[..., Any], found: Answer) -> Any:
    await found.await_()
    return _result(func, found)


def _hint(func: Callable[..., Any]) -> Any:
    try:
        return _known_hint(func)
    except TypeError:  # a callable that has no hash
        return None


@functools.lru_cache(maxsize=1_024)
def _known_hint(func: Callable[..., Any]) -> Any:
    try:
        return typing.get_type_hints(func).get("return")
    except Exception:  # of a name that only type checkers see
        return None


def _shape_of(func: Callable[..., Any], found: Answer) -> str | None:
    """Return what a plain function returns, by its annotation: the kind of its stream or coroutine."""
    origin = typing.get_origin(_hint(func)) or _hint(func)
    if not isinstance(origin, type):
        return None
    if found.is_stream:
        return "async generator" if hasattr(origin, "__aiter__") else "generator"
    if hasattr(origin, "add_done_callback"):
        return "task"
    return "coroutine" if issubclass(origin, Awaitable) else None


def _annotated(func: Callable[..., Any], value: Any) -> Any:
    """Return *value*, recorded as plain data, as an object of the class that the annotation of *func* names."""
    hint = _hint(func)
    if value is None or hint is None or type(value) is hint:
        return value
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(hint).validate_python(value)
    except Exception:  # an annotation that pydantic has no schema for, or that the value does not fit
        return value
