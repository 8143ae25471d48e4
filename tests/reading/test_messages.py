"""
Messages of every provider are read from records that were made from the classes of its SDK.
"""

from __future__ import annotations

import json
from typing import Any

import agents
import pytest
from anthropic.types import Message as AnthropicMessage
from google.genai import types as google
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

import fluxloop
from fluxloop.reading.messages import Message, Part, last_message
from fluxloop.reading.responses import conversation_of, messages_of
from fluxloop.reading.values import brief
from fluxloop.testing import capture

CALL = Part("call", {"city": "Paris"}, "weather")
PNG = "data:image/png;base64," + "iVBORw0K" * 300


def recorded(value: object) -> Any:
    """What FluxLoop records of *value*."""

    @fluxloop.tool
    def give() -> object:
        return value

    with capture() as captured:
        give()
        with fluxloop.instrument("trace"):
            give()
    return json.loads(json.dumps(captured.traces()[-1].observations[-1].output))


def chat_completion() -> ChatCompletion:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    message = {"role": "assistant", "content": "Let me see.\nOne moment.", "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    return ChatCompletion.model_validate(
        {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [choice]}
    )


def response() -> Response:
    text = {"type": "output_text", "text": "Let me see.\nOne moment.", "annotations": []}
    items = [
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "The user asks."}]},
        {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]},
        {"type": "function_call", "id": "f", "call_id": "c", "name": "weather", "arguments": '{"city":"Paris"}'},
    ]
    fields = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4o", "output": items}
    return Response.model_validate({**fields, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []})


def anthropic_message() -> AnthropicMessage:
    blocks = [
        {"type": "thinking", "thinking": "The user asks.", "signature": "x"},
        {"type": "text", "text": "Let me see.\nOne moment."},
        {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Paris"}},
    ]
    usage = {"input_tokens": 1, "output_tokens": 2}
    fields = {"id": "msg", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use"}
    return AnthropicMessage.model_validate({**fields, "content": blocks, "usage": usage})


def google_response() -> google.GenerateContentResponse:
    parts = [
        google.Part(text="The user asks.", thought=True),
        google.Part(text="Let me see.\nOne moment."),
        google.Part(function_call=google.FunctionCall(name="weather", args={"city": "Paris"})),
    ]
    return google.GenerateContentResponse(
        candidates=[google.Candidate(content=google.Content(role="model", parts=parts), finish_reason="STOP")]
    )


def langchain_message() -> AIMessage:
    call = {"name": "weather", "args": {"city": "Paris"}, "id": "1"}
    return AIMessage("Let me see.\nOne moment.", tool_calls=[call])


def agents_response() -> agents.ModelResponse:
    return agents.ModelResponse(output=list(response().output), usage=agents.Usage(), response_id="r")


REASONING = [Part("reasoning", "The user asks.")]
ANSWERS = {
    "chat completion": (chat_completion, "assistant", []),
    "response": (response, "assistant", REASONING),
    "anthropic": (anthropic_message, "assistant", REASONING),
    "google": (google_response, "model", REASONING),
    "langchain": (langchain_message, "assistant", []),
    "langchain result": (
        lambda: LLMResult(generations=[[ChatGeneration(message=langchain_message())]]),
        "assistant",
        [],
    ),
    "agents sdk": (agents_response, "assistant", REASONING),
}


@pytest.mark.parametrize(("make", "role", "before"), ANSWERS.values(), ids=ANSWERS)
def test_the_answer_of_every_sdk_is_a_message(make, role, before):
    """
    Recorded objects of the SDKs are read as one message with its reasoning, text and tool call.
    """
    answer = recorded(make())

    assert messages_of(answer) == [Message(role, [*before, Part("text", "Let me see.\nOne moment."), CALL])]
    assert brief(answer) == rf'{role}: "Let me see.\nOne moment." weather(city="Paris")'


def test_the_other_fields_of_a_response_are_named():
    """
    Fields that have a value and are not messages are listed.
    """
    assert conversation_of(recorded(chat_completion())).other_fields == ["id", "created", "model", "object"]
    assert conversation_of(recorded(langchain_message())).other_fields == []


CONVERSATIONS = {
    "openai chat": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": PNG}}],
        },
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "14 °C"},
    ],
    "openai responses": [
        {"role": "user", "content": [{"type": "input_text", "text": "See"}, {"type": "input_image", "image_url": PNG}]},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": '{"city":"Paris"}'},
        {"type": "function_call_output", "call_id": "c", "output": "14 °C"},
    ],
    "anthropic": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PNG.partition(",")[2]},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Paris"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "14 °C"}]},
    ],
    "bedrock": [
        {
            "role": "user",
            "content": [{"text": "See"}, {"image": {"format": "image/png", "source": {"bytes": "<bytes 1,800>"}}}],
        },
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": "t", "name": "weather", "input": {"city": "Paris"}}}],
        },
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "14 °C"}]}}]},
    ],
    "langchain": [
        HumanMessage(
            [{"type": "text", "text": "See"}, {"type": "image", "base64": "A" * 2400, "mime_type": "image/png"}]
        ),
        AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Paris"}, "id": "1"}]),
        ToolMessage("14 °C", tool_call_id="1"),
    ],
}


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_conversation_of_every_provider_is_read_in_the_same_way(conversation):
    """
    A question with an image, a tool call and its result, in the forms of the providers.
    """
    value = recorded(conversation)

    assert [(message.role, message.parts) for message in messages_of(value)] == [
        ("user", [Part("text", "See"), Part("note", "image/png, 1.8 kB", "image")]),
        ("assistant", [CALL]),
        ("tool", [Part("text", "14 °C")]),
    ]
    assert brief(value) == 'tool: "14 °C" (after 2 more)'


