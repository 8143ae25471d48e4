"""
Runs of whose end LangChain tells nobody.
"""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from uuid import uuid4

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from scripted_models import ScriptedModel

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler

needs_version_3 = pytest.mark.skipif(
    not hasattr(ScriptedModel, "stream_events"), reason="langchain-core 1.0 has no version 3 of its event streams"
)

begun = ContextVar[asyncio.Event]("begun")


async def for_ever():
    """Wait for what never comes."""
    begun.get().set()
    await asyncio.Event().wait()


class SlowModel(ScriptedModel):
    """A model that never answers."""

    async def _agenerate(self, *args, **kwargs):
        await for_ever()


class SlowRetriever(BaseRetriever):
    """A retriever that never finds anything."""

    def _get_relevant_documents(self, query, *, run_manager):
        return []

    async def _aget_relevant_documents(self, query, *, run_manager):
        await for_ever()


@tool
async def search(query: str) -> str:
    """Search, for ever."""
    await for_ever()


SLOW = [
    (SlowModel(replies=["never"]), "tigers", "GENERATION SlowModel [cancelled]"),
    (SlowRetriever(), "tigers", "RETRIEVAL SlowRetriever [cancelled]"),
    (search, {"query": "tigers"}, "TOOL search [cancelled]"),
]


async def in_vain(step, given, config=None):
    """Run *step*, and stop it when it has begun, as a timeout does."""
    begun.set(asyncio.Event())
    task = asyncio.create_task(step.ainvoke(given, config))
    await begun.get().wait()
    task.cancel()
    await asyncio.wait([task])
    return "sorry"


@pytest.mark.parametrize(("step", "given", "line"), SLOW)
async def test_what_runs_out_of_time_is_cancelled_though_nobody_says_so(captured, config, step, given, line):
    """
    A run with nothing of LangChain's above it is recorded and forgotten at once.
    """
    await in_vain(step, given, config)

    assert captured.outline() == line
    assert len(config["callbacks"][0].ledger) == 0


@pytest.mark.parametrize(("step", "given", "line"), SLOW)
async def test_it_is_in_the_trace_of_the_function_that_goes_on_without(captured, config, step, given, line):
    """
    It ends before what is above it does, and not with that, as what is merely left open.
    """

    @fluxloop.agent
    async def assistant():
        return await in_vain(step, given, config)

    async def answer(_):
        return await in_vain(step, given)

    await assistant()
    await RunnableLambda(answer).ainvoke("x", config)

    assert captured.outline() == f"AGENT assistant -> 'sorry'\n  {line}\nCHAIN answer -> 'sorry'\n  {line}"


async def test_a_server_whose_requests_run_out_of_time_does_not_grow(captured, config):
    """
    Neither does it with runs that are not recorded.
    """
    for _ in range(20):
        await in_vain(*SLOW[0][:2], config)
    with fluxloop.testing.capture(sample_rate=0.0):
        for _ in range(20):
            await in_vain(*SLOW[0][:2], config)

    assert len(config["callbacks"][0].ledger) == 0
    assert len(captured.traces()) == 20


@needs_version_3
def test_a_version_3_stream_that_is_left_is_abandoned(captured, config):
    """
    LangChain tells nobody that; the stream itself is gone then.
    """
    for event in ScriptedModel(replies=["Tigers hunt."]).stream_events("Who?", config, version="v3"):
        if event["event"] == "content-block-delta":
            break
    gc.collect()  # a stream holds itself

    assert captured.outline() == "GENERATION ScriptedModel [abandoned] -> 'Tigers'"


@needs_version_3
@pytest.mark.filterwarnings("ignore:.*v3.*")
def test_a_graph_whose_version_3_stream_is_left_is_abandoned(captured, config):
    """
    With all that is open inside it.
    """
    graphs = pytest.importorskip("graphs", reason="needs langgraph")
    for _ in graphs.steps().stream_events({"n": 1}, config, version="v3"):
        break
    gc.collect()

    assert captured.outline().startswith("CHAIN LangGraph [abandoned]")


def test_a_run_whose_id_is_held_is_open(captured):
    """
    Its end may still come; by an id that equals the first, too.
    """
    handler, run_id = FluxLoopCallbackHandler(), uuid4()
    handler.on_retriever_start({"name": "library"}, "tigers", run_id=run_id)
    gc.collect()

    assert len(handler.ledger) == 1

    handler.on_retriever_end([], run_id=type(run_id)(str(run_id)))

    assert captured.outline() == "RETRIEVAL library -> []"
