"""
ChatKit: what a server's response put into the thread, under the thread's id as the session.

`traced_respond` goes on the server's ``respond`` and ``action``, `stream_agent_response` takes the place of ChatKit's
function of that name. Both hand every event on as it is, and record what came of them: see
`fluxloop_custom.chatkit.thread_items`. For what the agent did, `fluxloop_custom.openai_agents.install` is needed too.
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

from .thread_items import ThreadNotes

__all__ = ["stream_agent_response", "traced_respond"]

F = TypeVar("F", bound=Callable[..., AsyncIterator[Any]])


@wraps(chatkit_agents.stream_agent_response)
async def stream_agent_response(context: Any, result: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """
    As ChatKit's own: the same events and errors, and recorded as a SPAN where a trace is open.

    It belongs to the trace that is open here, else to that of the run it streams; where neither is recorded,
    nothing is. The trace's session becomes the thread's id, unless the program named one.

    Args:
        context: The `AgentContext`.
        result: What ``Runner.run_streamed`` returned.
        options: ChatKit's own, such as ``converter``.
    """
    async with aclosing(_recorded_stream(context, result, **options)) as events:
        run = await _run_of(result) if get_current_context() is None else None
        with current_is(run) if run is not None else nullcontext():
            first = await anext(events, _NOTHING_CAME)
        if first is _NOTHING_CAME:
            return
        yield first
        async for event in events:
            yield event


_NOTHING_CAME: Any = object()


async def _run_of(result: Any) -> OpenObservation | None:
    """Return the observation of the agent's run, where one is recorded and no trace is open around us."""
    openai_agents = sys.modules.get("fluxloop_custom.openai_agents.processor")
    if openai_agents is None:
        return None
    await asyncio.sleep(0)  # the run is a task, which the SDK begins, and tells of, only when the loop gets to it
    observation: OpenObservation | None = openai_agents.observation_of(result)
    return observation


async def _stream(context: Any, result: Any, **options: Any) -> AsyncGenerator[Any, None]:
    _belongs_to(context.thread)
    events: Any = chatkit_agents.stream_agent_response(context, result, **options)
    async with aclosing(events):
        async for event in events:
            yield event


_recorded_stream = recording(
    _stream,
    ObservationType.SPAN,
    "stream_agent_response",
    bind=lambda context, *_, **__: {"thread_id": context.thread.id},
    stream_items=ThreadNotes,
)


@overload
def traced_respond(name: F, /) -> F: ...
@overload
def traced_respond(name: str | None = None, *, client: FluxLoopClient | None = None) -> Callable[[F], F]: ...
def traced_respond(name: Any = None, *, client: FluxLoopClient | None = None) -> Any:
    """
    Record each call of a `ChatKitServer`'s ``respond``, or ``action``, as AGENT; opens a trace where none is open.

    Goes on the method, bare or called. Its agent runs and tools nest inside; the session is the thread's id.

    Args:
        name: The observation's name; the method's by default.
        client: Whose settings and storage to record with.

    Raises:
        DecorationError: If it is put on something that streams no events, such as ``sync_action``.
    """
    if name is None or isinstance(name, str):
        return lambda respond: _traced(respond, name, client)
    return _traced(name, None, client)


def _traced(respond: F, name: str | None, client: FluxLoopClient | None) -> F:
    if not inspect.isroutine(respond) or inspect.iscoroutinefunction(respond):
        raise DecorationError(
            f"traced_respond takes a method that streams events, as respond and action do, got {respond!r}: "
            "for one that is awaited, such as sync_action, take @fluxloop.agent"
        )

    @wraps(respond)
    async def responding(self: Any, thread: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        _belongs_to(thread)
        events: Any = respond(self, thread, *args, **kwargs)
        async with aclosing(events) if hasattr(events, "aclose") else nullcontext():
            async for event in events:
                yield event

    given = {"client": client} if client is not None else {}
    name = name or respond.__name__
    traced: F = recording(
        responding, ObservationType.AGENT, name, opens_trace=True, bind=_asked, stream_items=ThreadNotes, **given
    )
    return traced


def _belongs_to(thread: Any) -> None:
    """Let the trace that is open here belong to *thread*."""
    here = recording_here()
    if here is not None:
        name_session(here.trace, str(thread.id))


def _asked(_server: Any, thread: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return what is captured of a call: the thread, and what the user wrote, or did with a widget."""
    given: Any = next(iter((*args, *kwargs.values())), None)
    if hasattr(given, "payload"):
        return {"thread_id": thread.id, "action": given.type, "payload": given.payload}
    content = getattr(given, "content", None)
    words = [part.text for part in content or () if isinstance(getattr(part, "text", None), str)]
    asked = {"thread_id": thread.id, "message": "\n".join(words) if content is not None else None}
    if quoted := getattr(given, "quoted_text", None):
        asked["quoted_text"] = quoted
    if attached := getattr(given, "attachments", None):
        asked["attachments"] = [{"name": each.name, "mime_type": each.mime_type} for each in attached]
    return asked
