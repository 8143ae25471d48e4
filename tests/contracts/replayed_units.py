"""
Everything that a replay answers: each framework, in each shape of call that it has.

A unit runs the calls of one framework and returns what the program gets from them. A new framework or call shape is
added here, and has to pass test_replay_contract.py.
"""

from __future__ import annotations

import asyncio
import operator
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import anthropic
import openai
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner
from contracts.recorded_units import UNITS as RECORDED
from custom.clients import provider as api
from custom.clients.provider import Provider, Reply
from google import genai
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from scripted_models import ScriptedCompletion, ScriptedModel, calls

from fluxloop_custom.testing import Says
from fluxloop_custom.testing import ScriptedModel as Answers
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langgraph import wrap_graph

with warnings.catch_warnings():  # ChatKit emits one when it is imported
    warnings.simplefilter("ignore", DeprecationWarning)
    from custom.airline import TracedAirline, ask, desk

ran: list[str] = []
"""The models, tools and retrievers that ran for real."""


@dataclass(frozen=True)
class Unit:
    """The calls of a framework in one shape."""

    run: Callable[[Provider], Any]
    replies: tuple[Reply, ...] = ()
    """What the provider answers when the calls are recorded."""
    is_parallel: bool = False
    """Whether calls run at the same time, so that the order of results and events varies."""
    is_quick: bool = False
    """Whether it is one of those that the quick tests run."""
    forked: Any = "forked"
    """An answer that a fork can give to the first step; None if it has none that is data."""


UNITS: dict[str, Unit] = {}


# Decorated functions


def _decorated(shape: str) -> Callable[[Provider], Any]:
    def body(value: str) -> str:
        ran.append(value)
        return f"{value} {len(ran)}"

    return lambda provider: [RECORDED[shape].run(body, "a"), RECORDED[shape].run(body, "a")]


for _shape in (
    *("function", "method", "class method", "static method", "partial", "under a decorator", "coroutine"),
    *("returned coroutine", "returned task", "generator", "returned generator", "async generator"),
):
    is_quick = _shape in ("function", "async generator")
    forked = ["forked"] if "generator" in _shape else "forked"
    UNITS[f"decorated {_shape}"] = Unit(_decorated(_shape), is_quick=is_quick, forked=forked)


# LangChain


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

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        ran.append("completion")
        yield from super()._stream(prompt, *args, **kwargs)


