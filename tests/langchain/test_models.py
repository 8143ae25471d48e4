"""
What is recorded of a model call: what it was asked and answered, by which model, at what price, how fast.
"""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.tools import tool
from langchain_core.version import VERSION
from scripted_models import ScriptedCompletion, ScriptedModel, calls

import fluxloop
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler

TOKENS = {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25, "cache_read_tokens": 8, "reasoning_tokens": 2}
IS_OLD = VERSION.startswith("1.0.")


@tool
def search(query: str) -> str:
    """Search."""
    return "found"


def generation(captured):
    """The one GENERATION that was recorded."""
    (found,) = [o for trace in captured.traces() for o in trace.observations if o.type.name == "GENERATION"]
    return found


def test_messages_are_recorded_in_the_words_of_the_field(captured, config):
    """
    Role, content, tool calls, the id of the call a tool answers; nothing of LangChain's own bookkeeping.
    """
    history = [
        SystemMessage("Be brief."),
        HumanMessage("Who?"),
        calls("search", {"query": "who"}, "c1"),
        ToolMessage("found", tool_call_id="c1", name="search"),
    ]
    ScriptedModel(replies=["Tigers."]).invoke(history, config)

    assert generation(captured).input == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "search", "args": {"query": "who"}, "id": "c1"}]},
        {"role": "tool", "content": "found", "tool_call_id": "c1", "name": "search"},
    ]


def test_the_call_says_model_provider_settings_and_tools(captured, config):
    """
    The model is the one asked for, the one that answered stands beside; of the tools the names.
    """
    model = ScriptedModel(replies=[calls("search", {"query": "x"})], model_name="gpt-x").bind_tools([search])
    model.invoke("Who?", config)
    observation = generation(captured)

    assert (observation.model, observation.metadata["response_model"]) == ("gpt-x", "gpt-x-2026-01")
    assert observation.provider == "scriptedmodel"
    assert observation.model_parameters == {"temperature": 0.5}
    assert observation.metadata["tools"] == ["search"]
    assert observation.finish_reasons == ["tool_calls"]
    assert observation.output["tool_calls"] == [{"name": "search", "args": {"query": "x"}, "id": "call-1"}]


def test_credentials_among_the_parameters_stay_out(captured, config):
    """
    Invocation parameters and the serialized model hold keys and endpoints; none of them is read.
    """
    ScriptedModel(replies=["yes"]).bind(authorization="Bearer sesame", extra_headers={"x": "hush"}).invoke(
        "Who?", config
    )
    everything = repr(list(captured.storage.read()))

    assert "sesame" not in everything
    assert "hush" not in everything
    assert "sk-abcdefghijklmnopqrstuvwxyz" not in everything


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_tokens_are_counted_once_streamed_or_not(captured, config, way):
    """
    Usage is on the generation and summed up on the trace, cached and reasoning tokens included.
    """
    chain = ScriptedModel(replies=["Tigers hunt at night."]) | StrOutputParser()
    if way == "stream":
        list(chain.stream("Who?", config))
    elif way == "astream":
        [piece async for piece in chain.astream("Who?", config)]
    else:
        chain.invoke("Who?", config) if way == "invoke" else await chain.ainvoke("Who?", config)

    assert generation(captured).usage.model_dump(exclude_none=True) == TOKENS
    assert captured.traces()[0].usage.model_dump(exclude_none=True) == TOKENS


def test_a_streamed_answer_is_whole_and_tells_its_pieces(captured, config):
    """
    The output is the message, the pieces and when they came are in the metadata, with the time to the first.
    """
    list(ScriptedModel(replies=["Tigers hunt at night."]).stream("Who?", config))
    observation = generation(captured)
    stream = observation.metadata["stream"]

    assert observation.output == {"role": "assistant", "content": "Tigers hunt at night."}
    assert [piece for piece in stream["items"] if piece] == ["Tigers", " hunt", " at", " night."]
    assert stream["count"] == len(stream["items"]) == len(stream["offsets_ms"])
    assert observation.time_to_first_token_ms == stream["offsets_ms"][0] > 0
    assert stream["ended"] == "exhausted"


def test_a_streamed_tool_call_is_put_together(captured, config):
    """
    An answer that is a tool call, streamed in pieces, is recorded as one.
    """
    list(ScriptedModel(replies=[calls("search", {"query": "x"})]).stream("Who?", config))

    assert generation(captured).output["tool_calls"] == [{"name": "search", "args": {"query": "x"}, "id": "call-1"}]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_breaks_keeps_what_was_said(captured, config, is_async):
    """
    The error is the model's own, and the output is as far as it came; so is the tree.
    """
    chain = ScriptedModel(replies=["Tigers hunt at night."], breaks_after=2) | StrOutputParser()

    async def read():
        return [piece async for piece in chain.astream("Who?", config)]

    with pytest.raises(ConnectionError):
        asyncio.run(read()) if is_async else list(chain.stream("Who?", config))
    observation = generation(captured)

    assert (observation.status.value, observation.error) == ("error", "the line went dead")
    assert "Tigers hunt" in str(observation.output)
    assert captured.traces()[0].status.value == "error"


