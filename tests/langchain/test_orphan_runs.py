"""
Runs of whose end LangChain tells nobody, and those that go on after it.
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


class Slow(AsyncCallbackHandler):
    """Somebody's handler that takes its time when a chain begins."""

    def __init__(self):
        self.is_told = asyncio.Event()

    async def on_chain_start(self, *args, **kwargs):
        self.is_told.set()
        await asyncio.sleep(60)


@pytest.mark.parametrize("is_inside", [False, True], ids=["alone", "inside an observation"])
async def test_a_run_cancelled_while_handlers_are_told_of_its_start_is_abandoned(captured, config, is_inside):
    """
    langchain-core tells of no end: it is not yet in the block that does. Once nobody has the run's id, it is left.
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


def test_an_id_made_for_one_event_says_nothing_of_the_run(captured, config):
    """
    Who hands on events from elsewhere may have the ids as text, and make new ones of it each time.
    """
    (handler,) = config["callbacks"]
    text = str(uuid4())
    handler.on_chain_start(None, {"n": 1}, run_id=UUID(text), name="from elsewhere")
    gc.collect()
    handler.on_chain_end({"n": 2}, run_id=UUID(text))

    assert captured.outline() == "CHAIN from elsewhere -> {'n': 2}"


async def test_what_goes_on_in_a_thread_stays_in_its_place(captured, config):
    """
    A thread cannot be cancelled: what a step still does there hangs under the step, not in traces of its own.
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
    assert not FluxLoopCallbackHandler().ledger.left


def test_what_begins_while_it_is_ended_and_is_left_then_ends_too(captured):
    """
    Another thread may end what is above a run that just begins; that nobody tells of its end must not keep it open.
    """
    ledger, run_id = RunLedger(default, locate), uuid4()
    about = SimpleNamespace(id_ref=refer(run_id), event="chain")
    ledger.start("above", ObservationType.CHAIN, "above", about=SimpleNamespace(id_ref=None))
    ledger.start(
        "run",
        ObservationType.CHAIN,
        "run",
        parent="above",
        input=1j,
        about=about,
        read=lambda _: ledger.finish("above"),
    )
    del run_id

    assert captured.outline() == "CHAIN above\n  CHAIN run [abandoned]"
    assert (len(ledger), ledger.left) == (0, {})