def test_a_conversation_of_google_is_read():
    """
    Contents with parts: text, inline data, a function call and its response.
    """
    contents = [
        google.Content(
            role="user",
            parts=[google.Part(text="See"), google.Part.from_bytes(data=b"\xff" * 9, mime_type="image/png")],
        ),
        google.Content(role="model", parts=[google.Part.from_function_call(name="weather", args={"city": "Paris"})]),
        google.Content(
            role="user", parts=[google.Part.from_function_response(name="weather", response={"result": "14 °C"})]
        ),
    ]

    assert messages_of(recorded(contents)) == [
        Message("user", [Part("text", "See"), Part("note", "image/png, 9 bytes", "image")]),
        Message("model", [CALL]),
        Message("user", [Part("text", "14 °C")]),
    ]


SEARCH = {"action": {"query": "x"}}


def user(block: dict[str, object]) -> dict[str, object]:
    return {"role": "user", "content": [block]}


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ({"type": "web_search_call", "id": "w", "status": "completed", **SEARCH}, Part("call", SEARCH, "web_search")),
        ({"type": "mcp_call", "id": "m", "name": "weather", "arguments": '{"city":"Paris"}'}, CALL),
        ({"type": "custom_tool_call", "call_id": "c", "name": "python", "input": "1+1"}, Part("call", "1+1", "python")),
        ({"type": "image_generation_call", "id": "i", "result": "A" * 4000}, Part("note", "3.0 kB", "image")),
        ({"role": "assistant", "content": None, "refusal": "No."}, Part("note", "No.", "refusal")),
        ({"role": "assistant", "audio": {"id": "a", "transcript": "Hi"}}, Part("text", "Hi")),
        (
            user({"type": "input_file", "filename": "a.pdf", "file_id": "file-1"}),
            Part("note", "file-1, a.pdf", "file"),
        ),
        (
            user({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}),
            Part("note", "https://a.example/b.png", "image"),
        ),
    ],
)
def test_other_items_are_calls_and_notes(item, part):
    """
    Tools that the provider runs, refusals, audio and files.
    """
    assert [message.parts for message in messages_of(item)] == [[part]]


def test_a_truncated_image_has_its_original_size():
    """
    What is recorded of a large image is its beginning and its size.
    """
    (message,) = messages_of(
        recorded(
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0K" * 500_000}}
                    ],
                }
            ]
        )
    )

    assert message.parts == [Part("note", "image/png, about 3.0 MB", "image")]


NO_MESSAGES = [
    *(None, "text", 1, [], {}, [1], ["a"]),
    *({"role": "user"}, {"content": "x"}, {"role": 1, "content": ""}, [{"role": "user", "content": "x"}, "odd"]),
    *({"choices": []}, {"output": ["x"]}, {"candidates": [1]}, {"generations": [[1]]}),
]


@pytest.mark.parametrize("value", NO_MESSAGES, ids=str)
def test_other_values_are_not_messages(value):
    """
    A value that only resembles a message or a response is left as it is.
    """
    assert messages_of(value) is None


words = st.sampled_from(
    ["role", "content", "type", "parts", "text", "tool_calls", "function", "name", "arguments", "output", "choices",
     "message", "candidates", "generations", "source", "image_url", "summary", "reasoning", "tool_use", "assistant",
     "function_call", "web_search_call", "id", "toolUse", "inline_data", "audio", "data:,", "", "{"]
)  # fmt: skip
shapes = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
    max_leaves=20,
)


