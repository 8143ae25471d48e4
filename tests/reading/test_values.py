"""
`brief` and `whole`: a value on one line or in full, without characters that act on the terminal.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxloop.reading.json_text import escaped
from fluxloop.reading.values import brief, whole

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("text", '"text"'),
        ("", '""'),
        ("two\nlines", r'"two\nlines"'),
        (None, "null"),
        ([], "[]"),
        ({}, "{}"),
        ([1, "°C"], '[1, "°C"]'),
        ({"city": "Paris", "n": 2}, 'city="Paris", n=2'),
    ],
)
def test_a_value_in_one_line(value, line):
    """
    A mapping reads like the arguments of a call; everything else is JSON.
    """
    assert brief(value) == line


OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"role": "user", "content": "Hi"}, 'user: "Hi"'),
        ({"type": "human", "content": "Hi"}, 'human: "Hi"'),
        ({"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image"}]}, 'user: "See" <image>'),
        ({"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]}, "assistant: add(a=1)"),
        ({"type": "ai", "content": "", "tool_calls": [{"name": "add", "args": {"a": 1}}]}, "ai: add(a=1)"),
        ({"role": "assistant", "content": "So:", "tool_calls": ["odd"]}, 'assistant: "So:" "odd"'),
        ({"role": "tool", "content": {"a": 1}}, 'tool: {"a": 1}'),
    ],
)
def test_a_chat_message_shows_role_and_content(message, line):
    """
    Messages of OpenAI, Anthropic and LangChain, with parts and tool calls.
    """
    assert brief(message) == line


def test_a_conversation_shows_its_last_message():
    """
    The last message is shown, with the number of messages before it.
    """
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    assert brief(messages) == 'user: "Hi" (after 1 more)'
    assert brief({"messages": messages, "n": 1}) == 'messages=user: "Hi" (after 1 more), n=1'
    assert brief([*messages, "odd"]).startswith('[{"role"')


def test_a_value_in_full_indents_only_what_does_not_fit():
    """
    Containers that fit the width stay on one line; text keeps its lines.
    """
    value = {"short": [1, 2], "long": ["a" * 10, "b" * 10]}

    assert whole(value, width=24) == [
        "{",
        '  "short": [1, 2],',
        '  "long": [',
        '    "aaaaaaaaaa",',
        '    "bbbbbbbbbb"',
        "  ]",
        "}",
    ]
    assert whole("one\ntwo\tx") == ["one", "two x"]
    assert whole("") == ['""']


@given(json_values, st.integers(-5, 60))
def test_a_value_in_full_is_the_value(value, width):
    """
    The lines, joined, are JSON with the same value.
    """
    if isinstance(value, str):
        return
    shown = "\n".join(whole(value, width))

    assert json.dumps(json.loads(shown)) == json.dumps(value)


def test_characters_that_act_on_the_terminal_are_escaped():
    """
    Escape sequences, carriage returns, bells and direction marks are shown as escapes.
    """
    assert escaped("\x1b[2J\r\a\u202etxt\x9b\u2028") == r"\u001b[2J\u000d\u0007\u202etxt\u009b\u2028"


@given(st.text() | json_values)
def test_every_line_is_printable(value):
    """
    A line has no line end and no control character.
    """
    shown = [brief(value), *whole(value)]

    assert all(character >= " " for line in shown for character in line)
    assert all(cell_len(line) >= 0 for line in shown)


def test_a_value_of_any_depth_is_shown():
    """
    A value may be deeper than the encoder of the standard library goes.
    """
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    shown, lines = brief(deep), whole(deep)

    assert shown == "[" * 5_001 + "]" * 5_001
    assert "".join("".join(lines).split()) == shown


def test_tool_calls_nested_in_tool_calls_are_shown_at_any_depth():
    """
    A message whose tool calls have messages as arguments, hundreds of levels deep, is shown as JSON.
    """
    message: dict[str, object] = {"role": "user", "content": "Hi"}
    for _ in range(2000):
        message = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "args": {"messages": [message]}}]}

    assert brief(message).count('"name": "f"') == 2000
