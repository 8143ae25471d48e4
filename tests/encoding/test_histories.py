"""
Messages of long histories are read once, and again when they change, also in place.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from random import Random
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any
from weakref import ref

import orjson
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from fluxloop.encoding import histories
from fluxloop.encoding.encoder import Encoder, Limits
from fluxloop.encoding.foreign import read_fields, read_message
from fluxloop.encoding.histories import read_history
from fluxloop.encoding.plain_json import dumps


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


def _recorded(messages: list[Any], limits: Limits | None = None, read: Any = None) -> Any:
    """Return what is recorded of *messages*, decoded."""
    encoder = Encoder(limits)
    return orjson.loads(
        encoder.encode(read_history(messages, read or _reader), SimpleNamespace(redacted=0, truncated=0))
    )


def _plain(messages: list[Any]) -> Any:
    return orjson.loads(orjson.dumps([read_message(message) for message in messages]))


@pytest.mark.parametrize("seed", range(20))
def test_a_history_equals_its_messages_read_one_by_one(seed: int) -> None:
    """Whatever is changed, added, removed or replaced between two reads, of messages or other items."""
    dice = Random(seed)
    messages = _history(40)
    for _ in range(60):
        for _ in range(dice.randrange(3)):
            _change(dice, dice.choice(messages))
        if dice.random() < 0.3:
            messages[dice.randrange(len(messages))] = HumanMessage(f"new {dice.random()}")
        if dice.random() < 0.2:
            messages.append(AIMessage("more"))
        if dice.random() < 0.2:
            del messages[dice.randrange(len(messages))]
        expected = _plain(messages)
        assert _recorded(messages) == expected, f"seed {seed}"
        assert _recorded([*messages, "text", 5]) == [*expected, "text", 5], f"seed {seed}"
        tight = _recorded(messages, Limits(value_bytes=6_000))
        marker = next((number for number, one in enumerate(tight) if isinstance(one, str)), None)
        if marker is not None:
            newest = tight[marker + 1 :]
            assert [*expected[:marker], *expected[len(expected) - len(newest) :]] == tight[:marker] + newest, (
                f"seed {seed}"
            )


CHANGES: dict[str, Any] = {
    "content": lambda message: setattr(message, "content", "Result 1!"),
    "part of the content": lambda message: message.content[0].update(text="Answer 1!"),
    "argument of a tool call": lambda message: message.tool_calls[0]["args"].update(q=["trains"]),
    "item of an argument": lambda message: message.tool_calls[0]["args"]["q"].append("more"),
    "number to equal flag": lambda message: message.tool_calls[0]["args"].update(n=True),
    "number to equal decimal": lambda message: message.tool_calls[0]["args"].update(n=1.0),
    "deep dict": lambda message: message.additional_kwargs["deep"]["er"].update(x=2),
    "removed field": lambda message: message.additional_kwargs.clear(),
    "order of fields": lambda message: message.additional_kwargs["deep"].update(
        er=message.additional_kwargs["deep"].pop("er")
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_in_place_is_found(change: Any) -> None:
    """Also one between values that Python takes for equal."""
    messages = _history(40)
    for message in messages:
        message.additional_kwargs["deep"] = {"er": {"x": 1}, "b": [{"y": None}]}
        if getattr(message, "tool_calls", None):
            message.tool_calls[0]["args"]["n"] = 1
    assert _recorded(messages) == _plain(messages)
    for message in (messages[6], messages[7], messages[8]):  # a call, its result, an answer
        with suppress(AttributeError, IndexError, TypeError):
            change(message)
    changed = Encoder().encode(read_history(messages, _reader), SimpleNamespace(redacted=0, truncated=0))
    assert changed == orjson.dumps([read_message(message) for message in messages])


def test_unchanged_messages_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a history with one more message, only the last piece is read; without its first messages, too."""
    read: list[int] = []
    monkeypatch.setattr(histories, "read_fields", lambda fields: read.append(1) or read_fields(fields))
    messages = _history(100)
    _recorded(messages)
    assert len(read) == len(messages)
    read.clear()
    _recorded(messages)
    assert read == []
    messages.append(HumanMessage("more"))
    _recorded(messages)
    assert len(read) <= histories.PIECE
    read.clear()
    assert _recorded(messages[:-1]) == _plain(messages[:-1])  # another run begins with the same history
    assert read == []
    _recorded(messages[7:])  # the pieces begin at the same messages
    assert len(read) <= 2 * histories.PIECE
    read.clear()
    messages[200].content += "!"
    assert _recorded(messages) == _plain(messages)
    assert len(read) <= 3 * histories.PIECE


