"""Two concurrent tools and a streamed answer: the tools are siblings, and the stream is one observation."""

import asyncio
from collections.abc import AsyncIterator

import fluxloop
from fluxloop.testing import capture


@fluxloop.tool
async def look_up(city: str) -> str:
    await asyncio.sleep(0.001)
    return f"{city} is fine"


@fluxloop.prompt(model="gpt-4o")
async def stream(facts: list[str]) -> AsyncIterator[str]:
    for fact in facts:
        yield fact + ". "


@fluxloop.agent
async def travel() -> str:
    facts = await asyncio.gather(look_up("Paris"), look_up("Rome"))
    return "".join([chunk async for chunk in stream(facts)])


with capture() as captured:
    asyncio.run(travel())
print(captured.outline())

# prints:
# AGENT travel -> 'Paris is fine. Rome is fine. '
#   TOOL look_up -> 'Paris is fine'
#   TOOL look_up -> 'Rome is fine'
#   GENERATION stream -> 'Paris is fine. Rome is fine. '
