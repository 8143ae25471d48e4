"""Sessions: which traces belong to one conversation."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

import fluxloop
from fluxloop.errors import DecorationError
from fluxloop.testing import capture
from fluxloop.tracing import trace as traces


def sessions(captured: Any) -> list[str | None]:
    return [trace.session_id for trace in captured.traces()]


def test_the_session_of_an_agent_is_text_or_a_function_of_its_arguments():
    @fluxloop.agent(session_id="support")
    def fixed(question: str) -> str:
        return question

    @fluxloop.agent(session_id=lambda question, user="anonymous": f"of {user}")
    def chosen(question: str, user: str = "anonymous") -> str:
        return question

    @fluxloop.agent(session_id=lambda question: question)
    async def later(question: str) -> str:
        return question

    with capture() as captured:
        fixed("a")
        chosen("b", user="ann")
        chosen("c")
        coroutine = later("d")
        with pytest.raises(StopIteration):
            coroutine.send(None)

    assert sessions(captured) == ["support", "of ann", "of anonymous", "d"]


def test_an_agent_inside_a_trace_names_its_session_unless_it_has_one():
    @fluxloop.agent(session_id=lambda user: user)
    def inner(user: str) -> None: ...

    with capture() as captured:
        with fluxloop.instrument("without"):
            inner("ann")
        with fluxloop.instrument("with", session_id="given"):
            inner("ann")

    assert sessions(captured) == ["ann", "given"]


def test_a_session_function_that_fails_is_reported_and_the_call_recorded():
    @fluxloop.agent(session_id=lambda question: question.user.id)
    def agent(question: str) -> str:
        return question

    with capture() as captured:
        assert agent("hi") == "hi"

    (trace,) = captured.traces()
    assert trace.output == "hi"
    assert any("session_id function of 'agent' failed" in problem for problem in fluxloop.report().problems)


def test_a_session_of_another_type_is_a_decoration_error():
    with pytest.raises(DecorationError, match=r"session_id of fluxloop\.agent must be text or a function, got 7"):
        fluxloop.agent(session_id=7)  # type: ignore[call-overload]


def test_the_session_can_be_set_while_the_trace_is_open():
    with capture() as captured, fluxloop.instrument("run") as ctx:
        ctx.set_session("thread 7")

    assert sessions(captured) == ["thread 7"]


@pytest.mark.parametrize("server", ["uvicorn.protocols.http", "celery.worker"])
def test_in_a_server_a_trace_without_a_session_stands_alone(server, monkeypatch):
    """The users of a server are not one conversation; in a script, the traces of one process share a session."""

    @fluxloop.agent
    def agent() -> None: ...

    monkeypatch.setitem(sys.modules, server, ModuleType(server))
    with capture() as captured:
        agent()
        agent()
    assert sessions(captured) == [trace.trace_id for trace in captured.traces()]

    for module in traces._SERVERS:  # another test may have loaded one
        monkeypatch.delitem(sys.modules, module, raising=False)
    with capture() as captured:
        agent()
        agent()
    first, second = sessions(captured)
    assert first == second


def test_a_session_given_by_the_settings_holds_in_a_server_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "celery.worker", ModuleType("celery.worker"))
    with capture(session_id="nightly") as captured, fluxloop.instrument("run"):
        pass

    assert sessions(captured) == ["nightly"]
