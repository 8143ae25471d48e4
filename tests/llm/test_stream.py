"""
Parsing streams: the text of each item, and the answer of all, with each model call counted once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxloop.llm.response_facts import ModelFacts
from fluxloop.llm.stream.assembly import StreamFacts, delta_text


def counts(input=None, output=None, total=None, read=None, write=None, reasoning=None) -> dict[str, int]:
    """Our usage dict of those counts that are given."""
    names = ("input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens")
    given = dict(zip((*names, "reasoning_tokens"), (input, output, total, read, write, reasoning), strict=True))
    return {name: number for name, number in given.items() if number is not None}


def as_object(value: Any) -> Any:
    """The same names as attributes, all the way down to a tool's arguments, which are JSON in every SDK."""
    if isinstance(value, dict):
        kept = {"args", "arguments"}
        return SimpleNamespace(**{k: inner if k in kept else as_object(inner) for k, inner in value.items()})
    return [as_object(inner) for inner in value] if isinstance(value, list) else value


def read(items: Iterable[object]) -> StreamFacts:
    """The reader after all *items* have passed."""
    stream = StreamFacts()
    for item in items:
        stream.on_item(item)
    return stream


def wire(name: str) -> list[dict]:
    """The stream of that name, item by item, as it comes over the wire."""
    lines = (Path(__file__).parent / "streams" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def chat_chunk(delta: dict | None = None, *, id: str = "chatcmpl-1", reason: str | None = None, **more: Any) -> dict:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {
        "id": id,
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o",
        "choices": choices,
        "usage": None,
        **more,
    }


def chat_call(index: int, arguments: str, **more: Any) -> dict:
    name = more.pop("name", None)
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"tool_calls": [{"index": index, "function": function, "type": "function", **more}]}


CHAT_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {"cached_tokens": 80},
    "completion_tokens_details": {"reasoning_tokens": 30},
}

CHAT = wire("openai_chat")
RESPONSES = wire("openai_responses")
ANTHROPIC = wire("anthropic")
LANGCHAIN = wire("langchain")
LANGCHAIN_EVENTS = wire("langchain_events")
CALLS = [
    {"id": "call_a", "name": "add", "arguments": {"a": 1}},
    {"id": "call_b", "name": "weather", "arguments": {"city": "Paris"}},
]


def tools(call_id: str | None) -> list[dict]:
    return [{"id": call_id, "name": "add", "arguments": {"a": 1}}]


FULL = counts(100, 40, 140, 80, None, 30)
STREAMS = {
    "openai chat": (CHAT, ModelFacts(FULL, "gpt-4o", None, ["tool_calls"], "chatcmpl-1"), CALLS),
    "openai responses": (
        RESPONSES,
        ModelFacts({**FULL, "cache_write_tokens": 0}, "gpt-5", None, ["completed"], "resp_1"),
        tools("call_a"),
    ),
    "anthropic": (
        ANTHROPIC,
        ModelFacts(counts(100, 40, 140, 80, 17), "claude-sonnet-4-5", None, ["tool_use"], "msg_1"),
        tools("toolu_1"),
    ),
    "google": (
        wire("google"),
        ModelFacts(counts(100, 40, 140, reasoning=30), "gemini-2.5-flash", None, ["STOP"], "g-1"),
        tools("f1"),
    ),
    "bedrock": (wire("bedrock"), ModelFacts(counts(100, 40, 140, 80), None, None, ["tool_use"]), tools("t1")),
    "ollama": (wire("ollama"), ModelFacts(counts(100, 40, 140), "llama3.2", None, ["stop"]), tools(None)),
    "cohere": (wire("cohere"), ModelFacts(counts(100, 40, 140), None, None, ["TOOL_CALL"], "c-1"), tools("t1")),
    "langchain": (
        LANGCHAIN,
        ModelFacts(counts(100, 40, 140, 80), "claude-sonnet-4-5", "anthropic", ["tool_use"]),
        tools("toolu_1"),
    ),
    "langchain events": (
        LANGCHAIN_EVENTS,
        ModelFacts(counts(100, 40, 140), "gpt-4o", "openai", ["stop"]),
        tools("t1"),
    ),
}


