"""
Forks of runs of the OpenAI Agents SDK: a model or a function tool gets another outcome, input or model.
"""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from agents import Agent, OpenAIResponsesModel, Runner

import fluxloop
from fluxloop.testing import Captured

from .agents_aid import Calls, Says, ScriptedModel, recorded
from .clients import provider as api
from .clients.provider import Reply, running
from .test_agents_replaying import add, made, ran, run, run_streamed

RUNS = [run, run_streamed]


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


def desk() -> Agent[Any]:
    """Return an agent that calls a tool and then answers."""
    return Agent(name="Desk", model=ScriptedModel(Calls("add", {"a": 1}), Says("The sum is 3.")), tools=[add])


def record(call: Any) -> Captured:
    with recorded() as captured:
        made(call, desk())
    ran.clear()
    return captured


def step(captured: Captured, kind: str, index: int = 0) -> str:
    return [one.id for one in captured.trace.observations if one.type.name == kind][index]


def fork(captured: Captured, call: Any, at: str, agent: Agent[Any] | None = None, **options: Any) -> Any:
    with recorded() as forked, fluxloop.replay(captured.traces(), fork_at=at, **options):
        return made(call, agent or desk()), forked


@pytest.mark.parametrize("call", RUNS, ids=lambda call: call.__name__)
def test_a_model_gets_another_answer(call):
    """
    A text ends the run; neither tool nor model runs.
    """
    captured = record(call)

    result, forked = fork(captured, call, step(captured, "GENERATION"), output="Stop.")

    assert "Stop." in str(result)
    assert ran == []
    assert forked.trace.metadata["forked_from"]["changed"] == "output"


@pytest.mark.parametrize("call", RUNS, ids=lambda call: call.__name__)
def test_another_model_object_runs_at_the_step(call):
    """
    It gets the recorded conversation.
    """
    captured = record(call)

    result, _ = fork(captured, call, step(captured, "GENERATION", -1), model=ScriptedModel(Says("From another.")))

    assert "From another." in str(result)
    assert ran == []


@pytest.mark.parametrize("call", RUNS, ids=lambda call: call.__name__)
def test_a_model_gets_other_items(call):
    """
    The model of the program runs with them.
    """
    captured = record(call)
    agent = Agent(name="Desk", model=ScriptedModel(Says("Alone.")), tools=[add])

    result, _ = fork(captured, call, step(captured, "GENERATION"), agent, input=[{"role": "user", "content": "x"}])

    assert "Alone." in str(result)


def test_a_tool_gets_another_answer_or_other_arguments():
    """
    The output is the tool's for the program; other arguments are given to the real tool.
    """
    captured = record(run)
    tool = step(captured, "TOOL")

    result, _ = fork(captured, run, tool, output=7, agent=Agent("Desk", model=ScriptedModel(Says("7.")), tools=[add]))
    assert result[2] == [7]
    assert ran == []

    result, _ = fork(
        captured, run, tool, input={"a": 10}, agent=Agent("Desk", model=ScriptedModel(Says("12.")), tools=[add])
    )
    assert result[2] == [12]
    assert ran == ["add"]


@pytest.mark.parametrize("options", [{"live": "response"}, {"live": "models"}])
def test_a_live_model_sends_its_requests_with_a_client_that_is_not_instrumented(options):
    """
    The model is named in ``live``, so the request of its client is sent.
    """
    with running() as provider:
        provider.answers(Reply(api.response()))

        async def ask() -> Any:
            async with openai.AsyncOpenAI(api_key="k", base_url=provider.url, max_retries=0) as client:
                model = OpenAIResponsesModel("gpt-5", client)
                return (await Runner.run(Agent(name="Desk", model=model), "hi")).final_output

        with recorded() as captured:
            expected = asyncio.run(ask())
        with recorded(), fluxloop.replay(captured.traces(), **options):
            assert asyncio.run(ask()) == expected
        assert len(provider.requests) == 2
