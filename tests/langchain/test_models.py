"""
The record of a model call: messages, answer, model, parameters, token counts and times.
"""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
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


def test_messages_are_recorded_as_role_content_and_tool_calls(captured, config):
    """
    With the id of the call that a tool answers, and without LangChain's internal fields.
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


def test_of_a_history_over_the_limit_the_newest_messages_are_recorded(captured, config):
    """
    The instructions and the newest messages are kept whole, however long the history is.
    """
    history = [SystemMessage("Be brief."), *(HumanMessage(f"{number} {'words ' * 20}") for number in range(12_000))]
    RunnableLambda(lambda state: None).invoke({"messages": history}, config)

    [trace] = captured.traces()
    system, marker, *newest = trace.input["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert marker == f"…[truncated: {12_000 - len(newest):,} of 12,001 items left out]"
    assert [one["content"] for one in newest] == [one.content for one in history[-len(newest) :]]
    assert len(newest) > 4_000


def test_model_provider_parameters_and_tools_are_recorded(captured, config):
    """
    The requested model is the model of the record; the one that answered is in the metadata.
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


def test_credentials_in_the_parameters_are_not_recorded(captured, config):
    """
    The invocation parameters and the serialized model have keys and endpoints, which are not read.
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
    Usage is on the generation, and summed up on the trace, with cached and reasoning tokens.
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


def test_a_streamed_answer_is_recorded_with_its_pieces(captured, config):
    """
    The output is the message; the pieces and their times are in the metadata.
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
    A tool call that is streamed in pieces is recorded as one call.
    """
    list(ScriptedModel(replies=[calls("search", {"query": "x"})]).stream("Who?", config))

    assert generation(captured).output["tool_calls"] == [{"name": "search", "args": {"query": "x"}, "id": "call-1"}]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_fails_keeps_the_text_so_far(captured, config, is_async):
    """
    The error and the output so far are recorded on the model, and the error on the chain.
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
    The class and the traceback of the exception are on the generation.
    """
    with pytest.raises(TimeoutError):
        ScriptedModel(replies=[TimeoutError("too slow")]).invoke("Who?", config)
    observation = generation(captured)

    assert (observation.status.value, observation.error) == ("error", "too slow")
    assert observation.metadata["error_type"] == "TimeoutError"
    assert "too slow" in observation.metadata["traceback"]


def test_a_model_without_usage_has_none(captured, config):
    """
    A model that reports no token counts has no usage, not a usage of zero.
    """
    GenericFakeChatModel(messages=iter([AIMessage("yes")])).invoke("Who?", config)

    assert generation(captured).usage is None
    assert captured.traces()[0].usage is None


def test_an_answer_from_the_cache_is_marked_and_has_no_usage(captured, config):
    """
    LangChain returns the counts of the first call with a cached answer; they are not counted again.
    """
    model = ScriptedModel(replies=["yes"], cache=InMemoryCache())
    model.invoke("Who?", config)
    model.invoke("Who?", config)
    first, second = captured.traces()

    assert (first.usage.total_tokens, second.usage) == (25, None)
    assert second.observations[0].metadata["cached"] is True


def test_several_answers_are_a_list(captured, config):
    """
    ``generate`` runs each prompt as a run with its own answer.
    """
    ScriptedModel(replies=["one", "two"]).generate([[HumanMessage("a")], [HumanMessage("b")]], **config)

    assert [(t.input[0]["content"], t.output["content"]) for t in captured.traces()] == [("a", "one"), ("b", "two")]


def test_reasoning_is_kept_apart(captured, config):
    """
    Reasoning that a provider returns beside the content is recorded as ``reasoning``.
    """
    thought = AIMessage("Tigers.", additional_kwargs={"reasoning_content": "Big cats…", "refusal": None})
    GenericFakeChatModel(messages=iter([thought])).invoke("Who?", config)

    assert generation(captured).output == {"role": "assistant", "content": "Tigers.", "reasoning": "Big cats…"}


class Inline(BaseCallbackHandler):
    """A handler like LangGraph's own."""

    run_inline = True


@pytest.mark.parametrize("handlers", [1, 3])
@pytest.mark.parametrize("way", ["ainvoke", "astream"])
async def test_a_model_whose_start_is_not_reported_is_recorded(captured, way, handlers):
    """
    With an inline handler, langchain-core sends on_llm_start to no other handler, but tokens and the end; they are
    recorded once by any number of FluxLoop handlers.
    """
    config = {"callbacks": [*(FluxLoopCallbackHandler() for _ in range(handlers)), Inline()]}
    chain = ScriptedCompletion(reply="once upon") | StrOutputParser()
    if way == "astream":
        [piece async for piece in chain.astream("Who?", config)]
    else:
        await chain.ainvoke("Who?", config)
    said = "onceupon" if way == "astream" else "once upon"

    assert captured.outline() == f"CHAIN RunnableSequence -> '{said}'\n  GENERATION model -> '{said}'"


async def test_other_handlers_receive_the_start_of_completion_models(captured, config):
    """
    A sync handler beside FluxLoop's receives every event of async runs, including on_llm_start.
    """
    received = []

    class Other(BaseCallbackHandler):
        def on_llm_start(self, *args, **kwargs):
            received.append("start")

        def on_llm_end(self, *args, **kwargs):
            received.append("end")

    await ScriptedCompletion(reply="once").ainvoke("Who?", {"callbacks": [*config["callbacks"], Other()]})

    assert received == ["start", "end"]


@pytest.mark.skipif(IS_OLD, reason="langchain-core 1.0 has no version 3 of its event streams")
def test_the_events_of_a_version_3_stream_are_recorded(captured, config):
    """
    Such a stream has no token events; the pieces and the time to the first token are read from its events.
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
    Answers are redacted, also if a secret is split over pieces of a stream.
    """
    secret = "sk-" + "a1B2c3D4e5F6g7H8" * 3
    model = ScriptedModel(replies=[f"the key is {secret} indeed"])
    model.invoke("Who?", config)
    list(model.stream("Who?", config))

    assert secret not in repr(list(captured.storage.read()))


def test_with_capture_off_inputs_and_outputs_are_not_recorded(config):
    """
    Model, usage and times are still recorded.
    """
    before = fluxloop.report().problems
    with capture(capture_input=False, capture_output=False) as captured:
        list(ScriptedModel(replies=["Tigers hunt."]).stream("Who?", config))
    observation = generation(captured)

    assert (observation.input, observation.output) == (None, None)
    assert "Tigers" not in repr(list(captured.storage.read()))
    assert (observation.model, observation.usage.total_tokens) == ("scripted-1", 25)
    assert fluxloop.report().problems == before