@pytest.mark.parametrize("shape", [lambda item: item, as_object], ids=["dicts", "objects"])
@pytest.mark.parametrize(("items", "facts", "calls"), STREAMS.values(), ids=STREAMS)
def test_text_facts_and_tool_calls_are_read_from_a_stream(items, facts, calls, shape):
    """
    Every provider's stream is read, counted once, as dicts and as objects.
    """
    stream = read(map(shape, items))

    assert stream.text() == "Hello"
    assert stream.facts() == facts
    assert stream.message()["tool_calls"] == calls
    assert stream.message()["content"] == "Hello"


@pytest.mark.parametrize("items", [items for items, _, _ in STREAMS.values()], ids=STREAMS)
def test_the_items_text_joined_is_the_stream_s(items):
    """
    What `on_item` returns, item by item, equals `delta_text` of each item, and `text` is their concatenation.
    """
    stream = StreamFacts()
    seen = [stream.on_item(item) for item in items]

    assert "".join(text or "" for text in seen) == stream.text() == "Hello"
    assert seen == [delta_text(item) for item in items]


@pytest.mark.parametrize("items", [items for items, _, _ in STREAMS.values()], ids=STREAMS)
def test_the_answer_so_far_is_available_at_any_time(items):
    """
    A stream that is closed early has the answer up to then.
    """
    for end in range(len(items)):
        stream = read(items[:end])

        assert "Hello".startswith(stream.text() or "")
        assert stream.message() is None or stream.message()["role"] == "assistant"
        json.dumps([stream.message(), stream.facts() and stream.facts().usage])


def test_incomplete_arguments_stay_text():
    """
    Arguments that end in the middle of an object are kept as text.
    """
    assert read(CHAT[:5]).message()["tool_calls"] == [{"id": "call_a", "name": "add", "arguments": '{"a": '}]


def test_the_helper_s_text_alone_is_read():
    """
    A program that passes on only the SDK's text events still has its text.
    """
    events = [{"type": "text", "text": "Hel", "snapshot": "Hel"}, {"type": "text", "text": "lo", "snapshot": "Hello"}]

    assert read(events).text() == "Hello"


def test_counts_repeated_in_every_chunk_count_once():
    """
    Some servers send the usage so far with each chunk: the last one counts.
    """
    growing = [chat_chunk({"content": "a"}, usage={"prompt_tokens": 100, "completion_tokens": n}) for n in range(1, 6)]

    assert read(growing).facts().usage == counts(100, 5, 105)


def test_a_stream_without_usage_has_none():
    """
    If a provider sends no counts, there are none.
    """
    assert read(CHAT[:-1]).facts() == ModelFacts(None, "gpt-4o", None, ["tool_calls"], "chatcmpl-1")


def test_a_complete_result_after_its_chunks_replaces_their_counts():
    """
    A program may yield the final completion, or its usage, as the last item: the call still counts once.
    """
    whole = {
        **CHAT[-1],
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    }
    final = {
        "type": "message",
        "id": "msg_1",
        "content": [{"type": "text", "text": "Hello"}],
        "usage": {"input_tokens": 100, "output_tokens": 40},
    }

    assert read([*CHAT, whole]).text() == "Hello"
    assert read([*CHAT, whole]).facts().usage == FULL
    assert read([*CHAT[:-1], {"usage": CHAT_USAGE}]).facts().usage == FULL
    assert read([*ANTHROPIC, final]).text() == "Hello"
    assert read([*ANTHROPIC, final]).facts().usage == counts(100, 40, 140)


