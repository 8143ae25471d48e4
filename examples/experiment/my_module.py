"""
The agent of the example experiment. It needs no model: its answers come from a table.
"""

from __future__ import annotations

import fluxloop

FLIGHTS = {"Rome": "AZ 611 at 10:40", "Oslo": "SK 4419 at 18:05"}


@fluxloop.tool()
def find_flight(city: str) -> str:
    """Return the next flight to a city."""
    if city not in FLIGHTS:
        raise LookupError(f"no airport in {city}")
    return FLIGHTS[city]


@fluxloop.agent()
def my_agent(prompt: str) -> str:
    """Answer a question about flights; the last word is the city."""
    city = prompt.rstrip("?").split()[-1]
    return f"The next flight to {city} is {find_flight(city)}."
