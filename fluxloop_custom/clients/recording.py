"""
Record the requests of a model's client: one observation each, from the request to the end of its stream.

Where the request is made inside an observation of the same type, that is the same call: the GENERATION of a framework,
which reports the call itself, or a function with `prompt`, which gets what the response reports.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from fluxloop import FluxLoopClient, ObservationType
from fluxloop.bridge import (
    Execution,
    Node,
    Spec,
    begin,
    is_of_type,
    model_call_locators,
    was_raised_from_outside,
)

from .calls import ClientCall, ClientStreamItems, MergedCall, RecordedCall
from .requests import Reader, Request


def recorded(send: Callable[..., Any], read: Reader, client: FluxLoopClient) -> Callable[..., Any]:
    """
    Return *send*, the method by which a client sends its requests, with every model call recorded.

    Args:
        send: A function or a coroutine function; its first argument is the client.
        read: Is given its arguments and returns the request.
        client: The client whose traces are recorded into.
    """
    recorded_send: Any
    if inspect.iscoroutinefunction(send):

        async def recorded_send(*args: Any, **kwargs: Any) -> Any:
            call = None
            try:
                call = _begin(read, client, args, kwargs)
                if call is None:
                    return await send(*args, **kwargs)
                call.enter()
                return call.returned(await send(*call.request.args, **call.request.kwargs))
            except BaseException as exc:
                if call is not None:
                    call.raised(exc)
                raise

    else:

        def recorded_send(*args: Any, **kwargs: Any) -> Any:
            call = None
            try:
                call = _begin(read, client, args, kwargs)
                if call is None:
                    return send(*args, **kwargs)
                call.enter()
                return call.returned(send(*call.request.args, **call.request.kwargs))
            except BaseException as exc:
                if call is not None:
                    call.raised(exc)
                raise

    return wraps(send)(recorded_send)


def _begin(read: Reader, client: FluxLoopClient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ClientCall | None:
    """Begin to record a request; None if it is none of a model call, or is recorded already, or not to be recorded."""
    if not client.switch.on:
        return None
    try:
        request = read(*args, **kwargs)
        if request is None:
            return None
        around = _enclosing(client, request.endpoint.type)
        if around is not None:
            is_prompt = isinstance(around, Execution) and around.spec.read_facts is not None
            return MergedCall(request, cast("Execution", around)) if is_prompt else None
        node = begin(_spec(request, client), (request.endpoint.question(request.body),), {})
        return None if node is None else RecordedCall(request, node)
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
        client.record_failure("beginning it", exc)
        return None


def _enclosing(client: FluxLoopClient, kind: ObservationType) -> Node | None:
    """Return the observation that is this call already, of a framework or a function of the user's."""
    here = client.current_node()
    for locate in model_call_locators:
        here = locate(here)
    here = here if client.is_default else client.own_innermost(here)
    return here if here is not None and is_of_type(here, kind) else None


def _spec(request: Request, client: FluxLoopClient) -> Spec:
    return Spec(
        client,
        request.endpoint.type,
        request.endpoint.name,
        opens_trace=True,
        bind=lambda question: question,
        stream_items=lambda observation: ClientStreamItems(observation, request),
    )