def test_a_langchain_message_after_its_chunks_counts_once():
    """
    The message LangChain returns at the end repeats the chunks with its id.
    """
    message = {
        "type": "ai",
        "id": "lc_run--1",
        "content": "Hello",
        "usage_metadata": {"input_tokens": 100, "output_tokens": 40},
    }

    assert read([*LANGCHAIN, message]).text() == "Hello"
    assert read([*LANGCHAIN, message]).facts() == STREAMS["langchain"][1]
    assert read([message]).text() == "Hello"
    assert read([message]).facts().usage == counts(100, 40, 140)


def test_a_complete_result_after_chunks_without_text_counts_once():
    """
    A complete result also repeats an answer that only calls tools.
    """
    chunks = [chunk for chunk in CHAT if not (chunk["choices"] and chunk["choices"][0]["delta"].get("content"))]
    call = {"index": 0, "id": "call_a", "function": {"name": "add", "arguments": '{"a": 1}'}}
    choice = {"index": 0, "message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    message = {"type": "ai", "id": "lc_run--1", "content": "", "usage_metadata": {"input_tokens": 1}}
    silent = [item for item in LANGCHAIN if not item["content"]]

    assert read([*chunks, {**CHAT[-1], "choices": [choice]}]).message() == read(chunks).message()
    assert read([*silent, message]).facts() == STREAMS["langchain"][1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CHAT, [{**chunk, "id": "chatcmpl-2"} for chunk in CHAT]),
        (RESPONSES, RESPONSES),
        (ANTHROPIC, ANTHROPIC),
        (LANGCHAIN, [{**chunk, "id": "lc_run--2"} for chunk in LANGCHAIN]),
        (LANGCHAIN_EVENTS, LANGCHAIN_EVENTS),
    ],
    ids=["openai chat", "openai responses", "anthropic", "langchain", "langchain events"],
)
def test_the_calls_of_an_agent_s_loop_are_added_up(first, second):
    """
    If a stream continues with another model call, both are counted, and their tool calls are separate.
    """
    once, twice = read(first), read([*first, *second])

    assert twice.text() == "HelloHello"
    assert twice.facts().usage == {name: 2 * number for name, number in once.facts().usage.items()}
    assert len(twice.message()["tool_calls"]) == 2 * len(once.message()["tool_calls"])


def test_a_server_that_changes_the_id_with_every_chunk_is_one_call():
    """
    A different id begins another call only after an answer has ended.
    """
    chunks = [{**chunk, "id": f"id-{number}"} for number, chunk in enumerate(CHAT)]

    assert read(chunks).facts().usage == FULL
    assert read(chunks).message()["tool_calls"] == CALLS


def test_calls_under_one_index_with_different_ids_are_different_calls():
    """
    Gemini's OpenAI endpoint numbers all parallel calls 0.
    """
    chunks = [chat_chunk(chat_call(0, '{"a": 1}', id=id, name="add")) for id in ("x", "y")]

    assert [call["id"] for call in read(chunks).message()["tool_calls"]] == ["x", "y"]


def test_the_text_is_the_first_choice_s():
    """
    Choices are interleaved; the first is the answer, and each has its reason.
    """
    chunks = [
        {
            **chat_chunk(),
            "choices": [
                {"index": i, "delta": {"content": text}, "finish_reason": "stop"} for i, text in enumerate("ab")
            ],
        }
    ]

    assert read(chunks).text() == "a"
    assert read(chunks).facts().finish_reasons == ["stop", "stop"]


