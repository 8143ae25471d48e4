"""
What the tests of the LangChain adapter share. Without langchain-core there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from fluxloop.testing import Captured, capture

if find_spec("langchain_core") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Everything the test records, in memory; nothing may be dropped, and no run stay open."""
    import fluxloop
    from fluxloop_langchain import FluxLoopCallbackHandler

    before = fluxloop.report()
    with capture() as recorded:
        yield recorded
    ledger = FluxLoopCallbackHandler().ledger
    left_open = len(ledger)
    ledger.close_all()
    assert left_open == 0, "a run stayed open"
    assert fluxloop.report().problems == before.problems


@pytest.fixture
def config():
    """What a user passes to attach the handler."""
    from fluxloop_langchain import FluxLoopCallbackHandler

    return {"callbacks": [FluxLoopCallbackHandler()]}
