"""
Run generators and coroutines for their consumers, and record them.

`drive_generator` and `drive_async_generator` give the same items, sends, throws and closes as the generator alone.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Protocol


def is_awaitable(code: object) -> bool:
    """Return whether the generators of *code* can be awaited: `types.coroutine` decorates its function."""
    return isinstance(code, types.CodeType) and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


class Followed(Protocol):
    """The recording of a stream, which receives its events. The methods never raise."""

    def resume(self) -> None:
        """Make the observation current, before the code of the stream runs."""

    def pause(self) -> None:
        """Restore the current node of the consumer."""

    def on_item(self, item: Any) -> Any:
        """Record *item* and return it."""

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """End the observation: the stream returned *value*, perhaps after it was *closed*. Return *value*."""

    def failed(self, exc: BaseException) -> None:
        """End the observation with the outcome of *exc*."""

    def raised(self, exc: BaseException) -> None:
        """Restore the current node of the consumer, then end the observation: the code of the stream raised *exc*."""

    def succeeded(self, value: Any) -> None:
        """End the observation with the result *value*."""

    def dropped(self) -> None:
        """End the observation: the stream was garbage-collected."""


Opened = tuple["Followed", Any]
"""The recording of a stream, and its generator."""


def drive_generator(
    call: Followed | None,
    start: Callable[[], Opened] | None = None,
    body: Any = None,
    *,
    is_exiting: Callable[[], bool] = sys.is_finalizing,
) -> Any:
    """
    Run a generator for its consumer, and record it.

    Args:
        call: The recording, if it has started.
        start: Starts the recording and the generator when the first item is requested; replaces *call* and *body*.
        body: The generator, if it exists already.
        is_exiting: Whether the interpreter exits, which closes generators that were left open. Nothing is recorded
            then, because the contents of modules may be gone; a default argument is not.
    """
    if start is not None:
        call, body = start()
    assert call is not None
    send = body.send
    sent = thrown = None
    closed = False
    try:
        while True:
            call.resume()
            try:
                item = send(sent) if thrown is None else body.throw(thrown)
            except StopIteration as stop:
                call.pause()
                return call.exhausted(stop.value, closed)
            call.pause()
            item = call.on_item(item)
            thrown = None
            try:
                sent = yield item
            except BaseException as exc:
                if is_exiting():
                    body.close()
                    raise
                # A close is thrown in like any exception. If the body yields another item then, this generator yields
                # it too, and the interpreter raises the same RuntimeError as for the body.
                closed = issubclass(type(exc), GeneratorExit)
                thrown = exc
            else:
                closed = False
    except BaseException as exc:
        thrown = None  # breaks a reference cycle: it may reference exc, whose traceback references this frame
        if not is_exiting():
            call.raised(exc)
        raise


async def drive_async_generator(
    call: Followed | None,
    start: Callable[[], Opened] | None = None,
    body: Any = None,
    *,
    is_exiting: Callable[[], bool] = sys.is_finalizing,
) -> AsyncGenerator[Any, Any]:
    """Do as `drive_generator`, for async generators."""
    if start is not None:
        call, body = start()
    assert call is not None
    sent = thrown = None
    closed = False
    try:
        while True:
            call.resume()
            try:
                item = await (body.asend(sent) if thrown is None else body.athrow(thrown))
            except StopAsyncIteration:
                call.pause()
                call.exhausted(None, closed)
                return
            call.pause()
            if item is None and body.ag_frame is None:
                # The event loop closed it during shutdown. A throw into a closed async generator returns None.
                call.exhausted(None, closed)
                return
            item = call.on_item(item)
            thrown = None
            try:
                sent = yield item
            except BaseException as exc:
                if is_exiting():
                    raise  # no event loop runs that could close the body
                closed = issubclass(type(exc), GeneratorExit)
                thrown = exc
            else:
                closed = False
    except BaseException as exc:
        thrown = None
        if not is_exiting():
            call.raised(exc)
        raise


async def drive_coroutine(
    call: Followed, body: Coroutine[Any, Any, Any], finish: Callable[[Followed, Any], Any]
) -> Any:
    """Await a coroutine that a plain function returned, and end *call* with its result, which *finish* does."""
    try:
        call.resume()
        value = await body
        call.pause()
        return finish(call, value)
    except BaseException as exc:
        call.raised(exc)
        raise


@types.coroutine
def drive_generator_coroutine(
    call: Followed, body: Generator[Any, Any, Any], finish: Callable[[Followed, Any], Any]
) -> Generator[Any, Any, Any]:
    """Do as `drive_coroutine`, for a generator that can be awaited: one of a function of `types.coroutine`."""
    try:
        call.resume()
        value = yield from body
        call.pause()
        return finish(call, value)
    except BaseException as exc:
        call.raised(exc)
        raise