# --- one item -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("Hi", "Hi"),
        ("", ""),
        (chat_chunk({"content": None}), ""),
        (chat_chunk({"content": [{"type": "text", "text": "Hi"}]}), "Hi"),
        ({"id": "cmpl-1", "choices": [{"index": 0, "text": "Hi"}]}, "Hi"),
        ({"choices": [{"index": 0, "message": {"content": "Hi"}}]}, "Hi"),
        ({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}], "usageMetadata": {}}, "Hi"),
        ({"candidates": None, "usage_metadata": {"prompt_token_count": 1}}, ""),
        ({"model": "m", "response": "Hi", "done": False}, "Hi"),
        ({"type": "text", "text": "Hi"}, "Hi"),
        ([{"type": "text", "text": "Hi"}, {"type": "image", "url": "u"}], "Hi"),
        ({"type": "chunk", "chunk": chat_chunk({"content": "Hi"})}, "Hi"),
        (
            {
                "type": "thread.item.updated",
                "item_id": "i",
                "update": {"type": "assistant_message.content_part.text_delta", "content_index": 0, "delta": "Hi"},
            },
            "Hi",
        ),
        ({"type": "thread.item.done", "item": {"content": [{"text": "Hi"}]}}, ""),
        ({"type": "response.audio.delta", "delta": "AAAA"}, ""),
        ({"type": "response.refusal.delta", "delta": "No"}, ""),
        ({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}}, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_item_s_text_is_found(item, text):
    """
    Known shapes return their text, or "" if they have none.
    """
    assert delta_text(item) == text
    assert delta_text(as_object(item)) == text


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        7.5,
        True,
        b"Hi",
        {},
        [],
        (),
        (1, 2),
        ("a", "b"),
        ("a", "b", "c"),
        {"type": "AIMessageChunk"},
        [1, 2],
        ["Hi"],
        {"text": "Hi"},
        {"type": "text", "text": None},
        {"type": "chunk", "data": "Hi"},
        {"type": "message", "content": "Hi"},
        {"type": "progress", "percent": 3},
        {"choices": "yes"},
        {"metadata": {"a": 1}},
        {"done": True},
        {"type": ["text"]},
        {"usage": {"prompt_tokens": 1}},
        Mock(),
        MagicMock(),
        object(),
        (number for number in range(3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_items_add_nothing_to_an_answer(item):
    """
    Unknown items return None, so that a stream of them is not read as text.
    """
    stream = StreamFacts()

    assert delta_text(item) is None
    assert stream.on_item(item) is None
    assert stream.text() is None
    assert stream.message() is None


def test_text_of_a_library_s_own_string_type_is_plain_text():
    """
    LangChain's ``message.text`` is an instance of a subclass of str.
    """

    class Text(str):
        __slots__ = ()

    assert type(delta_text(Text("Hi"))) is str
    assert delta_text(Text("Hi")) == "Hi"


def anthropic_delta(**delta: str) -> dict:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def langchain(content: Any, **more: Any) -> dict:
    return {"type": "AIMessageChunk", "id": "lc_run--1", "content": content, **more}


@pytest.mark.parametrize(
    "items",
    [
        [chat_chunk({"reasoning_content": "Hm. "}), chat_chunk({"reasoning": "So."}), chat_chunk({"content": "Hi"})],
        [
            {"type": "response.reasoning_summary_text.delta", "delta": "Hm. "},
            {"type": "response.reasoning_text.delta", "delta": "So."},
            {"type": "response.output_text.delta", "delta": "Hi"},
        ],
        [
            anthropic_delta(type="thinking_delta", thinking="Hm. So."),
            anthropic_delta(type="signature_delta", signature="x"),
            anthropic_delta(type="text_delta", text="Hi"),
        ],
        [
            langchain([{"type": "thinking", "thinking": "Hm. "}]),
            langchain([{"type": "reasoning", "reasoning": "So."}]),
            langchain(["Hi"]),
        ],
        [langchain("", additional_kwargs={"reasoning_content": "Hm. So."}), langchain("Hi")],
        [
            {"event": "content-block-delta", "index": 0, "delta": {"type": "reasoning-delta", "reasoning": "Hm. So."}},
            {"event": "content-block-delta", "index": 1, "delta": {"type": "text-delta", "text": "Hi"}},
        ],
        [
            {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "Hm. So."}}, "contentBlockIndex": 0}},
            {"contentBlockDelta": {"delta": {"text": "Hi"}, "contentBlockIndex": 1}},
        ],
        [{"model": "m", "message": {"content": "Hi", "thinking": "Hm. So."}, "done": False}],
    ],
    ids=["chat", "responses", "anthropic", "blocks", "langchain", "langchain events", "bedrock", "ollama"],
)
def test_reasoning_is_separate_from_the_text(items):
    """
    Reasoning is not part of the text, and is kept.
    """
    assert read(items).message() == {"role": "assistant", "content": "Hi", "reasoning": "Hm. So."}
    assert read(items).text() == "Hi"


