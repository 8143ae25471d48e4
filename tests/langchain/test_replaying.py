"""
LangChain and LangGraph, answered from a recorded trace: models, tools, retrievers, agents, interrupts.
"""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from scripted_models import ScriptedCompletion, ScriptedModel, calls

import fluxloop
from fluxloop.testing import Captured, capture
from fluxloop_langchain import FluxLoopCallbackHandler

ran: list[str] = []
"""The calls of tools, models and retrievers that ran for real."""


class Model(ScriptedModel):
    """Notes that it ran."""

    def _turn(self) -> AIMessage:
        ran.append("model")
        return super()._turn()


class Completion(ScriptedCompletion):
    """Notes that it ran."""

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        ran.append("completion")
        return f"{self.reply} {prompt}"


class Shelf(BaseRetriever):
    """Returns one document."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        ran.append("retriever")
        return [Document(id="7", page_content=f"about {query}", metadata={"page": 1})]


@tool
def look(city: str) -> str:
    """Look at the weather."""
    ran.append(f"look {city}")
    if city == "Atlantis":
        raise LookupError("no such city")
    return f"sunny in {city}"


def config() -> Any:
    return {"callbacks": [FluxLoopCallbackHandler()], "configurable": {"thread_id": "1"}}


def agent() -> Any:
    agents = pytest.importorskip("langchain.agents")
    asked = [{"name": "look", "args": {"city": city}, "id": f"call-{city}"} for city in ("Rome", "Oslo")]
    return agents.create_agent(Model(replies=[AIMessage("", tool_calls=asked), "All is well."]), [look])


HI = {"messages": [("user", "hi")]}


def agent_invoke() -> Any:
    return agent().invoke(HI, config())["messages"]


async def agent_ainvoke() -> Any:
    return (await agent().ainvoke(HI, config()))["messages"]


def agent_stream() -> Any:
    return [message for message, _ in agent().stream(HI, config(), stream_mode="messages")]


async def agent_astream() -> Any:
    return [message async for message, _ in agent().astream(HI, config(), stream_mode="messages")]


def model_invoke() -> Any:
    return Model(replies=[calls("look", {"city": "Rome"})]).invoke("x", config())


def model_batch() -> Any:
    return Model(replies=["a", "b", "c"]).batch(["x", "y", "z"], config())


def model_stream() -> Any:
    return list(Model(replies=["a few words"]).stream("x", config()))


async def model_astream() -> Any:
    return [chunk async for chunk in Model(replies=["a few words"]).astream("x", config())]


async def model_astream_events() -> Any:
    events = Model(replies=["a few words"]).astream_events("x", config(), version="v2")
    return [(event["event"], event["data"].get("chunk")) async for event in events]


def completion_batch() -> Any:
    return Completion(reply="re").batch(["x", "y"], config())


async def completion_ainvoke() -> Any:
    return await Completion(reply="re").ainvoke("x", config())


def completion_stream() -> Any:
    return list(ScriptedCompletion(reply="one two").stream("x", config()))


def retriever_invoke() -> Any:
    return Shelf().invoke("owls", config())


async def retriever_ainvoke() -> Any:
    return await Shelf().ainvoke("owls", config())


def tool_invoke() -> Any:
    return look.invoke({"city": "Rome"}, config())


async def tool_call() -> Any:
    return await look.ainvoke({"type": "tool_call", "name": "look", "args": {"city": "Oslo"}, "id": "1"}, config())


CALLS = [
    *(agent_invoke, agent_ainvoke, agent_stream, agent_astream, model_invoke, model_batch, model_stream),
    *(model_astream, model_astream_events, completion_batch, completion_ainvoke, completion_stream),
    *(retriever_invoke, retriever_ainvoke, tool_invoke, tool_call),
]


def made(call: Callable[[], Any]) -> Any:
    """Return the result of *call*, a function or a coroutine function."""
    result = call()
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def record(call: Callable[[], Any], **settings: Any) -> tuple[Any, Captured]:
    """Return the result of *call*, and its records; forget what ran."""
    with capture(**settings) as captured:
        result = made(call)
    ran.clear()
    return result, captured


def comparable(value: Any, *, ids: bool) -> Any:
    """Return *value* with messages as class and data; without the ids that LangGraph makes, or without any."""
    if isinstance(value, list | tuple):
        return [comparable(item, ids=ids) for item in value]
    if not hasattr(value, "model_dump"):
        return value
    data = value.model_dump()
    if not ids or not isinstance(value, AIMessage | Document):
        data.pop("id", None)
    return type(value).__name__, data


def in_any_order(value: Any) -> Any:
    """Return *value* with the messages of parallel tools sorted; they come as they end."""
    if not isinstance(value, list) or not all(isinstance(item, BaseMessage) for item in value):
        return value
    return sorted(value, key=lambda item: item.content if isinstance(item, ToolMessage) else "")


@pytest.mark.parametrize("match", ["strict", "fifo", "loose"])
@pytest.mark.parametrize("replayable", [True, False])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_replay_returns_what_the_recorded_run_returned(call, replayable, match):
    """
    Messages, chunks and documents have the class and the data of the recorded ones; nothing runs for real.
    """
    recorded, captured = record(call, replayable=replayable)

    with capture() as again, fluxloop.replay(captured.traces(), match=match) as replay:
        replayed = made(call)

    assert ran == []
    expected = comparable(in_any_order(recorded), ids=replayable)
    is_parallel = "batch" in call.__name__ or "agent" in call.__name__
    if match == "fifo" and is_parallel:  # calls of one name get the answers in the order of their start
        assert len(replayed) == len(recorded)
    elif replayable or "stream" not in call.__name__:
        assert comparable(in_any_order(replayed), ids=replayable) == expected
    assert sorted(again.outline().splitlines()) == sorted(captured.outline().splitlines())
    assert not replay.misses
    assert not replay.unused


def test_the_error_of_a_tool_is_raised_again():
    """
    The exception has the class of the recorded one, and the tool does not run.
    """

    def call() -> str:
        try:
            return look.invoke({"city": "Atlantis"}, config())
        except LookupError as error:
            return repr(error)

    recorded, captured = record(call)
    with capture(), fluxloop.replay(captured.traces()):
        assert call() == recorded == "LookupError('no such city')"
    assert ran == []


@pytest.mark.parametrize("replayable", [True, False])
def test_interrupts_and_resumes_go_as_they_did(replayable):
    """
    A tool that waited twice for a person waits twice again, at the recorded questions, without running.
    """
    agents = pytest.importorskip("langchain.agents")
    memory = pytest.importorskip("langgraph.checkpoint.memory")
    types = pytest.importorskip("langgraph.types")

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        ran.append("pay")
        first = types.interrupt({"amount": amount})
        return f"{first} {types.interrupt({'sure': first})}"

    @tool
    def note(text: str) -> Any:
        """Note a text in the state."""
        ran.append("note")
        return types.Command(update={"messages": [ToolMessage(f"noted {text}", tool_call_id="n")]})

    def run() -> Any:
        model = Model(replies=[calls("pay", {"amount": 5}), calls("note", {"text": "x"}, "n"), "done"])
        graph = agents.create_agent(model, [pay, note], checkpointer=memory.InMemorySaver())
        asked = [HI, types.Command(resume="yes"), types.Command(resume="sure")]
        states = [graph.invoke(each, config()) for each in asked]
        waits = [[one.value for one in state.get("__interrupt__", ())] for state in states]
        return waits, [message.content for message in states[-1]["messages"]]

    recorded, captured = record(run, replayable=replayable)
    with capture() as again, fluxloop.replay(captured.traces()):
        replayed = run()

    assert replayed == recorded
    assert recorded == ([[{"amount": 5}], [{"sure": "yes"}], []], ["hi", "", "yes sure", "", "noted x", "done"])
    assert again.outline() == captured.outline()
    assert ran == []


def test_a_miss_inside_a_framework_fails_the_block():
    """
    The agent asks another question: the model does not run, and the error names the recorded question.
    """
    _, captured = record(agent_invoke)

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="nearest recorded call"):
        with fluxloop.replay(captured.traces()):
            try:
                agent().invoke({"messages": [("user", "hello")]}, config())
            except Exception:  # the program goes on
                ran.clear()
    assert ran == []


def test_a_model_without_the_handler_does_not_run():
    """
    A call that is not recorded has no place in the recording; the error says how to attach the handler.
    """
    _, captured = record(model_invoke)

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="install"), fluxloop.replay(captured.traces()):
        Model(replies=["never"]).invoke("x")
    assert ran == []


def test_a_tool_runs_live_under_the_recorded_conversation():
    """
    With ``live``, the named tool runs; the model is answered from the recording.
    """
    _, captured = record(agent_invoke)

    with capture(), fluxloop.replay(captured.traces(), live="look") as replay:
        agent_invoke()

    assert sorted(ran) == ["look Oslo", "look Rome"]
    assert (replay.report().hits, replay.report().live) == (2, 2)


def test_classes_are_as_before_after_the_block():
    """
    Methods are restored, also those of classes that were made while the replay was open.
    """
    before = Model._generate
    _, captured = record(model_invoke)
    with capture(), fluxloop.replay(captured.traces(), match="fifo"):

        class Later(Model):
            def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
                return super()._generate(messages, stop, run_manager, **kwargs)

        assert "__wrapped__" in vars(Later._generate)
    assert Model._generate is before
    assert "__wrapped__" not in vars(Later._generate)


class Unknown(Model):
    """A model whose class is not in the recording."""


def test_a_model_of_another_class_without_the_handler_does_not_run():
    """
    It has no client that is answered, so it would run for real, unseen.
    """
    _, captured = record(model_invoke)

    with capture(), pytest.raises(fluxloop.ReplayMismatch, match="install"), fluxloop.replay(captured.traces()):
        Unknown(replies=["never"]).invoke("x")
    assert ran == []


def test_a_model_without_the_handler_runs_where_calls_run_for_real():
    """
    Inside a function that runs live, and with ``live="models"``.
    """

    @fluxloop.tool
    def ask() -> str:
        return str(Unknown(replies=["hi"]).invoke("x").content)

    def run() -> str:
        with fluxloop.instrument("run"):
            return ask()

    _, captured = record(run)
    with capture(), fluxloop.replay(captured.traces(), live="ask"):
        assert run() == "hi"
    with capture(), fluxloop.replay(captured.traces(), live="models", match="loose"):
        assert Unknown(replies=["hi"]).invoke("x").content == "hi"


def test_the_adapter_is_loaded_for_a_replay(tmp_path):
    """
    A program that uses LangChain and never imports FluxLoop's adapter: its model does not run unseen.
    """
    program = """
import sys
from langchain_core.language_models import FakeListChatModel
import fluxloop
assert "fluxloop_langchain" not in sys.modules
with fluxloop.testing.capture() as captured, fluxloop.instrument("run"):
    pass
try:
    with fluxloop.testing.capture(), fluxloop.replay(captured.traces()):
        FakeListChatModel(responses=["never"]).invoke("x")
except fluxloop.ReplayMismatch as miss:
    assert "fluxloop.install()" in str(miss)
else:
    raise SystemExit("the model ran")
"""
    import offline

    done = subprocess.run([sys.executable, "-c", program], env=offline.environment(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
