"""
Parsing streams of the real SDKs, with servers in this process, and of frameworks that use them.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fluxloop.llm.response_facts import ModelFacts
from fluxloop.llm.stream.assembly import StreamFacts, delta_text


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


CHAT = wire("openai_chat")
USAGE = {
    "input_tokens": 100,
    "output_tokens": 40,
    "total_tokens": 140,
    "cache_read_tokens": 80,
    "reasoning_tokens": 30,
}
NO_REASONING = {name: number for name, number in USAGE.items() if name != "reasoning_tokens"}
TOLD_BY_LANGCHAIN = ModelFacts(NO_REASONING, "claude-sonnet-4-5", "anthropic", ["tool_use"])
ADD = {"id": "call_a", "name": "add", "arguments": {"a": 1}}
WEATHER = {"id": "call_b", "name": "weather", "arguments": {"city": "Paris"}}


@pytest.fixture
def serving() -> Iterator[Callable[..., str]]:
    """Start servers that stream: ``serving(items, more_items)`` answers the first request with *items*, and so on."""
    servers: list[ThreadingHTTPServer] = []

    def start(*answers: list[dict]) -> str:
        pending = iter(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                items = next(pending)
                body = "".join(f"event: {item.get('type')}\ndata: {json.dumps(item)}\n\n" for item in items)
                if "type" not in items[0]:  # chat completions have data alone, and an end
                    body = "".join(f"data: {json.dumps(item)}\n\n" for item in items) + "data: [DONE]\n\n"
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


ASK = [{"role": "user", "content": "?"}]


def test_openai_s_chat_stream_is_read(serving):
    """
    The SDK's chunks give the provider too; the last one has the usage and no choices.
    """
    with pytest.importorskip("openai").OpenAI(api_key="-", base_url=serving(CHAT)) as client:
        stream = read(client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True))

    assert stream.text() == "Hello"
    assert stream.facts() == ModelFacts(USAGE, "gpt-4o", "openai", ["tool_calls"], "chatcmpl-1")
    assert stream.message()["tool_calls"] == [ADD, WEATHER]


def test_openai_s_stream_helper_counts_once(serving):
    """
    ``chat.completions.stream()`` yields each piece as raw chunk and again as its own event; both together count once.
    """
    client = pytest.importorskip("openai").OpenAI(api_key="-", base_url=serving(CHAT))
    with client, client.chat.completions.stream(model="gpt-4o", messages=ASK) as events:
        seen = list(events)
    stream = read(seen)
    only_content = read(event for event in seen if event.type == "content.delta")

    assert {"chunk", "content.delta"} <= {event.type for event in seen}
    assert stream.text() == only_content.text() == "Hello"
    assert stream.facts().usage == USAGE
    assert stream.message()["tool_calls"] == [ADD, WEATHER]


def test_openai_s_responses_stream_is_read(serving):
    """
    The facts of the final response replace earlier ones, and its text is not added again.
    """
    url = serving(wire("openai_responses"))
    with pytest.importorskip("openai").OpenAI(api_key="-", base_url=url) as client:
        stream = read(client.responses.create(model="gpt-5", input="?", stream=True))

    assert stream.text() == "Hello"
    assert stream.facts() == ModelFacts({**USAGE, "cache_write_tokens": 0}, "gpt-5", "openai", ["completed"], "resp_1")
    assert stream.message()["tool_calls"] == [ADD]


def test_anthropic_s_stream_is_read(serving):
    """
    Input counts come first, output counts are cumulative: the last ones count.
    """
    with pytest.importorskip("anthropic").Anthropic(api_key="-", base_url=serving(wire("anthropic"))) as client:
        stream = read(client.messages.create(model="claude", max_tokens=9, messages=ASK, stream=True))

    assert stream.text() == "Hello"
    assert stream.facts() == ModelFacts(
        {**NO_REASONING, "cache_write_tokens": 17}, "claude-sonnet-4-5", "anthropic", ["tool_use"], "msg_1"
    )
    assert stream.message() == {"role": "assistant", "content": "Hello", "tool_calls": [{**ADD, "id": "toolu_1"}]}


def test_anthropic_s_stream_helper_counts_once(serving):
    """
    ``messages.stream()`` yields raw events and its own, and a final message: together they count once.
    """
    with (
        pytest.importorskip("anthropic").Anthropic(api_key="-", base_url=serving(wire("anthropic"))) as client,
        client.messages.stream(model="claude", max_tokens=9, messages=ASK) as events,
    ):
        seen = [*events, events.get_final_message()]
    stream = read(seen)

    assert {"text", "content_block_delta", "message"} <= {event.type for event in seen}
    assert stream.text() == "Hello"
    assert stream.facts().usage == {**NO_REASONING, "cache_write_tokens": 17}
    assert stream.message()["tool_calls"] == [{**ADD, "id": "toolu_1"}]


def test_google_s_chunks_are_read():
    """
    The counts are cumulative, so the last ones count. Thoughts are not part of the text.
    """
    types = pytest.importorskip("google.genai.types")
    stream = read(types.GenerateContentResponse.model_validate(chunk) for chunk in wire("google"))
    usage = {"input_tokens": 100, "output_tokens": 40, "total_tokens": 140, "reasoning_tokens": 30}

    assert stream.text() == "Hello"
    assert stream.facts() == ModelFacts(usage, "gemini-2.5-flash", "gcp.gen_ai", ["STOP"], "g-1")
    assert stream.message() == {
        "role": "assistant",
        "content": "Hello",
        "reasoning": "Greet them.",
        "tool_calls": [{**ADD, "id": "f1"}],
    }


def langchain_chunks() -> list[Any]:
    messages = pytest.importorskip("langchain_core.messages")
    return [
        messages.AIMessageChunk(**{name: value for name, value in chunk.items() if name != "type"})
        for chunk in wire("langchain")
    ]


def test_langchain_s_chunks_add_up_as_langchain_adds_them():
    """
    Each chunk has its own counts, whose sum is that of LangChain's ``+``.
    """
    chunks = langchain_chunks()
    together = chunks[0]
    for chunk in chunks[1:]:
        together += chunk
    stream = read(chunks)

    assert stream.facts() == TOLD_BY_LANGCHAIN
    assert stream.facts().usage["total_tokens"] == together.usage_metadata["total_tokens"]
    assert stream.text() == together.text
    assert [call["arguments"] for call in stream.message()["tool_calls"]] == [c["args"] for c in together.tool_calls]


def test_chunks_wrapped_by_frameworks_are_unwrapped():
    """
    Generation chunks, `astream_events`, and LangGraph's messages mode carry the same chunks.
    """
    outputs = pytest.importorskip("langchain_core.outputs")
    chunks = langchain_chunks()
    wrappings = {
        "generation": [outputs.ChatGenerationChunk(message=chunk) for chunk in chunks],
        "events": [{"event": "on_chat_model_stream", "data": {"chunk": chunk}} for chunk in chunks],
        "messages": [(chunk, {"langgraph_node": "agent"}) for chunk in chunks],
        "modes": [("messages", (chunk, {})) for chunk in chunks],
        "subgraphs": [((), "messages", (chunk, {})) for chunk in chunks],
    }

    for wrapped in wrappings.values():
        assert read(wrapped).text() == "Hello"
        assert read(wrapped).facts() == TOLD_BY_LANGCHAIN


def test_other_events_of_a_framework_s_stream_add_nothing():
    """
    LangChain's end event repeats its chunks; LangGraph's state updates do not belong to an answer.
    """
    chunks = langchain_chunks()
    items = [{"event": "on_chat_model_stream", "data": {"chunk": chunk}} for chunk in chunks]
    items += [
        {"event": "on_chat_model_end", "data": {"output": sum(chunks[1:], chunks[0])}},
        {"event": "on_chain_stream", "data": {"chunk": {"messages": chunks}}},
    ]

    assert read(items).text() == "Hello"
    assert read(items).facts().usage == NO_REASONING
    assert delta_text(("updates", {"agent": {"messages": chunks}})) is None


def test_text_models_of_langchain_are_read():
    """
    A completion model streams `GenerationChunk`.
    """
    outputs = pytest.importorskip("langchain_core.outputs")

    assert read([outputs.GenerationChunk(text="Hel"), outputs.GenerationChunk(text="lo")]).text() == "Hello"


def test_langchain_s_own_stream_events_are_read():
    """
    The stream events that langchain-core makes of a model's chunks give the same answer.
    """
    bridge = pytest.importorskip("langchain_core.language_models._compat_bridge")
    outputs = pytest.importorskip("langchain_core.outputs")
    chunks = langchain_chunks()
    chunks[0].response_metadata.pop("model_provider")  # whose translation of blocks leaves the tool call out
    stream = read(bridge.chunks_to_events(outputs.ChatGenerationChunk(message=chunk) for chunk in chunks))

    assert stream.text() == "Hello"
    assert stream.facts() == ModelFacts(NO_REASONING, "claude-sonnet-4-5", None, ["tool_use"])
    assert stream.message()["tool_calls"] == [{**ADD, "id": "toolu_1"}]


def test_a_run_of_the_agents_sdk_counts_each_turn_once(serving):
    """
    A streamed run has a response for each turn, under one made-up id; their counts add up, and the items
    that repeat a turn's text add nothing.
    """
    agents = pytest.importorskip("agents")
    openai = pytest.importorskip("openai")
    calling = [*CHAT[3:5], *CHAT[6:]]
    answering = [*CHAT[1:3], *CHAT[7:]]
    url = serving(calling, answering)

    async def run() -> tuple[StreamFacts, Any]:
        async with openai.AsyncOpenAI(api_key="-", base_url=url) as client:
            model = agents.OpenAIChatCompletionsModel("gpt-4o", client)
            tool = agents.function_tool(add)
            result = agents.Runner.run_streamed(
                agents.Agent("A", model=model, tools=[tool]), "?", run_config=agents.RunConfig(tracing_disabled=True)
            )
            stream = read([event async for event in result.stream_events()])
            return stream, result.context_wrapper.usage

    stream, usage = asyncio.run(run())

    assert stream.text() == "Hello"
    assert stream.facts().usage["input_tokens"] == usage.input_tokens == 2 * 100
    assert stream.facts().usage["total_tokens"] == usage.total_tokens == 2 * 140
    assert stream.message()["tool_calls"] == [ADD]


def add(a: int) -> int:
    """Add one."""
    return a + 1