def test_a_history_with_messages_left_out_is_read():
    """
    The marker for messages that were left out is a message of its own, and the last message is found.
    """
    given = [
        {"role": "system", "content": "Be brief."},
        "…[truncated: 7 of 9 items left out]",
        {"role": "user", "content": "Hi"},
    ]

    assert last_message(given) == (Message("user", [Part("text", "Hi")]), 2)
    assert messages_of(given) == [
        Message("system", [Part("text", "Be brief.")]),
        Message("…", [Part("text", "truncated: 7 of 9 items left out")]),
        Message("user", [Part("text", "Hi")]),
    ]
    assert last_message([*given, "another text"]) is None


@given(shapes)
def test_no_shape_of_json_is_an_error(value):
    """
    Whatever was recorded under the names of message fields, reading returns messages or None.
    """
    messages = messages_of(value)

    assert messages is None or all(isinstance(message.role, str) for message in messages)
    assert isinstance(brief(value), str)
    if isinstance(value, list) and (found := last_message(value)):
        assert messages[-1] == found[0]


def of_responses(*items: dict[str, object], **fields: object) -> dict[str, object]:
    return {"id": "resp_1", "object": "response", "status": "completed", "output": [*items], **fields}


def of_anthropic(*blocks: dict[str, object], reason: str = "end_turn") -> dict[str, object]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "content": [*blocks], "stop_reason": reason}


def of_chat(message: dict[str, object], **choice: object) -> dict[str, object]:
    return {"object": "chat.completion", "choices": [{"message": {"role": "assistant", **message}, **choice}]}


HELLO = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
ROLL = {"type": "mcp_call", "id": "m", "name": "roll", "arguments": '{"sides":6}'}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (of_chat({"content": "", "refusal": None}, finish_reason="length"), "assistant: <no content: length>"),
        (of_chat({"content": None, "refusal": "I cannot."}), "assistant: <refusal: I cannot.>"),
        ({"object": "chat.completion", "choices": []}, "assistant: <no content>"),
        (of_responses(), "assistant: <no content: completed>"),
        (of_responses(error={"code": "server_error", "message": "bad day"}), "assistant: <no content: bad day>"),
        (
            of_responses(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            "assistant: <no content: max_output_tokens>",
        ),
        (
            of_responses({"type": "compaction", "id": "c", "encrypted_content": "x"}, HELLO),
            'assistant: <compaction> "hi"',
        ),
        (of_responses({"type": "of_tomorrow", "id": "c"}, HELLO), 'assistant: <of_tomorrow> "hi"'),
        (of_responses({"type": "mcp_list_tools", "id": "l", "tools": []}, HELLO), 'assistant: <mcp_list_tools> "hi"'),
        (of_responses({**ROLL, "output": "4"}), 'assistant: roll(sides=6) "4"'),
        (of_responses({**ROLL, "error": {"message": "boom"}}), "assistant: roll(sides=6) <error: boom>"),
        (
            of_responses(
                {
                    "type": "code_interpreter_call",
                    "id": "c",
                    "code": "print(1)",
                    "outputs": [{"type": "logs", "logs": "1"}, {"type": "image", "url": "https://x/y.png"}],
                }
            ),
            'assistant: code_interpreter(code="print(1)") "1" <image>',
        ),
        (of_anthropic(), "assistant: <no content: end_turn>"),
        (of_anthropic(reason="refusal"), "assistant: <no content: refusal>"),
        (of_anthropic({"type": "redacted_thinking", "data": "x"}), "assistant: <reasoning>"),
        (
            of_anthropic({"type": "mcp_tool_result", "content": [{"type": "text", "text": "42"}]}),
            'assistant: "42"',
        ),
        ({"candidates": None, "prompt_feedback": {"block_reason": "SAFETY"}}, "model: <no content: SAFETY>"),
        ({"candidates": [], "usage_metadata": None}, "model: <no content>"),
        (
            [{"role": "user", "content": "hi"}, {"type": "item_reference", "id": "m1"}],
            "…: <item_reference> (after 1 more)",
        ),
        (
            [
                {
                    "type": "computer_call_output",
                    "output": {"type": "computer_screenshot", "image_url": "data:;base64,AAA"},
                }
            ],
            "tool: <image>",
        ),
    ],
)
def test_an_answer_without_a_text_says_what_it_is(answer, text):
    """
    Refused, empty and failed answers, and those with items that are not messages, are read as messages, too.
    """
    assert brief(answer) == text


def test_what_a_tool_of_the_provider_printed_is_shown():
    """
    The result of a server's tool is data with all its members.
    """
    result = {"type": "bash_code_execution_result", "stdout": "1\n", "stderr": "", "return_code": 0, "content": []}

    (message,) = messages_of(of_anthropic({"type": "bash_code_execution_tool_result", "content": result})) or []

    assert message.parts == [Part("data", result, "bash_code_execution_tool_result")]
    assert messages_of(result) is None
