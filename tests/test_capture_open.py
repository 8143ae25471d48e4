"""
What is open while a `capture` block is read.
"""

from __future__ import annotations

import fluxloop
from fluxloop.testing import capture


@fluxloop.tool
def search(query: str) -> str:
    return query


@fluxloop.agent
def stream(query: str):
    yield search(query)


def test_open_observations_are_running_until_they_end():
    """
    They are in the tree with their inputs, in `unfinished`, and no longer than they are open.
    """
    with capture() as captured:
        items = stream("x")
        next(items)

        assert captured.has_open
        assert captured.outline(inputs=True) == (
            "AGENT stream({'query': 'x'}) [running]\n  TOOL search({'query': 'x'}) -> 'x'"
        )
        assert [call.name for call in captured.trace.unfinished] == ["stream"]

        items.close()

        assert not captured.has_open
        assert captured.trace.status == "abandoned"
        stream("not read")
        assert not captured.has_open
