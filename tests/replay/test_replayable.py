"""
``replayable=True``: it changes no call, and ends with its block.
"""

from __future__ import annotations

import functools

import pytest

import fluxloop
from fluxloop.testing import capture
from fluxloop.tracing.calls import interceptors


def test_no_call_is_intercepted_after_the_block(tmp_path):
    """
    Blocks inside each other, other clients and cassettes: what they add to each call is gone at their end.
    """
    other = fluxloop.FluxLoopClient()
    with capture(replayable=True):
        assert interceptors
        with capture(replayable=True), capture(other, replayable=True):
            pass
        assert interceptors
    assert interceptors == []

    for _ in range(2):
        with fluxloop.cassette(tmp_path / "case.jsonl"):
            fluxloop.agent(lambda: 1)()
    assert interceptors == []


FUNCTIONS = {"partial": functools.partial(lambda x, y: x + y, 1), "lambda": lambda y: 1 + y, "builtin": abs}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_callables_without_a_name_run_as_before(function):
    """
    A partial has neither module nor qualified name, so its trace names no entry point.
    """
    with capture(replayable=True) as captured:
        assert fluxloop.agent(function)(1) in (1, 2)

    assert len(captured) == 1
