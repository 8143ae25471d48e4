"""
Turn a failing trace of production into an offline test.

The same code fails again without the network; the repaired code passes over the same recorded answers.
"""

from __future__ import annotations

from contextlib import suppress

import fluxloop
from fluxloop.testing import capture


@fluxloop.tool
def order_status(number: str) -> dict[str, str]:
    return {"number": number, "state": "lost"}


@fluxloop.agent
def support(number: str, known: tuple[str, ...] = ("sent", "delivered")) -> str:
    state = order_status(number)["state"]
    if state not in known:
        raise KeyError(state)
    return f"Your parcel is {state}."


with capture() as production, suppress(KeyError):  # in production, the traces are files in ./traces
    support("A-7")

try:
    with capture(), fluxloop.replay(production.traces()):
        support("A-7")
except KeyError as error:
    print(f"the replay fails as production did: {error}")

with capture() as captured, fluxloop.replay(production.traces()):
    support("A-7", known=("sent", "delivered", "lost"))
print(captured.outline())

# prints:
# the replay fails as production did: 'lost'
# AGENT support -> 'Your parcel is lost.'
#   TOOL order_status -> {'number': 'A-7', 'state': 'lost'}
