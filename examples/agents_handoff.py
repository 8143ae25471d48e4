"""The OpenAI Agents SDK: two concurrent tools, a handoff, and a failing tool. Only the model is scripted."""

import asyncio

from agents import Agent, Runner, function_tool

import fluxloop
from fluxloop.testing import outline
from fluxloop_custom.openai_agents import install
from fluxloop_custom.testing import Calls, Says, ScriptedModel

install()  # records every run from now on, without the network


@function_tool
def weather(city: str) -> str:
    return f"sunny in {city}"


@fluxloop.tool  # records the real exception, which the SDK replaces by "redacted"
@function_tool
async def book(city: str) -> str:
    raise LookupError(f"no flights to {city}")


booking = Agent(name="Booking", model=ScriptedModel(Calls("book", {"city": "Rome"}), Says("Sold out.")), tools=[book])
both = [Calls("weather", {"city": "Rome"}), Calls("weather", {"city": "Oslo"})]
desk = Agent(name="Desk", model=ScriptedModel(both, Calls("transfer_to_booking")), tools=[weather], handoffs=[booking])

asyncio.run(Runner.run(desk, "Where is it warm?"))
*_, trace = fluxloop.read_traces("./traces", name="Agent workflow")
print(outline(trace))
print(trace.usage.total_tokens, "tokens")

# prints:
# CHAIN Agent workflow -> 'Sold out.'
#   AGENT Desk
#     GENERATION response -> [{'type': 'function_call', 'name': 'weather', 'arguments': …
#     TOOL weather -> 'sunny in Rome'
#     TOOL weather -> 'sunny in Oslo'
#     GENERATION response -> [{'type': 'function_call', 'name': 'transfer_to_booking', '…
#     SPAN handoff -> {'to_agent': 'Booking'}
#   AGENT Booking -> 'Sold out.'
#     GENERATION response -> [{'type': 'function_call', 'name': 'book', 'arguments': '{"…
#     TOOL book [error: no flights to Rome] -> 'An error occurred while running the tool. Please try again…
#     GENERATION response -> 'Sold out.'
# 60 tokens
