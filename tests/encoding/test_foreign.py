"""
What becomes what: other people's types, which the core recognises without importing them.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest
from encoding_aids import Counts, Masker, record


def test_recording_loads_no_library():
    """
    The core knows the names of other libraries' classes, and imports none of them, pydantic included.
    """
    libraries = {"pydantic", "numpy", "pandas", "attrs", "langchain_core", "httpx"}
    code = f"import sys, fluxloop.encoding.encoder; print(*{libraries} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b""


# pydantic


class Wish(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)

    text: str
    password: pydantic.SecretStr = pydantic.SecretStr("hunter2")
    home: pydantic.HttpUrl = pydantic.HttpUrl("https://example.org/a")
    stream: Any = None
    internal: str = pydantic.Field(default="x", exclude=True)
    _private: int = 1


def test_a_pydantic_model_becomes_its_fields():
    """
    Fields and extras by name; secrets stay masked, excluded fields excluded.
    """
    assert record(Wish(text="hi", mood=["good"])) == {
        "text": "hi",
        "password": "**********",
        "home": "https://example.org/a",
        "stream": None,
        "mood": ["good"],
    }


def test_a_pydantic_model_keeps_its_generators():
    """
    Recording a model leaves a generator in it untouched, which `model_dump` would drain.
    """
    wish = Wish(text="hi", stream=(number for number in range(3)))

    made = record({"wish": wish, "map": map(str, [1])})

    assert made["wish"]["stream"].startswith("<generator ")
    assert list(wish.stream) == [0, 1, 2]


def test_a_root_model_is_its_root():
    """
    A model of one nameless value is that value.
    """
    assert record(pydantic.RootModel[list[int]]([1, 2])) == [1, 2]


def test_models_of_the_first_pydantic_are_read_the_same_way():
    """
    Models of pydantic 1, which live on as `pydantic.v1`, show fields and extras, with secrets masked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        v1 = pytest.importorskip("pydantic.v1")

    extra = type("Config", (), {"extra": "allow"})
    fields = {"text": (str, ...), "password": (v1.SecretStr, ...), "internal": (str, v1.Field("x", exclude=True))}
    old = v1.create_model("Old", __config__=extra, **fields)

    assert record(old(text="hi", password="p", mood=1)) == {"text": "hi", "password": "**********", "mood": 1}


def test_secrets_in_attributes_are_found_by_name():
    """
    The attribute names of models and objects reach redaction, so that a key is masked wherever it is kept.
    """

    class Settings(pydantic.BaseModel):
        api_key: str

    marks = Counts()
    made = record([Settings(api_key="a"), SimpleNamespace(api_key="b")], marks, redactor=Masker())

    assert made == [
        {"api_key": "[redacted]"},
        {"__class__": "types.SimpleNamespace", "api_key": "[redacted]"},
    ]
    assert marks == Counts(redacted=2)


# LangChain and LangGraph


def test_langchain_messages_have_the_field_names_of_providers():
    """
    A message is its role and content, and what else it carries that says something.
    """
    messages = pytest.importorskip("langchain_core.messages")
    call = {"name": "weather", "args": {"city": "Rome"}, "id": "c1"}
    made = record(
        [
            messages.SystemMessage("Be kind."),
            messages.HumanMessage("Weather?", name="ann"),
            messages.AIMessage(
                "",
                tool_calls=[call],
                additional_kwargs={"tool_calls": ["the same again"], "refusal": None},
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
                response_metadata={"model_name": "m", "finish_reason": "tool_calls", "logprobs": {"content": [1]}},
            ),
            messages.ToolMessage("Sunny", tool_call_id="c1"),
            messages.ToolMessage("no such city", tool_call_id="c2", status="error", artifact={1}),
            messages.AIMessageChunk("Hel"),
            messages.ChatMessage("x", role="critic"),
            messages.RemoveMessage("id1"),
        ]
    )

    assert made == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Weather?", "name": "ann"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [call],
            "usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            "response_metadata": {"model_name": "m", "finish_reason": "tool_calls"},
        },
        {"role": "tool", "content": "Sunny", "tool_call_id": "c1"},
        {"role": "tool", "content": "no such city", "tool_call_id": "c2", "artifact": [1], "status": "error"},
        {"role": "assistant", "content": "Hel"},
        {"role": "critic", "content": "x"},
        {"role": "remove", "content": "", "id": "id1"},
    ]


def test_langchain_documents_are_text_and_metadata():
    """
    A retrieved document is its text, its metadata and, if it has one, its id.
    """
    documents = pytest.importorskip("langchain_core.documents")

    assert record(
        [documents.Document("text", metadata={"page": 1}), documents.Document("b", id="d1", metadata={})]
    ) == [
        {"page_content": "text", "metadata": {"page": 1}},
        {"id": "d1", "page_content": "b", "metadata": {}},
    ]


