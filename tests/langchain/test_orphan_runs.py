"""
Runs whose end LangChain does not report, and runs that continue after their end.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import nullcontext
from contextvars import ContextVar
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from scripted_models import ScriptedModel

import fluxloop
from fluxloop import ObservationType
from fluxloop.bridge import default
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langchain.orphan_runs import RunLedger, locate, refer

needs_version_3 = pytest.mark.skipif(
    not hasattr(ScriptedModel, "stream_events"), reason="langchain-core 1.0 has no version 3 of its event streams"
)

CHAIN = ScriptedModel(replies=["Tigers hunt at night."]) | StrOutputParser()

begun = ContextVar[asyncio.Event]("begun")


async def for_ever():
    """Wait until the task is cancelled."""
    begun.get().set()
    await asyncio.Event().wait()


class SlowModel(ScriptedModel):
    """A model that does not answer."""

    async def _agenerate(self, *args, **kwargs):
        await for_ever()


class SlowRetriever(BaseRetriever):
    """A retriever that does not return."""

    def _get_relevant_documents(self, query, *, run_manager):
        return []

    async def _aget_relevant_documents(self, query, *, run_manager):
        await for_ever()


@tool
async def search(query: str) -> str:
    """Search, without an end."""
    await for_ever()


SLOW = [
    (SlowModel(replies=["never"]), "tigers", "GENERATION SlowModel [cancelled]"),
    (SlowRetriever(), "tigers", "RETRIEVAL SlowRetriever [cancelled]"),
    (search, {"query": "tigers"}, "TOOL search [cancelled]"),
]


async def in_vain(step, given, config=None):
    """Run *step*, and cancel it after it has begun, as a timeout does."""
    begun.set(asyncio.Event())
    task = asyncio.create_task(step.ainvoke(given, config))
    await begun.get().wait()
    task.cancel()
    await asyncio.wait([task])
    return "sorry"


@pytest.mark.parametrize(("step", "given", "line"), SLOW)
async def test_a_cancelled_run_whose_end_is_not_reported_is_cancelled(captured, config, step, given, line):
    """
    A run without a parent is recorded at once, and leaves no entry.
    """
    await in_vain(step, given, config)

    assert captured.outline() == line
    assert len(config["callbacks"][0].ledger) == 0


@pytest.mark.parametrize(("step", "given", "line"), SLOW)
async def test_a_cancelled_run_is_in_the_trace_of_the_function_that_continues(captured, config, step, given, line):
    """
    It ends before its parent, and with its own status.
    """

    @fluxloop.agent
    async def assistant():
        return await in_vain(step, given, config)

    async def answer(_):
        return await in_vain(step, given)

    await assistant()
    await RunnableLambda(answer).ainvoke("x", config)

    assert captured.outline() == f"AGENT assistant -> 'sorry'\n  {line}\nCHAIN answer -> 'sorry'\n  {line}"


async def test_a_server_whose_requests_time_out_does_not_grow(captured, config):
    """
    Runs that are not recorded leave no entry either.
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
    LangChain reports no end; the stream object is collected.
    """
    for event in ScriptedModel(replies=["Tigers hunt."]).stream_events("Who?", config, version="v3"):
        if event["event"] == "content-block-delta":
            break
    gc.collect()  # a stream is part of a reference cycle

    assert captured.outline() == "GENERATION ScriptedModel [abandoned] -> 'Tigers'"


@needs_version_3
@pytest.mark.filterwarnings("ignore:.*v3.*")
def test_a_graph_whose_version_3_stream_is_left_is_abandoned(captured, config):
    """
    With all open runs inside it.
    """
    graphs = pytest.importorskip("graphs", reason="needs langgraph")
    for _ in graphs.steps().stream_events({"n": 1}, config, version="v3"):
        break
    gc.collect()

    assert captured.outline().startswith("CHAIN LangGraph [abandoned]")


class Slow(AsyncCallbackHandler):
    """Another handler, which is slow when a chain begins."""

    def __init__(self):
        self.is_told = asyncio.Event()

    async def on_chain_start(self, *args, **kwargs):
        self.is_told.set()
        await asyncio.sleep(60)


@pytest.mark.parametrize("is_inside", [False, True], ids=["alone", "inside an observation"])
async def test_a_run_cancelled_while_handlers_receive_its_start_is_abandoned(captured, config, is_inside):
    """
    langchain-core has not reached the block that reports the end. Nothing references the id of the run any more.
    """
    slow = Slow()
    config["callbacks"].append(slow)
    with fluxloop.instrument("outer") if is_inside else nullcontext():
        task = asyncio.create_task(CHAIN.ainvoke("Who?", config))
        await slow.is_told.wait()
        task.cancel()
        await asyncio.wait([task])
        del task
        gc.collect()
        left = [(record["name"], record["status"]) for record in captured.storage.read() if "id" in record]

    assert left == [("RunnableSequence", "abandoned")]


def test_a_run_is_open_although_the_id_object_of_its_start_is_gone(captured, config):
    """
    A relay of events may have ids as text, and make a new object for each event.
    """
    (handler,) = config["callbacks"]
    text = str(uuid4())
    handler.on_chain_start(None, {"n": 1}, run_id=UUID(text), name="from elsewhere")
    gc.collect()
    handler.on_chain_end({"n": 2}, run_id=UUID(text))

    assert captured.outline() == "CHAIN from elsewhere -> {'n': 2}"


async def test_a_step_that_continues_in_a_thread_keeps_its_place(captured, config):
    """
    A thread cannot be cancelled: what a step still calls there nests under the step.
    """
    go_on, has_begun, is_done = threading.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @fluxloop.tool
    def look_up():
        return 1

    def step(given):
        loop.call_soon_threadsafe(has_begun.set)
        go_on.wait(10)
        look_up()
        CHAIN.invoke("Who?")
        loop.call_soon_threadsafe(is_done.set)

    task = asyncio.create_task((RunnableLambda(step) | len).ainvoke("Who?", config))
    await has_begun.wait()
    task.cancel()
    await asyncio.wait([task])
    go_on.set()
    await is_done.wait()
    del task
    (trace,) = captured.traces()

    assert [(depth, one.name, one.status.value) for depth, one in trace.walk()] == [
        (0, "RunnableSequence", "cancelled"),
        (1, "step", "cancelled"),
        (2, "look_up", "success"),
        (2, "ScriptedModel", "success"),
    ]
    gc.collect()
    assert not FluxLoopCallbackHandler().ledger.ended_early


def test_a_run_that_begins_while_it_is_ended_ends(captured):
    """
    Another thread may end the parent of a run that begins; the run ends when its id is collected.
    """
    ledger, run_id = RunLedger(default, locate), uuid4()
    run = SimpleNamespace(id_ref=refer(run_id), event="chain")
    ledger.start("above", ObservationType.CHAIN, "above", run=SimpleNamespace(id_ref=None))
    ledger.start(
        "run",
        ObservationType.CHAIN,
        "run",
        parent="above",
        input=1j,
        run=run,
        read=lambda _: ledger.finish("above"),
    )
    del run_id

    assert captured.outline() == "CHAIN above\n  CHAIN run [abandoned]"
    assert (len(ledger), ledger.ended_early) == (0, {})
