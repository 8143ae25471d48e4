"""Objects that a framework makes of a function, and the instrumenters that recognise them."""

from __future__ import annotations

import logging
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import pytest

import fluxloop
from fluxloop.errors import DecorationError
from fluxloop.testing import capture
from fluxloop.tracing import instrumenters


class Tool:
    """What a framework made of a function."""

    def __init__(self, run: Any) -> None:
        self.run = run


def instrumenter(target: Any, recording: Any, /) -> Any:
    return type(target)(recording(target.run, called="its name")) if isinstance(target, Tool) else None


@pytest.fixture(autouse=True)
def no_instrumenters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without instrumenters, as before any were looked up."""
    monkeypatch.setattr(instrumenters, "_instrumenters", [])
    monkeypatch.setattr(instrumenters, "_loaded_packages", set())
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])


@pytest.mark.parametrize("decorator", ["tool", "trace", "prompt", "agent"])
def test_every_decorator_reaches_inside(decorator):
    """The object that comes back is the instrumenter's, recorded as the decorator's type, by the tool's name."""
    instrumenters.add_instrumenter(instrumenter)
    tool = getattr(fluxloop, decorator)(Tool(lambda x: x + 1))

    with capture() as captured, fluxloop.instrument("run"):
        assert tool.run(1) == 2

    record = captured.traces()[0].observations[1]
    assert type(tool) is Tool
    assert (record.name, record.input, record.output) == ("its name", {"x": 1}, 2)


def test_a_name_that_was_given_comes_first():
    """The user's name for the observation is kept over the tool's."""
    instrumenters.add_instrumenter(instrumenter)
    tool = fluxloop.tool(name="mine")(Tool(lambda x: x))

    with capture() as captured, fluxloop.instrument("run"):
        tool.run(1)

    assert captured.traces()[0].observations[1].name == "mine"


class MethodTool(Tool):
    """A tool that may be made of a method: it binds, as functions do."""

    def __get__(self, instance: object, owner: type | None = None) -> MethodTool:
        return self


def test_a_tool_that_binds_as_methods_do_is_a_tool_and_no_function():
    """It is reached into where its framework is known, and refused where it is not."""
    with pytest.raises(DecorationError, match="MethodTool is not a function"):
        fluxloop.tool(MethodTool(len))

    instrumenters.add_instrumenter(instrumenter)
    assert type(fluxloop.tool(MethodTool(len))) is MethodTool


@pytest.mark.parametrize("func", [str.upper, lru_cache(str.upper), "".join, len, partial(len)])
def test_functions_of_every_make_are_functions(func):
    """Those written in C bind, too."""
    assert fluxloop.tool(func)("a") == func("a")


def test_entry_points_are_looked_up_once_and_late(monkeypatch):
    """A package offers its instrumenter by an entry point; no program pays for it that has no such objects."""
    asked = []

    def entry_points(group: str) -> list[Any]:
        asked.append(group)
        return [SimpleNamespace(name=Tool.__module__.partition(".")[0], value="some:thing", load=lambda: instrumenter)]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    fluxloop.tool(lambda: None)
    assert asked == []
    for _ in range(2):
        fluxloop.tool(Tool(len))

    assert asked == ["fluxloop.instrumenters"]


def test_a_broken_entry_point_costs_a_warning(monkeypatch, caplog):
    """The other instrumenters are called, and an unknown object is refused."""

    def load() -> Any:
        raise ImportError("half installed")

    broken = SimpleNamespace(name=Tool.__module__.partition(".")[0], value="broken:thing", load=load)
    fine = SimpleNamespace(name=Tool.__module__.partition(".")[0], value="some:thing", load=lambda: instrumenter)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [broken, fine])

    with caplog.at_level(logging.WARNING, logger="fluxloop"):
        assert type(fluxloop.tool(Tool(len))) is Tool
    with pytest.raises(TypeError, match="Unknown tool type"):
        fluxloop.tool(object())

    assert "broken:thing" in caplog.text
