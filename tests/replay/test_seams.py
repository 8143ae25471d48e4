"""
Another framework, answered by a seam of its own: two functions that replace its methods and restore them.
"""

from __future__ import annotations

from typing import Any

import pytest

import fluxloop
from fluxloop.answering import seams
from fluxloop.bridge import ask_for, current, register_seam
from fluxloop.testing import capture

ran: list[str] = []


class Engine:
    """A framework: its model is called by a method."""

    def complete(self, prompt: str) -> str:
        ran.append(prompt)
        return prompt.upper()


class EngineSeam:
    """Answers `Engine.complete`."""

    def open(self) -> None:
        self.original: Any = Engine.complete
        original = self.original

        def complete(engine: Engine, prompt: str) -> str:
            found = ask_for(fluxloop.ObservationType.GENERATION, "engine", [{"prompt": prompt}], current())
            return str(original(engine, prompt) if found is None else found.value())

        Engine.complete = complete  # type: ignore[method-assign]

    def close(self) -> None:
        Engine.complete = self.original  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seam, for a test."""
    monkeypatch.setattr(seams, "_seams", list(seams._seams))
    ran.clear()
    register_seam(EngineSeam())


def run() -> str:
    """Record a call of the framework by hand."""
    with fluxloop.instrument("run"), fluxloop.observe("engine", "generation", input={"prompt": "hi"}) as observation:
        observation.output = Engine().complete("hi")
        return str(observation.output)


def test_a_seam_answers_another_framework():
    """
    The method does not run in the block, and is the original after it.
    """
    before = Engine.complete
    with capture() as captured:
        assert run() == "HI"
    ran.clear()

    with capture(), fluxloop.replay(captured.traces(), match="fifo") as replay:
        assert Engine.complete is not before
        with fluxloop.instrument("run"):
            assert Engine().complete("hi") == "HI"

    assert ran == []
    assert replay.report().hits == 1
    assert Engine.complete is before


def test_a_seam_that_is_registered_in_a_block_is_open_at_once():
    """
    An adapter may be imported while a replay is open.
    """
    with capture() as captured:
        run()
    before = Engine.complete
    with capture(), fluxloop.replay(captured.traces(), match="fifo"):
        opened = Engine.complete
        register_seam(EngineSeam())
        assert Engine.complete is not opened
        with fluxloop.instrument("run"):
            Engine().complete("hi")
    assert Engine.complete is before


def test_a_seam_that_is_registered_twice_replaces_the_methods_once():
    """
    An adapter that is imported twice, as by sessions of pytest inside a test, registers its seam again.
    """
    known = len(seams._seams)
    real = Engine.complete
    with capture() as captured:
        run()
    with capture(), fluxloop.replay(captured.traces(), match="fifo"):
        register_seam(EngineSeam())
        with fluxloop.instrument("run"):
            assert Engine().complete("hi") == "HI"

    assert len(seams._seams) == known
    assert Engine.complete is real
    assert ran == ["hi"]
