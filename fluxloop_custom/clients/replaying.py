"""
Answer the requests of model clients from a recording.

The answer is an HTTP response with the recorded JSON, which the SDK then reads as one from its provider: responses,
streams, helpers, parsed answers and raw responses are the SDK's own objects.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from fluxloop.bridge import Answer, Execution, ask, current, is_of_type, replaying, take_change

from . import forking, responding
from .requests import Reader, Request


def answering(send: Callable[..., Any], read: Reader) -> Callable[..., Any]:
    """Return *send*, the original method of an SDK, with requests answered where a replay is open in the context."""
    answered: Any
    if inspect.iscoroutinefunction(send):

        @wraps(send)
        async def answered(*args: Any, **kwargs: Any) -> Any:
            found = _found(read, args, kwargs)
            if found is None:
                return await _sent(send, read, args, kwargs)
            await found[1].await_()
            result = responding.respond(send.__name__, *found, args, kwargs)
            return await result if inspect.isawaitable(result) else result

    else:

        @wraps(send)
        def answered(*args: Any, **kwargs: Any) -> Any:
            found = _found(read, args, kwargs)
            if found is None:
                return _sent(send, read, args, kwargs)
            found[1].wait()
            return responding.respond(send.__name__, *found, args, kwargs)

    return answered  # type: ignore[no-any-return]


def guarded(send: Callable[..., Any], read: Reader, sdk: str) -> Callable[..., Any]:
    """Return *send*, the method of an SDK that is not instrumented, so that a replay fails instead of sending."""

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        replay = replaying.get()
        request = None if replay is None else read(*args, **kwargs)
        if replay is None or request is None:
            return
        endpoint = request.endpoint
        if not replay.runs_live(endpoint.type, endpoint.name, current()):
            raise replay.fail(
                f"a request of {endpoint.name} is not recorded here, so it has no answer, and it is not sent: call "
                f"fluxloop_custom.instrument_{sdk.replace('.', '_')}() before the run is recorded and before it is "
                "replayed, or name it in live="
            )

    checked: Any
    if inspect.iscoroutinefunction(send):

        @wraps(send)
        async def checked(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            return await send(*args, **kwargs)

    else:

        @wraps(send)
        def checked(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            return send(*args, **kwargs)

    return checked  # type: ignore[no-any-return]


def _sent(send: Callable[..., Any], read: Reader, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Send the request, with what a fork changes in it."""
    change = take_change()
    request = None if change is None else read(*args, **kwargs)
    if change is None or request is None:
        return send(*args, **kwargs)
    return send(*forking.changed(request, change, args), **kwargs)


def _found(read: Reader, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Request, Answer] | None:
    """Return the request of a call and its recorded answer; None if the request is to be sent."""
    if replaying.get() is None:
        return None
    request = read(*args, **kwargs)
    node = current()
    if request is None or not isinstance(node, Execution) or not is_of_type(node, request.endpoint.type):
        return None
    if node.spec.name != request.endpoint.name:
        return None  # inside a function that runs live
    found = ask(node)
    return None if found is None else (request, found)
