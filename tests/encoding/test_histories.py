"""
Messages of long histories are read once, and again when they change, also in place.
"""

from __future__ import annotations

import gc
from random import Random
from typing import Any
from weakref import ref

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from fluxloop.encoding import histories
from fluxloop.encoding.foreign import read_message
from fluxloop.encoding.histories import read_history


def _reader(kind: type) -> Any:
    return read_message if issubclass(kind, BaseMessage) else None


def _history(turns: int = 5) -> list[Any]:
    found: list[Any] = [SystemMessage("Be brief.")]
    for turn in range(turns):
        call = {"name": "search", "args": {"q": [f"trains {turn}"]}, "id": f"c{turn}"}
        found += [
            HumanMessage(f"Question {turn}"),
            AIMessage("", tool_calls=[call]),
            ToolMessage(f"Result {turn}", tool_call_id=f"c{turn}"),
            AIMessage([{"type": "text", "text": f"Answer {turn}"}], response_metadata={"finish_reason": "stop"}),
        ]
    return found


def _change(dice: Random, message: Any) -> None:
    """Change *message* in place, in one of the ways in which a program can."""
    way = dice.randrange(5)
    if way == 0:
        message.content = f"changed {dice.random()}"
    elif way == 1:
        message.name = f"name{dice.randrange(9)}"
    elif way == 2:
        message.additional_kwargs["note"] = dice.random()
    elif way == 3 and isinstance(message.content, list):
        message.content[0]["text"] += "!"
    elif way == 4 and getattr(message, "tool_calls", None):
        message.tool_calls[0]["args"]["q"].append(dice.randrange(9))


@pytest.mark.parametrize("seed", range(20))
def test_a_history_equals_its_messages_read_one_by_one(seed: int) -> None:
    """Whatever is changed, added, removed or replaced between two reads, of messages or other items."""
    dice = Random(seed)
    messages = _history()
    for _ in range(60):
        for _ in range(dice.randrange(3)):
            _change(dice, dice.choice(messages))
        if dice.random() < 0.3:
            messages[dice.randrange(len(messages))] = HumanMessage(f"new {dice.random()}")
        if dice.random() < 0.2:
            messages.append(AIMessage("more"))
        if dice.random() < 0.2:
            del messages[dice.randrange(len(messages))]
        expected = [read_message(message) for message in messages]
        assert read_history([*messages, "text", 5], _reader) == [*expected, "text", 5], f"seed {seed}"


def test_what_was_read_is_used_again_until_the_message_changes() -> None:
    """The same object for an unchanged message; a new one after a change in place."""
    messages = _history()
    first, second = read_history(messages, _reader), read_history(messages, _reader)
    assert all(before is after for before, after in zip(first, second, strict=True))
    messages[2].tool_calls[0]["args"]["q"].append("more")
    third = read_history(messages, _reader)
    assert [before is not after for before, after in zip(first, third, strict=True)].index(True) == 2
    assert third[2] == read_message(messages[2])
    assert first[2] != third[2]  # what was read earlier is a snapshot


def test_no_message_is_kept_alive() -> None:
    """What is known of a message is forgotten with it."""
    gc.collect()
    before = len(histories._known)
    messages = _history()
    read_history(messages, _reader)
    assert len(histories._known) == before + len(messages)
    last = ref(messages[-1])
    del messages
    gc.collect()
    assert last() is None
    assert len(histories._known) == before


def test_messages_that_are_not_plain_data_are_read_every_time() -> None:
    """The artifact of a tool can be anything, and its comparison can raise or lie."""

    class Liar:
        compared = 0

        def __eq__(self, other: object) -> bool:
            Liar.compared += 1
            raise RuntimeError("compared")

        __hash__ = None  # type: ignore[assignment]

    message = ToolMessage("made", tool_call_id="c1", artifact=Liar())
    for _ in range(3):
        message.content += "!"
        assert read_history([message], _reader)[0]["content"] == message.content  # type: ignore[index]
    assert Liar.compared == 0
    plain = ToolMessage("made", tool_call_id="c1")
    read_history([plain], _reader)
    plain.artifact = Liar()
    assert read_history([plain], _reader)[0]["artifact"] is plain.artifact  # type: ignore[index]


def test_the_number_of_known_messages_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages above the limit are read every time."""
    monkeypatch.setattr(histories, "MAX_KNOWN", len(histories._known) + 3)
    messages = _history()
    assert read_history(messages, _reader) == [read_message(message) for message in messages]
    assert len(histories._known) == histories.MAX_KNOWN
