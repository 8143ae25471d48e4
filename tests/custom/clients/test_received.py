"""
Responses of ``with_streaming_response`` that a program receives in pieces: the answer is read as they pass.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import anthropic
import openai
import pytest

import fluxloop
from fluxloop import Status
from fluxloop.testing import capture

from .provider import QUESTION, Reply, chunks, completion, message, message_events

PIECES = [("iter_lines", ()), ("iter_text", (7,)), ("iter_bytes", (1,)), ("iter_bytes", ())]
"""How a response is received; characters take several bytes, so pieces end within one."""

TEXT = "Zürich, 日本"


@pytest.fixture
def captured():
    """What is recorded with the clients instrumented."""
    with capture() as captured:
        fluxloop.instrument_openai()
        fluxloop.instrument_anthropic()
        yield captured
        fluxloop.uninstrument_openai()
        fluxloop.uninstrument_anthropic()


def asked(clients: Any, sdk: str, kind: str = "", **options: Any) -> Any:
    """Return the manager of a streaming response."""
    if sdk == "openai":
        made = clients.openai(f"{kind}OpenAI").chat.completions.with_streaming_response
        return made.create(model="gpt-5", messages=QUESTION, **options)
    made = clients.anthropic(f"{kind}Anthropic").messages.with_streaming_response
    return made.create(model="claude", messages=QUESTION, max_tokens=9, **options)


def events(sdk: str) -> list[Any]:
    """Return the events of a stream with `TEXT`."""
    return chunks(TEXT[:3], TEXT[3:]) if sdk == "openai" else message_events(TEXT[:3], TEXT[3:])


def only(captured: Any) -> Any:
    """Return the only observation."""
    [trace] = captured.traces()
    [seen] = trace.observations
    return seen


@pytest.mark.parametrize(("name", "size"), PIECES, ids=str)
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_stream_in_pieces_is_recorded_as_a_parsed_one(provider, clients, captured, sdk, name, size):
    """
    The program gets what the SDK gives it; the observation has the joined text, the usage and the first token's time.
    """
    provider.answers(Reply(events=events(sdk)))

    with asked(clients, sdk, stream=True) as response:
        assert isinstance(response, (openai.APIResponse, anthropic.APIResponse))
        received = list(getattr(response, name)(*size))

    seen = only(captured)
    assert (seen.status, seen.output, seen.usage.output_tokens) == (Status.SUCCESS, TEXT, 3)
    assert seen.time_to_first_token_ms is not None
    whole = b"".join(received).decode() if name == "iter_bytes" else ("\n" * (name == "iter_lines")).join(received)
    assert whole.count("data: ") >= len(events(sdk)) - 1
    assert seen.metadata["stream"]["count"] >= 2


@pytest.mark.parametrize(("name", "size"), PIECES, ids=str)
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_an_answer_in_pieces_is_recorded_whole(provider, clients, captured, sdk, name, size):
    """
    As if it had been parsed, by sync and async clients.
    """
    provider.answers(Reply(completion(TEXT) if sdk == "openai" else message({"type": "text", "text": TEXT})))

    async def receive() -> list[Any]:
        async with asked(clients, sdk, "Async") as response:
            return [piece async for piece in getattr(response, name)(*size)]

    with asked(clients, sdk) as response:
        received = list(getattr(response, name)(*size))
    assert asyncio.run(receive()) == received

    assert [trace.observations[0].output for trace in captured.traces()] == [TEXT, TEXT]
    assert {trace.status for trace in captured.traces()} == {Status.SUCCESS}


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_an_async_stream_in_pieces(provider, clients, captured, sdk):
    """
    A stream that the program leaves is abandoned, with what it received; one that is cancelled is cancelled.
    """
    held = threading.Event()
    first, second, *rest = events(sdk)

    async def receive(kind: str, begun: asyncio.Event | None = None) -> None:
        async with asked(clients, sdk, "Async", stream=True) as response:
            async for line in response.iter_lines():
                if begun is not None:
                    begun.set()
                if kind == "left" and TEXT[:1] in line:
                    return
                if kind == "failed" and TEXT[:1] in line:
                    raise KeyError(kind)

    async def cancelled() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(receive("cancelled", begun))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    provider.answers(Reply(events=events(sdk)))
    asyncio.run(receive("whole"))
    asyncio.run(receive("left"))
    with pytest.raises(KeyError):
        asyncio.run(receive("failed"))
    provider.answers(Reply(events=[first, second, held, *rest]))
    asyncio.run(cancelled())
    held.set()

    found = [trace.observations[0] for trace in captured.traces()]
    assert [seen.status for seen in found] == ["success", "abandoned", "abandoned", "cancelled"]
    assert found[0].output == TEXT


def test_a_connection_that_breaks_is_an_error(provider, clients, captured):
    """
    With what was received before; the SDK's or the HTTP library's error reaches the program.
    """
    provider.answers(Reply(events=[*chunks("Pa", "ris")[:2], ConnectionError()], headers={"content-length": "99999"}))

    with (
        pytest.raises(Exception, match=r"peer closed|incomplete|Remote|closed"),
        asked(clients, "openai", stream=True) as response,
    ):
        list(response.iter_lines())

    seen = only(captured)
    assert seen.status == Status.ERROR
    assert seen.output.startswith("Pa")


def test_pieces_inside_a_prompt_complete_its_observation(provider, clients, captured):
    """
    Usage and model are those of the response; the function's own result stays its output.
    """
    provider.answers(Reply(events=chunks("Pa", "ris")))

    @fluxloop.prompt
    def ask() -> int:
        with asked(clients, "openai", stream=True) as response:
            return len(list(response.iter_lines()))

    with fluxloop.instrument("run"):
        count = ask()

    [_, seen] = captured.traces()[0].observations
    assert (seen.output, seen.usage.total_tokens, seen.model) == (count, 15, "gpt-5-2025-08-07")


def test_lines_that_are_no_events_are_no_items(provider, clients, captured):
    """
    Comments, other fields, texts that are not JSON, other ends of lines, and a last line without an end.
    """
    first, *rest = (json.dumps(one, ensure_ascii=False) if isinstance(one, dict) else one for one in events("openai"))
    lines = [": ping", "retry: 1", "data: [DONE", f"data:{first}", "", *(f"data: {one}\r\n" for one in rest)]
    provider.answers(Reply(raw="\n".join(lines).rstrip().encode(), is_stream=True))

    with asked(clients, "openai", stream=True) as response:
        list(response.iter_bytes(1))

    assert (only(captured).status, only(captured).output) == (Status.SUCCESS, TEXT)
