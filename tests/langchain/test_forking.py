"""
Forks of LangChain's runs: a model, a tool or a retriever gets another outcome, input or model.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from scripted_models import ScriptedCompletion, ScriptedModel

import fluxloop
from fluxloop.testing import Captured, capture

from .test_replaying import HI, Completion, Shelf, agent, config, look, ran


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


def invoked() -> str:
    return str(agent().invoke(HI, config())["messages"][-1].content)


def streamed() -> str:
    return "".join(str(message.content) for message, _ in agent().stream(HI, config(), stream_mode="messages"))


def record(call: Any) -> Captured:
    with capture() as captured:
        call()
    ran.clear()
    return captured


def step(captured: Captured, kind: str, index: int = 0) -> str:
    """Return the id of a step by its type."""
    return [one.id for one in captured.trace.observations if one.type.name == kind][index]


def fork(captured: Captured, call: Any, at: str, **options: Any) -> tuple[Any, Captured]:
    with capture() as forked, fluxloop.replay(captured.traces(), fork_at=at, **options):
        return call(), forked


@pytest.mark.parametrize("call", [invoked, streamed])
@pytest.mark.parametrize("output", ["enough", AIMessage("enough")])
def test_a_model_gets_another_answer(call, output):
    """
    Without tool calls in it, the agent ends at once; nothing runs.
    """
    captured = record(invoked)

    result, forked = fork(captured, call, step(captured, "GENERATION"), output=output)

    assert "enough" in result or call is streamed
    [call_of_model] = [one for one in forked.trace.observations if one.type.name in ("GENERATION", "TOOL")]
    assert call_of_model.output == {"role": "assistant", "content": "enough"}
    assert ran == []
    assert forked.trace.metadata["forked_from"]["step"] == "GENERATION Model"


def test_a_tool_gets_another_answer_or_other_arguments():
    """
    The other tool of the same turn and the last model follow from the recording, where their inputs are the same.
    """
    captured = record(invoked)
    rome = next(one.id for one in captured.trace.observations if one.name == "look" and "Rome" in str(one.input))

    _, forked = fork(captured, invoked, rome, input={"city": "Bern"}, rest="recorded")
    tools = [one for one in forked.trace.observations if one.type.name == "TOOL"]

    assert "look Bern" in ran
    assert "look Rome" not in ran[:1]
    assert {"city": "Bern"} in [one.input for one in tools]
    assert "sunny in Bern" in [one.output for one in tools]


@pytest.mark.parametrize("call", [invoked, streamed])
def test_another_model_object_runs_at_the_step(call):
    """
    It gets the recorded conversation; a model that cannot stream gives one chunk.
    """
    captured = record(call)

    result, _ = fork(captured, call, step(captured, "GENERATION", -1), model=AnotherModel(replies=["from another"]))

    assert "from another" in result
    assert ran == []


class AnotherModel(ScriptedModel):
    """A model of another class."""


def test_a_model_gets_other_messages():
    """
    Messages may be given in any form that LangChain takes.
    """
    captured = record(invoked)
    first = step(captured, "GENERATION")
    _, forked = fork(captured, invoked, first, input=[{"role": "user", "content": "short"}])

    changed = next(one for one in forked.trace.observations if one.type.name == "GENERATION")
    assert changed.input == [{"role": "user", "content": "short"}]
    assert ran[0] == "model"


def test_completions_and_retrievers_are_forked_too():
    """
    A prompt, a query and documents are replaced.
    """
    captured = record(lambda: Completion(reply="re").invoke("x", config()))
    call = lambda: Completion(reply="re").invoke("x", config())  # noqa: E731
    only = captured.trace.observations[0].id
    assert fork(captured, call, only, output="other")[0] == "other"
    assert fork(captured, call, only, input="y")[0] == "re y"
    assert fork(captured, call, only, model=ScriptedCompletion(reply="changed"))[0].startswith("changed")

    captured = record(lambda: Shelf().invoke("owls", config()))
    only = captured.trace.observations[0].id
    search = lambda: Shelf().invoke("owls", config())  # noqa: E731
    assert fork(captured, search, only, output=[Document("bats")])[0] == [Document("bats")]
    assert fork(captured, search, only, output=[{"page_content": "bats"}])[0] == [Document("bats")]
    assert fork(captured, search, only, input="bats")[0][0].page_content == "about bats"


def test_a_model_that_is_no_model_is_an_error():
    """
    The message says what is accepted.
    """
    captured = record(invoked)
    with pytest.raises(fluxloop.ReplayMismatch, match="model= must be a model of LangChain or the name of one"):
        fork(captured, invoked, step(captured, "GENERATION"), model=3)


def test_a_tool_called_alone_is_forked():
    """
    The tool gets another value for its argument.
    """
    captured = record(lambda: look.invoke({"city": "Rome"}, config()))
    only = captured.trace.observations[0].id
    assert fork(captured, lambda: look.invoke({"city": "Rome"}, config()), only, output="rain")[0] == "rain"
    assert fork(captured, lambda: look.invoke({"city": "Rome"}, config()), only, input="Oslo")[0] == "sunny in Oslo"