def test_langgraph_commands_show_what_they_do():
    """
    What a node of a prebuilt agent returns is readable: the command, the sends and the messages in it.
    """
    graph = pytest.importorskip("langgraph.types")
    messages = pytest.importorskip("langchain_core.messages")
    command = graph.Command(update={"messages": [messages.AIMessage("hi")]}, goto=[graph.Send("tools", {"n": 1})])
    interrupt = graph.Interrupt(value={"question": "ok?"}, id="i1")

    assert record([command, graph.Command(resume="yes"), interrupt]) == [
        {
            "__class__": "Command",
            "update": {"messages": [{"role": "assistant", "content": "hi"}]},
            "goto": [{"__class__": "Send", "node": "tools", "arg": {"n": 1}}],
        },
        {"__class__": "Command", "resume": "yes"},
        {"__class__": "Interrupt", "value": {"question": "ok?"}, "id": "i1"},
    ]


def contexts() -> Iterator[tuple[str, Any]]:
    """Things frameworks hand to a call besides its data, and how each is recorded."""
    agents = pytest.importorskip("agents")
    tool_context = pytest.importorskip("agents.tool_context")
    context = agents.RunContextWrapper(context={"user": "ann"})
    yield "<RunContextWrapper>", context
    yield (
        "<ToolContext>",
        tool_context.ToolContext.from_agent_context(
            context, "c1", tool_call=SimpleNamespace(name="add", arguments="{}", call_id="c1", namespace=None)
        ),
    )
    yield "<Agent Triage>", agents.Agent(name="Triage", instructions="Secret instructions.")
    yield "<FunctionTool add>", agents.function_tool(add)

    chatkit = pytest.importorskip("chatkit.agents")
    yield "<AgentContext>", chatkit.AgentContext.model_construct(thread=None, store=None, request_context=None)

    core = pytest.importorskip("langchain_core")
    assert core
    from langchain_core.callbacks import CallbackManager, StdOutCallbackHandler
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.runnables import RunnableLambda
    from langchain_core.tools import tool

    yield "<CallbackManager>", CallbackManager([])
    yield "<StdOutCallbackHandler>", StdOutCallbackHandler()
    yield "<FakeListChatModel>", FakeListChatModel(responses=["a"])
    yield "<RunnableLambda>", RunnableLambda(add)
    yield "<StructuredTool add>", tool(add)

    pytest.importorskip("langgraph")
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import StateGraph
    from langgraph.runtime import Runtime
    from langgraph.store.memory import InMemoryStore

    yield "<Runtime>", Runtime()
    yield "<InMemorySaver>", InMemorySaver()
    yield "<InMemoryStore>", InMemoryStore()
    graph = StateGraph(dict)
    graph.add_node("a", lambda state: state)
    graph.set_entry_point("a")
    yield "<CompiledStateGraph>", graph.compile()


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def test_arguments_that_are_not_data_are_recorded_by_name():
    """
    Contexts, runtimes, callback managers, stores, models and tools are named, not dumped.
    """
    expected, things = zip(*contexts(), strict=True)

    assert record(things) == list(expected)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("starlette.requests", "HTTPConnection"),
        ("django.http.request", "HttpRequest"),
        ("requests.sessions", "Session"),
        ("sqlalchemy.orm.session", "Session"),
        ("openai._base_client", "BaseClient"),
    ],
)
def test_clients_and_requests_are_recorded_by_name(module, name):
    """
    A client holds keys and connections, a request the whole application; neither is opened, nor its subclasses.
    """

    theirs = type(name, (), {"__module__": module})
    mine = type("Mine", (theirs,), {})()
    mine.api_key = "k"

    assert record([mine, SimpleNamespace(client=theirs())]) == [
        "<Mine>",
        {"__class__": "types.SimpleNamespace", "client": f"<{name}>"},
    ]


# OpenAI and Anthropic


def test_openai_answers_are_readable():
    """
    What the OpenAI client returns is recorded by its fields, including those the installed version does not know.
    """
    chat = pytest.importorskip("openai.types.chat")
    message = {"role": "assistant", "content": "Hi", "tool_calls": None, "new_field": {"a": 1}}
    answer = chat.ChatCompletion.model_construct(
        id="1", model="gpt", choices=[{"index": 0, "message": chat.ChatCompletionMessage.model_construct(**message)}]
    )

    made = record(answer)

    assert (made["id"], made["model"]) == ("1", "gpt")
    assert made["choices"][0]["message"]["content"] == "Hi"
    assert made["choices"][0]["message"]["new_field"] == {"a": 1}


def test_anthropic_answers_are_readable():
    """
    What the Anthropic client returns is recorded by its fields.
    """
    types = pytest.importorskip("anthropic.types")
    block = types.TextBlock(type="text", text="Hi")
    answer = types.Message.model_construct(id="1", role="assistant", content=[block])

    made = record(answer)

    assert (made["role"], made["content"][0]["text"]) == ("assistant", "Hi")
