"""
Wrappers that record a ChatKit server's responses, with the thread's id as the session.

`traced_respond` decorates the server's ``respond`` and ``action``; `stream_agent_response` replaces ChatKit's function
of that name. Both pass every event on unchanged; `fluxloop_custom.chatkit.thread_items` records them. The agent's run
is recorded by `fluxloop_custom.openai_agents.install`.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from functools import wraps
from typing import Any, TypeVar, overload

from chatkit import agents as chatkit_agents

from fluxloop import FluxLoopClient, ObservationType, get_current_context
from fluxloop.bridge import OpenObservation, current_is, name_session, recording, recording_here
from fluxloop.errors import DecorationError

from . import internals
from .thread_items import ThreadItems

__all__ = ["stream_agent_response", "traced_respond"]

F = TypeVar("F", bound=Callable[..., AsyncIterator[Any]])


@wraps(chatkit_agents.stream_agent_response)
async def stream_agent_response(context: Any, result: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """
    Yield the events of ChatKit's function of this name, and record them as a SPAN if a trace is open.

    The SPAN belongs to the trace that is open here, else to the trace of the run it streams; if neither is recorded,
    nothing is. The session of the trace becomes the thread's id, unless the program set one.

    Args:
        context: The `AgentContext`.
        result: What ``Runner.run_streamed`` returned.
        options: ChatKit's own, such as ``converter``.
    """
    async with aclosing(_recorded_stream(context, result, **options)) as events:
        run = await _run_of(result) if get_current_context() is None else None
        with current_is(run) if run is not None else nullcontext():
            first = await anext(events, _NO_EVENT)
        if first is _NO_EVENT:
            return
        yield first
        async for event in events:
            yield event


_NO_EVENT: Any = object()


async def _run_of(result: Any) -> OpenObservation | None:
    """Return the observation of the streamed run; None if it is not recorded."""
    openai_agents = sys.modules.get("fluxloop_custom.openai_agents.processor")
    if openai_agents is None:
        return None
    await asyncio.sleep(0)  # the SDK runs the agent in a task, which reports its trace when the event loop starts it
    observation: OpenObservation | None = openai_agents.observation_of(internals.trace_id_of(result))
    return observation


async def _stream(context: Any, result: Any, **options: Any) -> AsyncGenerator[Any, None]:
    _set_session(internals.thread_of(context))
    events: Any = chatkit_agents.stream_agent_response(context, result, **options)
    async with aclosing(events):
        async for event in events:
            yield event


_recorded_stream = recording(
    _stream,
    ObservationType.SPAN,
    "stream_agent_response",
    bind=lambda context, *_, **__: {"thread_id": internals.thread_id(internals.thread_of(context))},
    stream_items=ThreadItems,
)


@overload
def traced_respond(name: F, /) -> F: ...
@overload
def traced_respond(name: str | None = None, *, client: FluxLoopClient | None = None) -> Callable[[F], F]: ...
def traced_respond(name: Any = None, *, client: FluxLoopClient | None = None) -> Any:
    """
    Record each call of a `ChatKitServer`'s ``respond`` or ``action`` as an AGENT, in a new trace if none is open.

    It decorates the method, bare or called. Agent runs and tools nest inside; the session is the thread's id.

    Args:
        name: The observation's name; the method's by default.
        client: The client whose settings and storage are used.

    Raises:
        DecorationError: If the method streams no events, as ``sync_action``.
    """
    if name is None or isinstance(name, str):
        return lambda respond: _traced(respond, name, client)
    return _traced(name, None, client)


def _traced(respond: F, name: str | None, client: FluxLoopClient | None) -> F:
    if not inspect.isroutine(respond) or inspect.iscoroutinefunction(respond):
        raise DecorationError(
            f"traced_respond takes a method that streams events, such as respond or action, got {respond!r}; "
            "for one that is awaited, such as sync_action, use @fluxloop.agent"
        )

    @wraps(respond)
    async def responding(self: Any, thread: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        _set_session(thread)
        events: Any = respond(self, thread, *args, **kwargs)
        async with aclosing(events) if hasattr(events, "aclose") else nullcontext():
            async for event in events:
                yield event

    given = {"client": client} if client is not None else {}
    name = name or respond.__name__
    traced: F = recording(
        responding, ObservationType.AGENT, name, opens_trace=True, bind=_request, stream_items=ThreadItems, **given
    )
    return traced


def _set_session(thread: Any) -> None:
    """Make the id of *thread* the session of the trace that is open here."""
    here, session = recording_here(), internals.thread_id(thread)
    if here is not None and session is not None:
        name_session(here.trace, session)


def _request(_server: Any, thread: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the input of a response: the thread's id, and the user's message or action."""
    return {"thread_id": internals.thread_id(thread), **internals.request(next(iter((*args, *kwargs.values())), None))}
