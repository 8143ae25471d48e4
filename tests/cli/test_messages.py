"""
A value in full: messages as a conversation, texts with their line breaks, everything else as JSON.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from reading_aids import observation
from rich.cells import cell_len

from fluxloop.cli.messages import full_lines
from fluxloop.cli.tree import render
from fluxloop.reading import traces_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def texts(value: object, width: int = 60) -> list[str]:
    return [line.text for line in full_lines(value, width)]


CODE_CALL = {"id": "c1", "function": {"name": "python", "arguments": '{"code": "import os\\nprint(1)", "timeout": 5}'}}


def test_a_conversation_reads_like_one():
    """
    Roles, texts with their line breaks, calls with their arguments, reasoning, and a note for an image.
    """
    messages = [
        {"role": "system", "content": "Be brief.\nAlways."},
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, IMAGE]},
        {"role": "assistant", "reasoning_content": "An image.", "content": None, "tool_calls": [CODE_CALL]},
        {"role": "tool", "name": "python", "content": '"1"'},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "stop", "args": {}}]},
        {"role": "tool", "content": {"found": [1, 2]}},
    ]

    assert texts(messages) == [
        "system",
        "  Be brief.",
        "  Always.",
        "user",
        "  Look:",
        "  <image: image/png, 3 bytes>",
        "assistant",
        "  (reasoning) An image.",
        "  python(",
        "    code:",
        "      import os",
        "      print(1)",
        "    timeout: 5",
        "  )",
        "tool python",
        '  "1"',
        "assistant",
        "  stop()",
        "tool",
        '  {"found": [1, 2]}',
    ]


def test_arguments_with_messages_are_listed_below_their_names():
    """
    The arguments of a call of a model: the messages as a conversation, what is short behind its name.
    """
    value = {"messages": [{"role": "user", "content": "Hi"}], "model": "gpt-4o", "stop": ["a\nb"], "n": 1}

    assert texts(value) == ["messages:", "  user", "    Hi", 'model: "gpt-4o"', "stop:", "  - a", "    b", "n: 1"]


def test_several_choices_are_numbered_and_other_fields_named():
    """
    Alternatives of one response are numbered; the fields beside them are named.
    """
    choices = [{"index": n, "message": {"role": "assistant", "content": f"Answer {n}"}} for n in range(2)]

    assert texts({"id": "chatcmpl-1", "choices": choices, "usage": {"total_tokens": 3}, "logprobs": None}) == [
        "assistant (1 of 2)",
        "  Answer 0",
        "assistant (2 of 2)",
        "  Answer 1",
        "also recorded, see --json: id, usage",
    ]


def test_documents_keep_their_line_breaks():
    """
    Texts of several lines inside lists and mappings are shown as lines; containers without any are JSON.
    """
    assert texts([{"id": 1, "text": "one\ntwo", "tags": ["a"]}, {"id": 2}]) == [
        "- id: 1",
        "  text:",
        "    one",
        "    two",
        '  tags: ["a"]',
        '- {"id": 2}',
    ]
    assert texts({"a": [1, "x"]}) == ['{"a": [1, "x"]}']


names = st.sampled_from(["role", "content", "type", "tool_calls", "x"])
values = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["a\nb", "\x1b[31m", "\u202e"]),
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
    max_leaves=15,
)


@given(values, st.integers(40, 120))
def test_any_value_is_shown_within_the_width_and_harmless(value, width):
    """
    For any value, the lines of the full view have no control characters and fit the width.
    """
    (trace,) = traces_of([observation("a", input=value, output=value)])
    lines = render(trace, width, full=True).plain.split("\n")

    assert max(map(cell_len, lines)) <= width
    assert not {*"\x1b\u202e\r"} & {*"".join(lines)}


def test_a_value_of_any_depth_is_shown_in_full():
    """
    Text with line breaks below hundreds of levels.
    """
    deep: object = "a\nb"
    for _ in range(900):
        deep = [{"role": "user", "content": deep}]

    assert "".join(texts(deep)).count("content") > 800