class Shelf(BaseRetriever):
    """Returns one document."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        ran.append("retriever")
        return [Document(id="7", page_content=f"about {query}", metadata={"page": 1})]


@tool
def look(city: str) -> str:
    """Look at the weather."""
    ran.append("tool")
    return f"sunny in {city}"


def config() -> Any:
    """Return what attaches the handler, and names a conversation."""
    return {"callbacks": [FluxLoopCallbackHandler()], "configurable": {"thread_id": "1"}}


def _events(events: list[Any]) -> list[Any]:
    return [(one["event"], one["name"], one["data"].get("chunk") or one["data"].get("output")) for one in events]


async def _all(stream: Any) -> list[Any]:
    return [item async for item in stream]


Shape = Callable[[Any, Any, Any], Any]
SHAPES: dict[str, Shape] = {
    "invoke": lambda runnable, one, two: runnable.invoke(one, config()),
    "ainvoke": lambda runnable, one, two: asyncio.run(runnable.ainvoke(one, config())),
    "batch": lambda runnable, one, two: runnable.batch([one, two], config()),
    "abatch": lambda runnable, one, two: asyncio.run(runnable.abatch([one, two], config())),
    "stream": lambda runnable, one, two: list(runnable.stream(one, config())),
    "astream": lambda runnable, one, two: asyncio.run(_all(runnable.astream(one, config()))),
    "astream_events": lambda runnable, one, two: _events(
        asyncio.run(_all(runnable.astream_events(one, config(), version="v2")))
    ),
}
"""Call a runnable with one or with two inputs."""


def agent() -> Any:
    """Return an agent that calls a tool twice at the same time."""
    asked = [{"name": "look", "args": {"city": city}, "id": f"call-{city}"} for city in ("Rome", "Oslo")]
    return create_agent(Model(replies=[AIMessage("", tool_calls=asked), "All is well."]), [look])


class Places(TypedDict):
    """The state of the graph."""

    found: Annotated[list[str], operator.add]


def graph() -> Any:
    """Return a recorded graph with a model and a tool in nodes that run at the same time."""
    builder = StateGraph(Places)
    builder.add_node("think", lambda state: {"found": [Model(replies=["Bern"]).invoke("Where?").content]})
    builder.add_node("look", lambda state: {"found": [look.invoke({"city": "Rome"})]})
    builder.add_edge(START, "think")
    builder.add_edge(START, "look")
    return wrap_graph(builder.compile())


HI = {"messages": [("user", "hi")]}
RUNNABLES: dict[str, tuple[Callable[[], Any], Any, Any, bool]] = {
    "chat": (lambda: Model(replies=["a few words"]), "x", "y", False),
    "chat with tools": (lambda: Model(replies=[calls("look", {"city": "Rome"})]), "x", "y", False),
    "completion": (lambda: Completion(reply="one two"), "x", "y", False),
    "retriever": (Shelf, "owls", "cats", False),
    "tool": (lambda: look, {"city": "Rome"}, {"city": "Oslo"}, False),
    "create_agent": (agent, HI, {"messages": [("user", "ho")]}, True),
    "graph": (graph, {"found": []}, {"found": ["Nice"]}, True),
}
"""What makes a runnable, two inputs, and whether its own calls run at the same time."""


def _called(name: str, shape: str) -> Callable[[Provider], Any]:
    make, one, two, _ = RUNNABLES[name]
    return lambda provider: SHAPES[shape](make(), one, two)


for _name, (_, _, _, _parallel) in RUNNABLES.items():
    for _shape in SHAPES:
        UNITS[f"LangChain {_name} {_shape}"] = Unit(
            _called(_name, _shape),
            is_parallel=_parallel or "batch" in _shape,
            is_quick=(_name, _shape) in {("chat", "astream_events"), ("create_agent", "stream"), ("graph", "ainvoke")},
            forked=[Document(page_content="forked")] if _name == "retriever" else "forked",
        )


def _interrupted(shape: str) -> Callable[[Provider], Any]:
    @tool
    def pay(amount: int) -> str:
        """Pay, if a person agrees."""
        ran.append("pay")
        return str(interrupt({"amount": amount}))

    def run(provider: Provider) -> Any:
        model = Model(replies=[calls("pay", {"amount": 5}), "done"])
        waiting = create_agent(model, [pay], checkpointer=InMemorySaver())
        return [SHAPES[shape](waiting, each, None) for each in (HI, Command(resume="yes"))]

    return run


for _shape in ("invoke", "ainvoke", "stream", "astream"):
    UNITS[f"LangGraph interrupt {_shape}"] = Unit(_interrupted(_shape), is_quick=_shape == "astream")


# Clients of providers

KEY = "key-of-the-user-0123456789"
ASK: dict[str, Any] = {"model": "gpt-5", "messages": api.QUESTION}
THINK: dict[str, Any] = {"model": "gpt-5", "input": "Capital of France?"}
CLAUDE: dict[str, Any] = {"model": "claude-next", "max_tokens": 64, "messages": api.QUESTION}
GEMINI: dict[str, Any] = {"model": "gemini-2.5-flash", "contents": "Capital of France?"}
VECTORS: dict[str, Any] = {"model": "text-embedding-3-small", "input": ["a", "b"]}


def _openai(path: str, **given: Any) -> Callable[[Provider], Any]:
    def run(provider: Provider) -> Any:
        with openai.OpenAI(api_key=KEY, base_url=provider.url, max_retries=0) as client:
            result = operator.attrgetter(path)(client).create(**given)
            return list(result) if given.get("stream") else result

    return run


def _async_openai(path: str, **given: Any) -> Callable[[Provider], Any]:
    async def run(provider: Provider) -> Any:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=provider.url, max_retries=0) as client:
            result = await operator.attrgetter(path)(client).create(**given)
            return await _all(result) if given.get("stream") else result

    return lambda provider: asyncio.run(run(provider))


def _anthropic(**given: Any) -> Callable[[Provider], Any]:
    def run(provider: Provider) -> Any:
        with anthropic.Anthropic(api_key=KEY, base_url=provider.url, max_retries=0) as client:
            result = client.messages.create(**CLAUDE, **given)
            return list(result) if given else result

    return run


def _async_anthropic(**given: Any) -> Callable[[Provider], Any]:
    async def run(provider: Provider) -> Any:
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=provider.url, max_retries=0) as client:
            result = await client.messages.create(**CLAUDE, **given)
            return await _all(result) if given else result

    return lambda provider: asyncio.run(run(provider))


def _gemini(provider: Provider) -> Any:
    return genai.Client(api_key=KEY, http_options={"base_url": provider.url})


def _google(provider: Provider) -> Any:
    client = _gemini(provider)  # it closes itself when it is collected
    return client.models.generate_content(**GEMINI)


def _google_stream(provider: Provider) -> Any:
    client = _gemini(provider)
    return list(client.models.generate_content_stream(**GEMINI))


async def _google_async(provider: Provider) -> Any:
    client = _gemini(provider)
    return await client.aio.models.generate_content(**GEMINI)


async def _google_async_stream(provider: Provider) -> Any:
    client = _gemini(provider)
    return await _all(await client.aio.models.generate_content_stream(**GEMINI))


class Vectors(Embeddings):
    """Embeds with the client of OpenAI, as LangChain's own class does."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        found = _openai("embeddings", **{**VECTORS, "input": texts})(self.provider)
        return [one.embedding for one in found.data]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


