"""
What the tests of the LangGraph adapter share.
"""

from __future__ import annotations

import pytest

import fluxloop
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler


@pytest.fixture(autouse=True)
def recorded():
    """Record into memory; afterwards, check that no run is open and that FluxLoop itself had no failure."""
    before = fluxloop.report().dropped
    with capture() as captured:
        yield captured
        assert fluxloop.report().dropped == before
        assert len(FluxLoopCallbackHandler().ledger) == 0
