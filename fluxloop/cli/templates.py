"""
The files that ``fluxloop init`` creates.
"""

from __future__ import annotations

PROJECT = """\
name: {name}
description: ""
tags: []
"""

INPUT = """\
# What the agent is asked. Each entry may have: expected, persona, metadata, id.
# Many inputs are better kept in a file:  inputs_file: inputs.jsonl  (or .yaml, .json, .csv)
base_inputs:
  - id: rome
    input: What is the weather in Rome?
    expected: sunny
  - id: oslo
    input: What is the weather in Oslo?
    expected: snow
"""

SIMULATION = """\
# How the agent is run. All keys: fluxloop config show
iterations: 2
parallel_runs: 4

runner:
  target: "{target}" # module:function
  timeout_seconds: 60
  max_retries: 0

# Calls of the agent that were recorded with: fluxloop record enable
replay_args:
  enabled: false
"""

EVALUATION = """\
# What fluxloop evaluate checks in every run.
evaluators:
  - name: answers
    type: rule_based
    rules:
      - check: output_not_empty
      - check: success
      - check: latency_under
        budget_ms: 5000
"""

ENV = """\
# Variables for this project. Lines without a value change nothing.
# FLUXLOOP_ENVIRONMENT=development
# OPENAI_API_KEY=
"""

GITIGNORE = """\
.env
experiments/
recordings/
traces/
__pycache__/
"""

SIMPLE = '''\
"""
A weather agent that needs no model: replace `answer` with a call of yours.
"""

import fluxloop

WEATHER = {"Rome": "sunny", "Oslo": "snow"}


@fluxloop.tool
def get_weather(city: str) -> str:
    """Return the weather in a city."""
    return WEATHER.get(city, "unknown")


@fluxloop.agent
def NAME(input: str) -> str:
    """Answer a question about the weather."""
    city = next((city for city in WEATHER if city in input), "nowhere")
    return f"The weather in {city}: {get_weather(city)}"


if __name__ == "__main__":
    print(NAME("What is the weather in Rome?"))
'''

LANGCHAIN = '''\
"""
An agent of LangChain. Without a key it runs with a scripted model.
"""

import os

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

import fluxloop

fluxloop.install("langchain")


def model():
    """Return the model: OpenAI's if there is a key, else a scripted one."""
    if os.environ.get("OPENAI_API_KEY"):
        from langchain.chat_models import init_chat_model

        return init_chat_model("openai:gpt-4o-mini")
    return GenericFakeChatModel(messages=iter([AIMessage("It is sunny.")]))


@fluxloop.agent
async def NAME(input: str) -> str:
    """Answer a question."""
    answer = await model().ainvoke(input)
    return answer.text if isinstance(answer.text, str) else answer.text()
'''

LANGGRAPH = '''\
"""
A graph of LangGraph with one tool, which needs no model.
"""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph

import fluxloop

fluxloop.install("langchain")


class State(TypedDict, total=False):
    question: str
    city: str
    answer: str


def find_city(state: State) -> State:
    """Find the city in the question."""
    return {"city": "Rome" if "Rome" in state["question"] else "Oslo"}


def reply(state: State) -> State:
    """Answer."""
    return {"answer": f"The weather in {state['city']} is fine."}


graph = StateGraph(State)
graph.add_node("find_city", find_city)
graph.add_node("reply", reply)
graph.add_edge(START, "find_city")
graph.add_edge("find_city", "reply")
graph.add_edge("reply", END)
compiled = graph.compile()


@fluxloop.agent
async def NAME(input: str) -> str:
    """Answer a question."""
    state = await compiled.ainvoke({"question": input})
    return state["answer"]
'''

PYTEST = '''\
"""
Tests of an agent. Replace the example with your own: from my_module import my_agent
"""

from unittest.mock import ANY

import pytest

import fluxloop


@fluxloop.tool
def get_weather(city: str) -> str:
    """Return the weather in a city."""
    return {"Rome": "sunny", "Oslo": "snow"}.get(city, "unknown")


@fluxloop.agent
def agent(question: str) -> str:
    """Answer a question about the weather."""
    city = question.rstrip("?").split()[-1]
    return f"The weather in {city}: {get_weather(city)}"


def test_the_agent_asks_for_the_weather_once(fluxloop_traces):
    """What the agent did is in its trace; a test that fails shows it."""
    agent("What is the weather in Rome?")

    trace = fluxloop_traces.trace
    assert trace.calls == ["get_weather"]
    assert trace.tools("get_weather").called_once_with(city=ANY)
    assert trace.errors == []
    assert trace.output == "The weather in Rome: sunny"


@pytest.mark.fluxloop(budget_tokens=1000, max_model_calls=3, no_network=True)
@pytest.mark.parametrize("city", ["Rome", "Oslo"])
def test_the_agent_is_cheap(city):
    """A test over one of its limits fails."""
    assert city in agent(f"What is the weather in {city}?")
'''
"""A file of tests that pass as they are."""

PYTEST_PROJECT = '''

def test_the_experiment_of_the_project_succeeds(fluxloop_runner):
    """The runs are those of: fluxloop run experiment"""
    result = fluxloop_runner(project_root=PROJECT, iterations=1)

    result.require_success(threshold=0.8)
'''
"""Added to `PYTEST` in a project with a configuration; ``PROJECT`` is replaced."""

AGENTS = {"simple": SIMPLE, "langchain": LANGCHAIN, "langgraph": LANGGRAPH}
"""The files of agents, by template; ``NAME`` is replaced."""


def project_files(name: str, *, with_example: bool) -> dict[str, str]:
    """Return the files of a new project, by path."""
    target = "examples.simple_agent:run" if with_example else "my_module:my_agent"
    files = {
        "configs/project.yaml": PROJECT.format(name=_quoted(name)),
        "configs/input.yaml": INPUT,
        "configs/simulation.yaml": SIMULATION.format(target=target),
        "configs/evaluation.yaml": EVALUATION,
        ".env": ENV,
        ".gitignore": GITIGNORE,
    }
    if with_example:
        files["examples/simple_agent.py"] = SIMPLE.replace("NAME", "run")
    return files


def pytest_file(project: str | None) -> str:
    """Return a file of tests; *project* is the expression for the folder of the project, if it has a configuration."""
    if project is None:
        return PYTEST
    imports = PYTEST.replace("from unittest.mock", "from pathlib import Path\nfrom unittest.mock", 1)
    return imports + PYTEST_PROJECT.replace("PROJECT", project)


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
