"""
Recognising the streams of the real SDKs, whose server runs in this process.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from typing import Any

import pytest

import fluxloop
from fluxloop.llm.sdk_streams import _KINDS, register_stream_class, stream_kind
from fluxloop.llm.stream.assembly import StreamFacts
from fluxloop.testing import capture

from .test_stream_sdks import ASK, CHAT, serving, wire

__all__ = ["serving"]


def observed(stream: Any) -> StreamFacts:
    """Swap the class of *stream* for a subclass that shows each event to the `StreamFacts` returned."""
    facts = StreamFacts()

    class Observed(type(stream)):
        def __iter__(self):
            return self

        def __next__(self):
            item = super().__next__()
            facts.on_item(item)
            return item

        def __aiter__(self):
            return self

        async def __anext__(self):
            item = await super().__anext__()
            facts.on_item(item)
            return item

    stream.__class__ = Observed
    return facts


def anthropic_stream(serving, package: str = "") -> Any:
    sdk = pytest.importorskip("anthropic")
    client = getattr(sdk, f"{package}Anthropic")(api_key="-", base_url=serving(wire("anthropic")))
    return client.messages.stream(model="claude", max_tokens=9, messages=ASK)


def openai_chat_stream(serving, package: str = "") -> Any:
    sdk = pytest.importorskip("openai")
    client = getattr(sdk, f"{package}OpenAI")(api_key="-", base_url=serving(CHAT))
    return client.chat.completions.stream(model="gpt-4o", messages=ASK)


def openai_response_stream(serving, package: str = "") -> Any:
    sdk = pytest.importorskip("openai")
    client = getattr(sdk, f"{package}OpenAI")(api_key="-", base_url=serving(wire("openai_responses")))
    return client.responses.stream(model="gpt-5", input="?")


WAYS = {
    "events": lambda stream: list(stream),
    "until_done": lambda stream: stream.until_done(),
    "final": lambda stream: next(
        getattr(stream, name)()
        for name in ("get_final_message", "get_final_completion", "get_final_response")
        if hasattr(stream, name)
    ),
    "text": lambda stream: list(getattr(stream, "text_stream", stream)),
}
"""How a program reads a stream; in all of them each event passes the stream's own iterator."""


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("ask", [anthropic_stream, openai_chat_stream, openai_response_stream])
def test_a_subclass_receives_all_events_from_every_reading_method(serving, ask, way):
    """
    The managers and streams of `.stream(...)` are recognised, and their helpers read through the stream's class.
    """
    manager = ask(serving)
    with manager as stream:
        kinds = stream_kind(type(manager)), stream_kind(type(stream))
        facts = observed(stream)
        way(stream)

    assert kinds == ("manager", "stream")
    assert stream_kind(type(stream)) == "stream"
    assert facts.text() == "Hello"
    assert facts.facts().usage["input_tokens"] == 100 or ask is anthropic_stream
    assert facts.facts().usage["output_tokens"] == 40


@pytest.mark.parametrize("ask", [anthropic_stream, openai_chat_stream, openai_response_stream])
def test_a_subclass_receives_all_events_of_async_streams(serving, ask):
    """
    The async classes are recognised as well, and read in the same way.
    """

    async def read() -> tuple[Any, StreamFacts]:
        manager = ask(serving, "Async")
        async with manager as stream:
            kinds = stream_kind(type(manager)), stream_kind(type(stream))
            facts = observed(stream)
            await stream.until_done()
        return kinds, facts

    kinds, facts = asyncio.run(read())

    assert kinds == ("manager", "stream")
    assert facts.text() == "Hello"
    assert facts.facts().usage["output_tokens"] == 40


def test_every_class_of_the_table_that_is_installed_exists():
    """
    Each name that the table gives for an installed SDK is a class of that SDK, with the methods its kind needs.
    """
    checked = 0
    for name, modules in _KINDS.items():
        for module, kind in modules.items():
            for package in ("openai", "anthropic") if module[0] == "." else ("",):
                try:
                    cls = getattr(importlib.import_module(package + module), name, None)
                except ImportError:
                    continue
                if cls is None:  # a class that the oldest supported release does not have yet
                    continue
                checked += 1
                methods = ("__enter__", "__aenter__") if kind == "manager" else ("__next__", "__anext__")
                assert stream_kind(cls) == kind
                assert any(hasattr(cls, method) for method in methods), cls

    assert checked >= 16 or not importlib.util.find_spec("openai")


def test_other_iterators_and_context_managers_are_not_sdk_streams():
    """
    Files, generators, mocks of a stream's name and classes of the user's own are left alone.
    """

    class Stream:
        def __next__(self) -> int:
            return 1

    assert stream_kind(Stream) is None
    assert stream_kind(type(iter([]))) is None
    assert stream_kind(type(n for n in ())) is None
    assert stream_kind(type(Stream())) is None
    assert not any(stream_kind(kind) for kind in vars(importlib.import_module("io")).values() if inspect.isclass(kind))


def test_a_hostile_class_is_recognised_by_name_only():
    """
    A metaclass whose attributes, hash and comparison raise is not asked for anything.
    """

    class Hostile(type):
        def __getattribute__(cls, name: str) -> Any:
            raise RuntimeError(name)

        def __eq__(cls, other: object) -> bool:
            raise RuntimeError

        def __hash__(cls) -> int:
            raise RuntimeError

    class Stream(metaclass=Hostile):
        __module__ = property(lambda self: 1 / 0)

    assert stream_kind(Stream) is None


def test_classes_can_be_registered_with_their_subclasses():
    """
    By the class or by its name; a subclass is what its base class is.
    """

    class Answers:
        """Yields an answer."""

    class MyAnswers(Answers):
        """Yields mine."""

    register_stream_class(Answers)
    register_stream_class(f"{__name__}.Session", is_manager=True)

    assert stream_kind(MyAnswers) == "stream"
    assert stream_kind(type("Session", (), {"__module__": __name__})) == "manager"


@pytest.mark.parametrize("way", ["coroutine", "task"])
def test_a_plain_function_that_returns_a_request_of_an_async_client_is_recorded_with_its_stream(serving, way):
    """The client's coroutine, or a task that runs it, gives the stream, which has the output and the usage."""
    sdk = pytest.importorskip("openai")

    async def main() -> int:
        client = sdk.AsyncOpenAI(api_key="-", base_url=serving(CHAT))

        @fluxloop.prompt
        def ask() -> Any:
            request = client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True)
            return request if way == "coroutine" else asyncio.create_task(request)

        with fluxloop.instrument("run"):
            stream = await ask()
            assert isinstance(stream, sdk.AsyncStream)
            return len([chunk async for chunk in stream])

    with capture() as captured:
        count = asyncio.run(main())

    asked = captured.traces()[0].observations[1]
    assert (str(asked.status), asked.metadata["stream"]["count"], asked.usage is not None) == ("success", count, True)