CHAT, STREAMED = Reply(api.completion()), Reply(events=api.chunks("Par", "is"))
RESPONSE, RESPONSES = Reply(api.response()), Reply(events=api.response_events("Par", "is"))
MESSAGE, MESSAGES = Reply(api.message()), Reply(events=api.message_events("Par", "is"))
CONTENT = Reply(api.content())
CONTENTS = Reply(events=[api.content({"text": "Par"}, finish=None), api.content({"text": "is"})])
EMBEDDED = Reply(api.embeddings([0.5, 0.25], [0.125] * 40))

UNITS |= {
    "OpenAI chat": Unit(_openai("chat.completions", **ASK), (CHAT,), is_quick=True),
    "OpenAI chat streamed": Unit(_openai("chat.completions", **ASK, stream=True), (STREAMED,)),
    "OpenAI chat async": Unit(_async_openai("chat.completions", **ASK), (CHAT,)),
    "OpenAI chat async streamed": Unit(_async_openai("chat.completions", **ASK, stream=True), (STREAMED,)),
    "OpenAI responses": Unit(_openai("responses", **THINK), (RESPONSE,)),
    "OpenAI responses streamed": Unit(_openai("responses", **THINK, stream=True), (RESPONSES,)),
    "OpenAI responses async": Unit(_async_openai("responses", **THINK), (RESPONSE,)),
    "OpenAI responses async streamed": Unit(_async_openai("responses", **THINK, stream=True), (RESPONSES,)),
    "OpenAI embeddings": Unit(_openai("embeddings", **VECTORS), (EMBEDDED,), forked=None),
    "OpenAI embeddings async": Unit(_async_openai("embeddings", **VECTORS), (EMBEDDED,), forked=None),
    "Anthropic": Unit(_anthropic(), (MESSAGE,)),
    "Anthropic streamed": Unit(_anthropic(stream=True), (MESSAGES,)),
    "Anthropic async": Unit(_async_anthropic(), (MESSAGE,)),
    "Anthropic async streamed": Unit(_async_anthropic(stream=True), (MESSAGES,), is_quick=True),
    "Google": Unit(_google, (CONTENT,)),
    "Google streamed": Unit(_google_stream, (CONTENTS,)),
    "Google async": Unit(lambda provider: asyncio.run(_google_async(provider)), (CONTENT,), is_quick=True),
    "Google async streamed": Unit(lambda provider: asyncio.run(_google_async_stream(provider)), (CONTENTS,)),
    "LangChain embeddings": Unit(
        lambda provider: Vectors(provider).embed_documents(["a", "b"]), (EMBEDDED,), forked=None
    ),
    "LangChain embeddings async": Unit(
        lambda provider: asyncio.run(Vectors(provider).aembed_query("a")), (EMBEDDED,), forked=None
    ),
}