@pytest.mark.parametrize("length", [20_000, 300_000])
def test_work_is_bounded_by_what_is_recorded(length: int) -> None:
    """Of a history over the limit, only the instructions and the newest messages are touched."""
    touched: list[int] = []

    class Counting(HumanMessage):
        def __getattribute__(self, name: str) -> Any:
            if name == "__dict__":
                touched.append(id(self))
            return super().__getattribute__(name)

    one, last = Counting("x" * 80), [Counting(f"{number:080}") for number in range(1_000)]
    messages = [SystemMessage("Be brief."), *[one] * length, *last]
    expected = _plain(last)
    for _ in range(2):
        touched.clear()
        made = _recorded(messages, Limits(value_bytes=50_000))
        assert made[0] == {"role": "system", "content": "Be brief."}
        assert made[1].endswith(f"{len(messages) - len(made) + 1:,} of {len(messages):,} items left out]")
        assert made[2:] == expected[-len(made) + 2 :]
        assert touched.count(id(one)) == 1  # shows that the instructions end before it
        assert len(touched) <= len(made) + 3 * histories.PIECE


def test_long_instructions_are_kept_whole_where_all_fits() -> None:
    """They leave half of the room for the newest messages only if these need it."""
    messages = [SystemMessage(str(number) * 900) for number in range(5)] + _history(5)[1:]
    messages[-1].additional_kwargs["about"] = object()
    made = _recorded(messages, Limits(value_bytes=9_000))
    assert [one["content"] for one in made[:5]] == [one.content for one in messages[:5]]
    assert len(made) == len(messages)


def test_no_message_is_kept_alive() -> None:
    """What is known of a message is forgotten with it."""
    gc.collect()
    before = len(histories._pieces)
    messages = _history(60)
    _recorded(messages)
    assert len(histories._pieces) == before + 2
    last = ref(messages[0])
    del messages
    gc.collect()
    assert last() is None
    assert len(histories._pieces) == before


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
        made = _recorded([*_history(), message])
        assert made[:-1] == _plain(_history())
        assert made[-1]["content"] == message.content
    assert Liar.compared == 0
    plain = ToolMessage("made", tool_call_id="c1")
    assert _recorded([plain]) == _plain([plain])
    plain.artifact = Liar()
    assert "Liar" in str(_recorded([plain])[0]["artifact"])


def test_huge_messages_are_not_encoded_to_compare_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither new ones, nor a text that became huge; data inside a message that became huge are encoded once."""
    sizes: list[int] = []
    monkeypatch.setattr(histories, "dumps", lambda *given: sizes.append(len(made := dumps(*given))) or made)
    messages = _history()
    _recorded(messages)
    messages[5].content = "x" * 10_000_000
    made = _recorded(messages)
    assert "bytes kept]" in made[5]["content"]
    messages[6].additional_kwargs["images"] = [{"url": "y" * 10_000_000}]
    _recorded(_history() + messages[6:])
    _recorded(messages)
    sizes.clear()
    _recorded(messages)
    _recorded(messages[6:] * 10)
    assert max(sizes) <= histories.PIECE_BYTES


def test_what_is_kept_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest pieces are forgotten first, and read again."""
    monkeypatch.setattr(histories, "MAX_KEPT_BYTES", 100_000)
    messages = _history(400)
    for _ in range(2):
        assert _recorded(messages) == _plain(messages)
        assert sum(len(piece.fields) + len(piece.encoded) for piece in histories._pieces.values()) < 200_000


def test_a_list_that_changes_meanwhile_is_recorded() -> None:
    """Threads may append to a history and empty it while it is recorded."""
    messages = _history(100)
    is_over = Event()

    def change() -> None:
        while not is_over.is_set():
            messages[50:] = []
            messages.extend(_history(50))

    thread = Thread(target=change)
    thread.start()
    try:
        for _ in range(50):
            assert isinstance(_recorded(messages), list)
    finally:
        is_over.set()
        thread.join()
