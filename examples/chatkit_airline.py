"""The airline of the guide on a real ChatKit server; the session is the thread's id. Only the model is scripted."""

import asyncio

from agents import Agent, RunContextWrapper, Runner, function_tool
from chatkit.agents import AgentContext
from chatkit.server import ChatKitServer
from support.memory_store import MemoryStore, message

import fluxloop
from fluxloop.testing import outline
from fluxloop_custom.chatkit import stream_agent_response, traced_respond
from fluxloop_custom.openai_agents import install
from fluxloop_custom.testing import Calls, Says, ScriptedModel


@fluxloop.tool(name="tool.cancel_trip")
@function_tool(description_override="Cancel the traveller's upcoming trip and note the refund.")
async def cancel_trip(ctx: RunContextWrapper[AgentContext]) -> dict:
    return {"result": "cancelled, 120 EUR refunded"}


model = ScriptedModel(Calls("cancel_trip"), Says("Your trip is cancelled."))
desk = Agent(name="Desk", model=model, tools=[cancel_trip])


class Airline(ChatKitServer):
    @traced_respond
    async def respond(self, thread, message, context):
        agent_context = AgentContext(thread=thread, store=self.store, request_context=context)
        result = Runner.run_streamed(desk, message.content[0].text, context=agent_context)
        async for event in stream_agent_response(agent_context, result):
            yield event


install()
asyncio.run(message(Airline(MemoryStore()), "Cancel my trip!"))
*_, trace = fluxloop.read_traces("./traces", name="respond")
print(outline(trace), f"session {trace.session_id}", sep="\n")

# prints:
# AGENT respond -> 'Your trip is cancelled.'
#   SPAN stream_agent_response -> 'Your trip is cancelled.'
#   AGENT Desk -> 'Your trip is cancelled.'
#     GENERATION response -> [{'type': 'function_call', 'name': 'cancel_trip', 'argument…
#     TOOL tool.cancel_trip -> {'result': 'cancelled, 120 EUR refunded'}
#     GENERATION response -> 'Your trip is cancelled.'
# session thr_…
