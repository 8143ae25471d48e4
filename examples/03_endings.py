"""Statuses: an error, a stream closed early, and a cancelled task."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import fluxloop
from fluxloop.testing import capture


@fluxloop.tool
def fails() -> None:
    raise ValueError("no such city")


@fluxloop.prompt
def stream() -> Iterator[str]:
    yield from ("It ", "is ", "late")


@fluxloop.tool
async def slow() -> None:
    await asyncio.sleep(60)


@fluxloop.agent
async def agent() -> None:
    with suppress(ValueError):
        fails()
    next(stream())
    with suppress(TimeoutError):
        await asyncio.wait_for(slow(), 0.01)


with capture() as captured:
    asyncio.run(agent())
print(captured.outline())

# prints:
# AGENT agent
#   TOOL fails [error: no such city]
#   GENERATION stream [abandoned] -> 'It '
#   TOOL slow [cancelled]
