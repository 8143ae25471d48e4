"""An airline's support agent on a real ChatKitServer, with a store in memory and a scripted model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from agents import Agent, RunContextWrapper, Runner, function_tool
from chatkit.agents import AgentContext
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError, Store
from chatkit.types import Page, ThreadMetadata

from fluxloop import get_current_context
from fluxloop.models import ObservationData, ObservationType, Trace
from fluxloop_custom import chatkit
from fluxloop_custom.testing import Calls, Says, ScriptedModel


class MemoryStore(Store[Any]):
    """Threads and their items, in lists."""

    def __init__(self) -> None:
        self.threads: dict[str, Any] = {}
        self.items: dict[str, list[Any]] = {}

    async def load_thread(self, thread_id: str, context: Any) -> Any:
        if thread_id not in self.threads:
            raise NotFoundError(thread_id)
        return self.threads[thread_id]

    async def save_thread(self, thread: Any, context: Any) -> None:
        self.threads[thread.id] = thread

    async def load_thread_items(self, thread_id: str, after: Any, limit: int, order: str, context: Any) -> Any:
        items = self.items.get(thread_id, [])
        return Page(data=(items[::-1] if order == "desc" else items)[:limit], has_more=False, after=None)

    async def add_thread_item(self, thread_id: str, item: Any, context: Any) -> None:
        self.items.setdefault(thread_id, []).append(item)

    async def save_item(self, thread_id: str, item: Any, context: Any) -> None:
        items = self.items.setdefault(thread_id, [])
        self.items[thread_id] = [item if each.id == item.id else each for each in items]

    async def load_item(self, thread_id: str, item_id: str, context: Any) -> Any:
        return next(item for item in self.items[thread_id] if item.id == item_id)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: Any) -> None:
        self.items[thread_id] = [item for item in self.items.get(thread_id, []) if item.id != item_id]

    async def load_threads(self, limit: int, after: Any, order: str, context: Any) -> Any:
        return Page(data=list(self.threads.values()), has_more=False, after=None)

    async def delete_thread(self, thread_id: str, context: Any) -> None:
        del self.threads[thread_id]

    async def save_attachment(self, attachment: Any, context: Any) -> None: ...

    async def load_attachment(self, attachment_id: str, context: Any) -> Any:
        raise NotFoundError(attachment_id)

    async def delete_attachment(self, attachment_id: str, context: Any) -> None: ...


class State:
    """The airline's own state."""

    def cancel_trip(self, thread_id: str) -> str:
        return f"The trip of {thread_id} is cancelled."


state_manager = State()


def get_thread_id(ctx: Any) -> str:
    return str(ctx.context.thread.id)


@function_tool(
    description_override="Cancel the traveller's upcoming trip and note the refund.",
)
async def cancel_trip(ctx: RunContextWrapper[AgentContext]) -> dict:  # type: ignore[type-arg]
    """ChatKit tool with FluxLoop instrumentation."""
    fl_ctx = get_current_context()
    obs = None
    if fl_ctx and fl_ctx.is_enabled():
        obs = ObservationData(
            type=ObservationType.TOOL,
            name="tool.cancel_trip",
            input={"args": {}},
        )
        fl_ctx.push_observation(obs)
    try:
        message = state_manager.cancel_trip(get_thread_id(ctx))
        result = {"result": message}
        if obs:
            obs.output = result
        return result
    except Exception as e:
        if obs:
            obs.error = str(e)
        raise
    finally:
        if fl_ctx and obs:
            fl_ctx.pop_observation()


def desk(*turns: Any, tools: Any = (cancel_trip,), **options: Any) -> Agent[Any]:
    """Return the airline's agent; by default, it cancels the trip and confirms it."""
    model = ScriptedModel(*(turns or (Calls("cancel_trip"), Says("Your trip is cancelled"))))
    return Agent(name="Desk", model=model, tools=list(tools), **options)


class Airline(ChatKitServer[Any]):
    """Answers with a scripted agent; *stream* replaces FluxLoop's `stream_agent_response`."""

    def __init__(self, agent: Agent[Any], *, stream: Any = chatkit.stream_agent_response) -> None:
        super().__init__(MemoryStore())
        self.agent, self.stream = agent, stream

    async def respond(self, thread: ThreadMetadata, item: Any, context: Any) -> AsyncIterator[Any]:
        agent_context = AgentContext(thread=thread, store=self.store, request_context=context)
        result = Runner.run_streamed(self.agent, "cancel my trip", context=agent_context)
        async for event in self.stream(agent_context, result):
            yield event


class TracedAirline(Airline):
    """The same, with its responses recorded."""

    respond = chatkit.traced_respond(Airline.respond)


async def ask(server: ChatKitServer[Any], text: str = "Cancel my trip, please", thread: str | None = None) -> list[Any]:
    """Send a user's message, and return the events of the answer."""
    message = {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}
    params: dict[str, Any] = {"input": message}
    if thread is not None:
        params["thread_id"] = thread
    request = {"type": "threads.add_user_message" if thread else "threads.create", "params": params}
    result = await server.process(json.dumps(request), {})
    assert isinstance(result, StreamingResult)
    return [json.loads(line.removeprefix(b"data: ")) async for line in result]


def thread_of(name: str) -> ThreadMetadata:
    """Return a thread's metadata."""
    return ThreadMetadata(id=name, created_at=datetime(2026, 1, 17))


def named(trace: Trace, name: str) -> ObservationData:
    """Return the only observation of that name."""
    (found,) = (o for o in trace.observations if o.name == name)
    return found
