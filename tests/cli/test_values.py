"""
`brief` and `whole`: a value in one line, or in all of its lines, and never a way to steer the terminal.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxloop.cli.values import brief, whole
from fluxloop.reading.to_json import escaped

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
    A mapping reads like the arguments of a call, everything else as JSON.
    """
    assert brief(value) == line


OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"role": "user", "content": "Hi"}, 'user: "Hi"'),
        ({"type": "human", "content": "Hi"}, 'human: "Hi"'),
        ({"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image"}]}, 'user: "See" <image>'),
        ({"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]}, 'assistant: add({"a": 1})'),
        ({"type": "ai", "content": "", "tool_calls": [{"name": "add", "args": {"a": 1}}]}, "ai: add(a=1)"),
        ({"role": "assistant", "content": "So:", "tool_calls": ["odd"]}, 'assistant: "So:" "odd"'),
        ({"role": "tool", "content": {"a": 1}}, 'tool: {"a": 1}'),
    ],
)
def test_a_chat_message_says_who_said_what(message, line):
    """
    Messages of OpenAI, Anthropic and LangChain, with parts and tool calls.
    """
    assert brief(message) == line


def test_a_conversation_says_its_last_message():
    """
    What was said last is what a call is about; how much came before is a number.
    """
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    assert brief(messages) == 'user: "Hi" (after 1 more)'
    assert brief({"messages": messages, "n": 1}) == 'messages=user: "Hi" (after 1 more), n=1'
    assert brief([*messages, "odd"]).startswith('[{"role"')


def test_a_value_in_full_opens_only_what_does_not_fit():
    """
    Containers that fit the width stay on one line; text keeps its own lines.
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
    Joined again, the lines are JSON that means the same.
    """
    if isinstance(value, str):
        return
    shown = "\n".join(whole(value, width))

    assert json.dumps(json.loads(shown)) == json.dumps(value)


def test_nothing_that_was_recorded_can_act_on_the_terminal():
    """
    Escape sequences, carriage returns, bells and turns of the writing direction are spelled out.
    """
    assert escaped("\x1b[2J\r\a\u202etxt\x9b\u2028") == r"\u001b[2J\u000d\u0007\u202etxt\u009b\u2028"


@given(st.text() | json_values)
def test_whatever_is_shown_is_printable(value):
    """
    One line holds one line, and no control character.
    """
    shown = [brief(value), *whole(value)]

    assert all(character >= " " for line in shown for character in line)
    assert all(cell_len(line) >= 0 for line in shown)


def test_a_value_nested_too_deeply_is_said_to_be():
    """
    A foreign record may nest deeper than an encoder goes; the rest of the tree is shown all the same.
    """
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    assert brief(deep) == "<nested too deeply to show>"
    assert whole(deep) == ["<nested too deeply to show>"]