@pytest.mark.parametrize(
    "items",
    [
        [chat_chunk({"refusal": "I can"}), chat_chunk({"refusal": "not."})],
        [{"type": "response.refusal.delta", "delta": "I cannot."}],
        [chat_chunk({"content": [{"type": "refusal", "refusal": "I cannot."}]})],
    ],
    ids=["chat", "responses", "blocks"],
)
def test_a_refusal_is_separate_from_the_text(items):
    """
    A refusal is not part of the text.
    """
    assert read(items).message() == {"role": "assistant", "content": "", "refusal": "I cannot."}


def test_tool_calls_of_a_complete_message_are_read():
    """
    The content of Anthropic's message contains its tool calls.
    """
    call = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}
    message = {"type": "message", "id": "m", "content": [call], "usage": {"input_tokens": 1, "output_tokens": 1}}

    assert read([message]).message() == {"role": "assistant", "content": "", "tool_calls": tools("toolu_1")}


def test_arguments_without_an_index_belong_to_the_last_call():
    """
    Some servers omit the index: an item with neither id nor name continues the call before it.
    """
    pieces = [{"id": "x", "function": {"name": "add", "arguments": '{"a":'}}, {"function": {"arguments": " 1}"}}]

    assert read(chat_chunk({"tool_calls": [piece]}) for piece in pieces).message()["tool_calls"] == tools("x")


class Unequal:
    """A key that hits the name every reader looks for, and raises when it is compared."""

    def __hash__(self) -> int:
        return hash("type")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")


def test_an_item_whose_comparison_raises_adds_nothing():
    """
    The stream continues.
    """
    assert [StreamFacts().on_item(item) for item in ({Unequal(): 1}, "Hi")] == [None, "Hi"]


def test_a_stream_of_plain_text_has_no_message():
    """
    A stream of text has neither a message nor facts about a model.
    """
    stream = read(["Hel", "lo"])

    assert (stream.text(), stream.message(), stream.facts()) == ("Hello", None, None)


def test_an_endless_stream_is_kept_up_to_a_limit_and_the_rest_counted():
    """
    Memory is bounded and the missing characters are counted; `on_item` still returns the whole text.
    """
    stream = StreamFacts(limit_chars=10)
    seen = [stream.on_item("abcd") for _ in range(5)]
    stream.on_item(chat_chunk(chat_call(0, '{"a": 1}', id="c", name="add")))

    assert seen == ["abcd"] * 5
    assert stream.text() == "abcdabcdab"
    assert stream.cut_chars == 10 + len('{"a": 1}')


def test_items_are_not_changed():
    """
    Reading changes no item, and references nothing of it but counts and arguments.
    """
    before = json.dumps(CHAT)
    read(CHAT)

    assert json.dumps(CHAT) == before


WORDS = sorted({name for items, _, _ in STREAMS.values() for item in items for name in item} | {"text", "message"})
KINDS = sorted({item.get("type", item.get("event", "")) for items, _, _ in STREAMS.values() for item in items})
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(KINDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from([*WORDS, "content", "parts", "function", "tool_calls"]), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(st.lists(anything, max_size=6))
def test_reading_continues_after_any_item(items):
    """
    Any sequence of items gives text, valid counts and JSON, and raises nothing.
    """
    for stream in (read(items), read(map(as_object, items))):
        assert stream.text() is None or type(stream.text()) is str
        assert all(number >= 0 for number in (getattr(stream.facts(), "usage", None) or {}).values())
        assert all(not math.isnan(number) for number in (getattr(stream.facts(), "usage", None) or {}).values())
        stream.message()
