"""
Each internal of langchain-core that FluxLoop reads may be renamed: programs run as before, and only details are missing.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib
import inspect
import sys
from contextlib import suppress

import pytest
from langchain_core.callbacks import (
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
    CallbackManagerForChainRun,
    manager,
)
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool, tool
from scripted_models import ScriptedModel, calls

import fluxloop

ENDINGS = """\
CHAIN whole success
  SPAN helper success
  GENERATION ScriptedModel success
CHAIN RunnableSequence abandoned
  GENERATION ScriptedModel abandoned
CHAIN RunnableSequence error
  CHAIN divide error
CHAIN whole success
  SPAN helper success
  GENERATION ScriptedModel success
CHAIN RunnableSequence cancelled
  CHAIN wait cancelled
TOOL size success
  SPAN helper success
TOOL asize success
  SPAN helper success
GENERATION ScriptedModel success
GENERATION ScriptedModel success"""
"""What `run` records: chains in all ways, endings that are not successes, tools, and an answer from a cache."""

AGENT = ["AGENT LangGraph", "GENERATION ScriptedModel", "TOOL add", "GENERATION ScriptedModel"]


@fluxloop.trace
def helper(value):
    return value


def divide(number):
    return 1 / number


@tool
@fluxloop.tool
def size(text: str) -> int:
    """Return the length of a text."""
    return helper(len(text))


@tool
@fluxloop.tool
async def asize(text: str) -> int:
    """Return the length of a text."""
    return helper(len(text))


@tool
@fluxloop.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def run(config):
    """Return the results of a chain, and of runs that end in other ways than by success."""
    return run_sync(config) + asyncio.run(run_async(config))


def run_sync(config):
    given = {"question": "Who?"}
    model = ScriptedModel(replies=["Tigers hunt at night."])
    whole = (
        RunnableLambda(helper) | ChatPromptTemplate.from_template("{question}") | model | StrOutputParser()
    ).with_config(run_name="whole")
    results = [whole.invoke(given, config)]
    for piece in (model | StrOutputParser()).stream("Who?", config):
        results.append(piece)
        break
    with suppress(ZeroDivisionError):
        (RunnableLambda(divide) | StrOutputParser()).invoke(0, config)
    return results


async def run_async(config):
    begun = asyncio.Event()

    async def wait(_):
        begun.set()
        await asyncio.Event().wait()

    model = ScriptedModel(replies=["Tigers hunt at night."])
    whole = (
        RunnableLambda(helper) | ChatPromptTemplate.from_template("{question}") | model | StrOutputParser()
    ).with_config(run_name="whole")
    results = [[item async for item in whole.astream({"question": "Who?"}, config)]]
    task = asyncio.create_task((RunnableLambda(wait) | StrOutputParser()).ainvoke("x", config))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    results += [size.invoke({"text": "abc"}, config), await asize.ainvoke({"text": "abcd"}, config)]
    cached = ScriptedModel(replies=["Tigers."], cache=InMemoryCache())
    return results + [(await cached.ainvoke("Who?", config)).content for _ in range(2)]


def run_agent(config):
    """Return the last message of an agent that calls a tool."""
    agents = pytest.importorskip("langchain.agents")
    model = ScriptedModel(replies=[calls("add", {"a": 1, "b": 2}), "three"])
    return agents.create_agent(model, [add]).invoke({"messages": [("user", "1 + 2?")]}, config)["messages"][-1].content


@pytest.fixture
def reimport(monkeypatch):
    """Import ``fluxloop_langchain`` again, as a new program would; returns the package."""
    monkeypatch.setattr(sys.modules["fluxloop.report"], "_missing", {})

    def reimport():
        for name in [name for name in sys.modules if name.partition(".")[0] == "fluxloop_langchain"]:
            monkeypatch.delitem(sys.modules, name)
        return importlib.import_module("fluxloop_langchain")

    return reimport


def endings(traces):
    return [f"{'  ' * depth}{one.type.name} {one.name} {one.status.value}" for t in traces for depth, one in t.walk()]


def assert_runs_as_before(package, captured):
    """Compare results with those of a program that is not recorded, and the records with the true endings."""
    handler = package.FluxLoopCallbackHandler()
    config = {"callbacks": [handler]}
    expected = run({}), run_agent({})
    ledger = handler.ledger
    ledger.close_all()
    with fluxloop.testing.capture() as captured:
        assert run(config) == expected[0]
        gc.collect()
        recorded = endings(captured.traces())
        assert run_agent(config) == expected[1] == "three"
        agent = [line for line in endings(captured.traces())[len(recorded) :] if not line.strip().startswith("CHAIN")]
    assert len(ledger) == 0
    assert "\n".join(recorded) == ENDINGS
    assert [line.strip() for line in agent] == [f"{line} success" for line in AGENT]
    return captured


def missing():
    return [message for message in fluxloop.bridge.missing() if message.startswith("fluxloop_langchain")]


def test_nothing(reimport, captured):
    assert_runs_as_before(reimport(), captured)
    assert missing() == []