# OpenAI Agents SDK, and ChatKit on it


def _facts(result: Any) -> Any:
    return result.final_output, [type(item).__name__ for item in result.new_items]


def _agents_run(kind: Any, how: str) -> Callable[[Provider], Any]:
    def agent_of(provider: Provider) -> Agent[Any]:
        client = openai.AsyncOpenAI(api_key=KEY, base_url=provider.url, max_retries=0)
        return Agent(name="A", instructions="Be brief.", model=kind("gpt-5", client))

    async def run(provider: Provider) -> Any:
        return _facts(await Runner.run(agent_of(provider), "Capital?"))

    async def streamed(provider: Provider) -> Any:
        result = Runner.run_streamed(agent_of(provider), "Capital?")
        events = [event async for event in result.stream_events()]
        raw = [event.data for event in events if event.type == "raw_response_event"]
        return [event.name for event in events if event.type == "run_item_stream_event"], raw, _facts(result)

    def sync(provider: Provider) -> Any:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)  # early releases of the SDK take the current one
        try:
            return _facts(Runner.run_sync(agent_of(provider), "Capital?"))
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    shapes: dict[str, Callable[[Provider], Any]] = {
        "run": lambda provider: asyncio.run(run(provider)),
        "run_streamed": lambda provider: asyncio.run(streamed(provider)),
        "run_sync": sync,
    }
    return shapes[how]


for _how in ("run", "run_streamed", "run_sync"):
    _streams = _how == "run_streamed"
    for _api, _kind, _reply in (
        ("chat", OpenAIChatCompletionsModel, STREAMED if _streams else CHAT),
        ("responses", OpenAIResponsesModel, RESPONSES if _streams else RESPONSE),
    ):
        UNITS[f"Agents SDK {_how} {_api}"] = Unit(_agents_run(_kind, _how), (_reply,), is_quick=_streams)


def _chatkit(provider: Provider) -> Any:
    return asyncio.run(ask(TracedAirline(desk())))


UNITS["ChatKit"] = Unit(_chatkit, is_quick=True)


# What a fork can change in the first step


async def _other_result(*args: Any, **kwargs: Any) -> str:
    return "forked"


def _other_items(*args: Any, **kwargs: Any) -> Iterator[str]:
    yield "forked"


async def _other_stream(*args: Any, **kwargs: Any) -> AsyncIterator[str]:
    yield "forked"


_OTHER_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "coroutine": _other_result,
    "returned coroutine": _other_result,
    "returned task": lambda *args, **kwargs: asyncio.ensure_future(_other_result()),
    "generator": _other_items,
    "returned generator": _other_items,
    "async generator": _other_stream,
}
"""In place of a decorated function: one of the same shape; see `other_model`."""

QUESTION = [{"role": "user", "content": "forked"}]


def other_input(name: str, kind: str) -> Any:
    """Return an input for a fork at the first step, a *kind* of observation, of the unit *name*."""
    if name.startswith("decorated"):
        return {"value": "forked"}
    if "embeddings" in name:
        return ["forked", "forked too"]
    if name.startswith("Lang"):
        return {"city": "forked"} if kind == "TOOL" else "forked"
    return "forked" if name.startswith("Google") else QUESTION


def other_model(name: str, kind: str) -> Any:
    """Return a model for a fork at the first step; None if that has none to change."""
    if name.startswith("decorated"):
        return _OTHER_FUNCTIONS.get(name.removeprefix("decorated "), lambda *args, **kwargs: "forked")
    if kind in ("TOOL", "RETRIEVAL"):
        return None
    if name == "ChatKit":
        return Answers(Says("forked"))
    if name.startswith("Lang") and "embeddings" not in name:
        return Completion(reply="forked") if "completion" in name else Model(replies=["forked"])
    return "forked"
