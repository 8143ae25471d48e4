"""
Values with messages: they are read before orjson is given them, with the same bytes as if orjson had refused them.
"""

from __future__ import annotations

from typing import Any

import pytest
from encoding_aids import Counts, Masker
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables import AddableDict

from fluxloop.encoding import encoder
from fluxloop.encoding.encoder import Encoder, Limits
from fluxloop_langchain.payloads import readable

CALL = {"name": "search", "args": {"query": "x"}, "id": "c"}
MESSAGES = st.sampled_from(
    [
        *(HumanMessage("hi", name="Ann"), AIMessage("", tool_calls=[CALL]), ToolMessage("é" * 50, tool_call_id="c")),
        *(SystemMessage("sk-" + "a" * 20), AIMessage("x", additional_kwargs={"a": {1, 2}}), AIMessage("y" * 3_000)),
    ]
)
OTHERS = st.sampled_from(
    [
        *(None, 1, "text", "sk-" + "b" * 20, [1, {"a": 2}], {}, [], {1, 2}, ("a", 1), object, 2**70, "z" * 3_000),
        *(
            Document("page", metadata={"n": 1}),
            StringPromptValue(text="p"),
            ChatPromptValue(messages=[HumanMessage("q")]),
        ),
    ]
)
ITEMS = MESSAGES | OTHERS | st.lists(MESSAGES, max_size=14) | st.lists(MESSAGES | OTHERS, max_size=4)
DICTS = st.dictionaries(st.sampled_from(["messages", "input", "n"]), ITEMS, max_size=3)
VALUES = ITEMS | DICTS | DICTS.map(AddableDict) | DICTS.map(lambda found: {"inside": found})


@settings(max_examples=300, deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=4), value_bytes=st.sampled_from([500, 4_000, 1_000_000]))
def test_values_are_recorded_as_if_orjson_had_refused_them(values, value_bytes):
    """
    The same bytes and counts, with and without the values before; also of an output that is encoded with its metadata.
    """
    limits = Limits(leaf_bytes=min(1_000, value_bytes), value_bytes=value_bytes)
    marks, own_marks = Counts(), Counts()
    reading = Encoder(limits, Masker())

    for value in values:
        reading._read_first = encoder.READ_FIRST
        asked = Encoder(limits, Masker())
        assert reading.encode(value, marks, readable) == asked.encode(value, own_marks, readable)
        quick = reading.quick({"output": value, "metadata": {"n": 1}}, readable)
        if quick is not None:
            assert quick == b'{"output":%b,"metadata":{"n":1}}' % asked.encode(value, Counts(), readable)
    assert marks == own_marks


@pytest.mark.parametrize(("value", "refusals"), [({"messages": [HumanMessage("hi")]}, 3), ({"n": 1}, 0)])
def test_few_values_are_given_to_orjson_in_vain(value, refusals):
    """Of 50 states with messages, all but the first and one of each 17 after it are read first."""
    read: list[bool] = []
    asked = Encoder()
    dumps: Any = asked._dumps

    def counted(value: object, default: None, options: int) -> bytes:
        try:
            return dumps(value, default, options)  # type: ignore[no-any-return]
        except TypeError:
            read.append(True)
            raise

    asked._dumps = counted
    for _ in range(50):
        asked.encode(value, Counts(), readable)

    assert len(read) == refusals