def test_a_failing_model_is_an_error_with_its_exception(captured, config):
    """
    The class and the traceback of what the provider's client raised are on the generation.
    """
    with pytest.raises(TimeoutError):
        ScriptedModel(replies=[TimeoutError("too slow")]).invoke("Who?", config)
    observation = generation(captured)

    assert (observation.status.value, observation.error) == ("error", "too slow")
    assert observation.metadata["error_type"] == "TimeoutError"
    assert "too slow" in observation.metadata["traceback"]


def test_a_model_without_usage_has_none(captured, config):
    """
    What nobody reported is not zero.
    """
    GenericFakeChatModel(messages=iter([AIMessage("yes")])).invoke("Who?", config)

    assert generation(captured).usage is None
    assert captured.traces()[0].usage is None


def test_an_answer_from_the_cache_costs_nothing_and_says_so(captured, config):
    """
    LangChain repeats the counts of the first call with a cached answer; they are not counted again.
    """
    model = ScriptedModel(replies=["yes"], cache=InMemoryCache())
    model.invoke("Who?", config)
    model.invoke("Who?", config)
    first, second = captured.traces()

    assert (first.usage.total_tokens, second.usage) == (25, None)
    assert second.observations[0].metadata["cached"] is True


def test_several_answers_are_a_list(captured, config):
    """
    ``generate`` makes a run of every prompt, each with its own answer.
    """
    ScriptedModel(replies=["one", "two"]).generate([[HumanMessage("a")], [HumanMessage("b")]], **config)

    assert [(t.input[0]["content"], t.output["content"]) for t in captured.traces()] == [("a", "one"), ("b", "two")]


def test_reasoning_is_kept_apart(captured, config):
    """
    What a model thought, where a provider puts it beside the content, is the message's reasoning.
    """
    thought = AIMessage("Tigers.", additional_kwargs={"reasoning_content": "Big cats…", "refusal": None})
    GenericFakeChatModel(messages=iter([thought])).invoke("Who?", config)

    assert generation(captured).output == {"role": "assistant", "content": "Tigers.", "reasoning": "Big cats…"}


class Inline(BaseCallbackHandler):
    """A handler like LangGraph's own."""

    run_inline = True


@pytest.mark.parametrize("handlers", [1, 3])
@pytest.mark.parametrize("way", ["ainvoke", "astream"])
async def test_a_model_whose_start_we_were_not_told_is_recorded_all_the_same(captured, way, handlers):
    """
    An inline handler keeps on_llm_start from all others; what the model says and how it ends is told, and
    recorded once by however many handlers of ours.
    """
    config = {"callbacks": [*(FluxLoopCallbackHandler() for _ in range(handlers)), Inline()]}
    chain = ScriptedCompletion(reply="once upon") | StrOutputParser()
    if way == "astream":
        [piece async for piece in chain.astream("Tell", config)]
    else:
        await chain.ainvoke("Tell", config)
    said = "onceupon" if way == "astream" else "once upon"

    assert captured.outline() == f"CHAIN RunnableSequence -> '{said}'\n  GENERATION model -> '{said}'"


async def test_others_are_not_starved_by_ours(captured, config):
    """
    A sync handler beside ours is told of every event on async runs, on_llm_start included.
    """
    told = []

    class Other(BaseCallbackHandler):
        def on_llm_start(self, *args, **kwargs):
            told.append("start")

        def on_llm_end(self, *args, **kwargs):
            told.append("end")

    await ScriptedCompletion(reply="once").ainvoke("Tell", {"callbacks": [*config["callbacks"], Other()]})

    assert told == ["start", "end"]


@pytest.mark.skipif(IS_OLD, reason="langchain-core 1.0 has no version 3 of its event streams")
def test_the_events_of_a_version_3_stream_are_noted(captured, config):
    """
    They bring no tokens and no other event does; the pieces and the time to the first come from them.
    """
    model = ScriptedModel(replies=["Tigers hunt."])
    for _ in model.stream_events("Who?", config, version="v3"):
        pass
    observation = generation(captured)

    assert [block["text"] for block in observation.output["content"]] == ["Tigers hunt."]
    assert "".join(observation.metadata["stream"]["items"]) == "Tigers hunt."
    assert observation.time_to_first_token_ms > 0


def test_a_secret_in_an_answer_is_masked(captured, config):
    """
    What comes from a model goes through redaction like everything else, split over pieces as well.
    """
    secret = "sk-" + "a1B2c3D4e5F6g7H8" * 3
    model = ScriptedModel(replies=[f"the key is {secret} indeed"])
    model.invoke("Who?", config)
    list(model.stream("Who?", config))

    assert secret not in repr(list(captured.storage.read()))


def test_what_is_not_to_be_captured_is_not(config):
    """
    With inputs and outputs switched off, model, usage and times are still there.
    """
    with capture(capture_input=False, capture_output=False) as captured:
        list(ScriptedModel(replies=["Tigers hunt."]).stream("Who?", config))
    observation = generation(captured)

    assert (observation.input, observation.output) == (None, None)
    assert "Tigers" not in repr(list(captured.storage.read()))
    assert (observation.model, observation.usage.total_tokens) == ("scripted-1", 25)
    assert fluxloop.report().problems == ()
