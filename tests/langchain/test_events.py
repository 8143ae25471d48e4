"""
Rare events: retries, actions of older agents, texts, and events of unexpected shapes.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from uuid import uuid4

import orjson
import pytest
from langchain_core.agents import AgentAction, AgentFinish
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables import RunnableLambda, RunnableParallel
from scripted_models import ScriptedModel
from tenacity import Retrying, stop_after_attempt, wait_none

import fluxloop
from fluxloop.encoding.encoder import Encoder, Limits
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler, payloads


def running(handler, name="work"):
    """Begin the run of a chain and return its id."""
    run_id = uuid4()
    handler.on_chain_start(None, {"x": 1}, run_id=run_id, name=name)
    return run_id


def test_a_retry_is_an_event_with_the_failed_attempt(captured):
    """
    The client of a provider reports the number of the attempt and its error.
    """
    handler = FluxLoopCallbackHandler()
    run_id = running(handler)
    outcomes = iter([OSError("busy"), "fine"])

    def call():
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def before_sleep(state):
        handler.on_retry(state, run_id=run_id)

    Retrying(stop=stop_after_attempt(3), wait=wait_none(), before_sleep=before_sleep)(call)
    handler.on_chain_end("fine", run_id=run_id)
    event = captured.traces()[0].observations[1]

    assert (event.type.name, event.name, event.input["attempt"]) == ("EVENT", "retry", 1)
    assert event.input["error"]["message"] == "busy"


def test_the_actions_of_an_agent_executor_make_it_an_agent(captured):
    """
    Older agents report their decisions; only then does the run show that it is an agent.
    """
    handler = FluxLoopCallbackHandler()
    run_id = running(handler, "AgentExecutor")
    handler.on_agent_action(AgentAction("search", {"query": "x"}, "Let me search."), run_id=run_id)
    handler.on_agent_finish(AgentFinish({"output": "found"}, "Done."), run_id=run_id)
    handler.on_chain_end({"output": "found"}, run_id=run_id)

    assert captured.outline(inputs=True) == (
        "AGENT AgentExecutor({'x': 1}) -> {'output': 'found'}\n"
        "  EVENT agent_action({'tool': 'search', 'tool_input': {'query': 'x'}, 'log': 'Le…)\n"
        "  EVENT agent_finish({'return_values': {'output': 'found'}, 'log': 'Done.'})"
    )


@pytest.mark.parametrize("show_all", [False, True])
def test_texts_for_the_console_are_recorded_with_show_all(captured, show_all):
    """
    They repeat the input of a model, and are folded otherwise.
    """
    handler = FluxLoopCallbackHandler(show_all=show_all)
    run_id = running(handler)
    handler.on_text("Prompt after formatting: …", run_id=run_id)
    handler.on_chain_end("done", run_id=run_id)

    assert ("EVENT text" in captured.outline()) is show_all


def test_events_of_unknown_runs_are_ignored(captured):
    """
    Ends without a start, children of unknown runs and tokens after the end raise and record nothing.
    """
    handler = FluxLoopCallbackHandler()
    known = running(handler)
    handler.on_chain_end("done", run_id=known)
    for end in (handler.on_chain_end, handler.on_tool_end, handler.on_retriever_end):
        end("late", run_id=known)
        end("late", run_id=uuid4())
    handler.on_chain_error(ValueError("late"), run_id=known)
    handler.on_llm_new_token("late", run_id=uuid4(), parent_run_id=known)
    handler.on_llm_end(LLMResult(generations=[]), run_id=uuid4(), parent_run_id=known)
    handler.on_custom_event("late", {}, run_id=uuid4())

    assert captured.outline() == "CHAIN work -> 'done'"


def test_an_unreadable_event_does_not_affect_the_runs_inside(caplog):
    """
    It is counted and logged once; its run has its place in the tree.
    """
    mine = fluxloop.FluxLoopClient()
    with capture(mine) as captured, caplog.at_level(logging.WARNING, "fluxloop"):
        handler = FluxLoopCallbackHandler(client=mine)
        root, child = uuid4(), uuid4()
        handler.on_chain_start(["no dict"], {"x": 1}, run_id=root, tags=[7], metadata="none")
        handler.on_chain_start(None, {"x": 1}, run_id=child, parent_run_id=root, name="child")
        handler.on_chain_end("ok", run_id=child)
        handler.on_llm_end(SimpleNamespace(), run_id=root)

    assert captured.outline() == "CHAIN chain\n  CHAIN child -> 'ok'"
    assert mine.report().dropped == 2
    assert len(caplog.records) == 2


def test_prompts_and_messages_are_plain_data_at_any_place(captured, config):
    """
    LangChain's objects at the top, in a list and in a dict are recorded as role, content and other fields.
    """
    state = {"messages": [HumanMessage("hi"), ChatMessage("aye", role="pirate")], "page": Document("text"), "n": 1}
    RunnableLambda(lambda given: given["messages"]).invoke(state, config)
    (trace,) = captured.traces()

    assert trace.input == {
        "messages": [{"role": "user", "content": "hi"}, {"role": "pirate", "content": "aye"}],
        "page": {"page_content": "text", "metadata": {}},
        "n": 1,
    }
    assert trace.output == trace.input["messages"]


def test_a_streamed_chain_is_recorded_as_an_invoked_one(captured, config):
    """
    LangChain adds its output up in a dict of its own class, which is read as a dict.
    """
    chain = RunnableParallel(page=lambda _: [Document("text", id="7")], said=ScriptedModel(replies=["hi there"]))
    chain.invoke("?", config)
    list(chain.stream("?", config))
    invoked, streamed = captured.traces()

    assert streamed.output == invoked.output
    assert streamed.output["said"] == {"role": "assistant", "content": "hi there"}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        pytest.param(StringPromptValue(text="Who?"), "Who?", id="prompt"),
        pytest.param(
            ChatPromptValue(messages=[HumanMessage("hi")]), {"messages": [{"role": "user", "content": "hi"}]}, id="chat"
        ),
        pytest.param(
            ToolMessage("no", tool_call_id="c", status="error"),
            {"role": "tool", "content": "no", "tool_call_id": "c", "status": "error"},
            id="failed tool",
        ),
        pytest.param(
            AIMessage("", additional_kwargs={"tool_calls": [1], "refusal": "no"}),
            {"role": "assistant", "content": "", "additional_kwargs": {"refusal": "no"}},
            id="extras",
        ),
        pytest.param(RemoveMessage(id="m-1"), {"role": "remove", "content": "", "id": "m-1"}, id="removal"),
        pytest.param(b"bytes", b"bytes", id="other"),
    ],
)
def test_each_class_of_objects_has_a_reader(value, plain):
    """
    Fields that are empty, or elsewhere in the record, are omitted.
    """
    assert payloads.readable(value) == plain


def test_several_answers_of_one_run_are_a_list():
    """
    A model that is asked for several choices returns all of them.
    """
    choices = [[ChatGeneration(message=AIMessage("a")), Generation(text="b")]]

    assert payloads.answer(LLMResult(generations=choices)) == [{"role": "assistant", "content": "a"}, "b"]


def test_only_settings_are_read_from_the_parameters_of_a_model():
    """
    Endpoints, keys and headers are not recorded.
    """
    given = {"temperature": 0.2, "openai_api_key": "sk-1", "base_url": "https://x", "headers": {"a": "b"}, "seed": None}

    assert payloads.model_fields({"ls_model_name": "m", "ls_max_tokens": 5}, given) == {
        "model": "m",
        "provider": None,
        "model_parameters": {"temperature": 0.2, "max_tokens": 5},
    }


def test_of_more_messages_than_lists_are_read_here_the_newest_are_recorded():
    """
    A history of any length keeps its instructions and its newest messages; any other long list its first items.
    """
    given = [SystemMessage("Be brief."), *[HumanMessage("x")] * 50_000, HumanMessage("the newest")]

    read = payloads.readable({"messages": given, "numbers": list(range(payloads.MAX_ITEMS + 1))})
    made = orjson.loads(Encoder(Limits(value_bytes=4_000)).encode(read, SimpleNamespace(redacted=0, truncated=0)))

    assert made["messages"][0] == {"role": "system", "content": "Be brief."}
    assert made["messages"][-1] == {"role": "user", "content": "the newest"}
    assert made["numbers"][:3] == [0, 1, 2]
