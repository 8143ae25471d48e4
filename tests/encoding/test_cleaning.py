"""
Limits: a part that is too long is truncated there, with a marker, and counted; other parts are complete.
"""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest
from encoding_aids import Counts, Masker, encode, record

from fluxloop.encoding import limits

SECRET = "sk-" + "a" * 20


# One long string.


def test_one_large_image_leaves_its_siblings_alone():
    """
    An image of 3 MB is truncated to its header; the question beside it is complete.
    """
    marks = Counts()

    made = record({"image": "data:image/png;base64," + "A" * 3_000_000, "question": "hi" * 1000}, marks)

    kept = "data:image/png;base64," + "A" * 64
    assert made == {"image": f"{kept}…[truncated: 86 of 3,000,022 bytes kept]", "question": "hi" * 1000}
    assert marks == Counts(truncated=1)


def test_a_long_text_keeps_its_beginning():
    """
    A string over the limit keeps as many bytes as the limit, and its marker has the full size.
    """
    marks = Counts()

    made = record(["x" * 70_000, "y" * 65_536], marks)

    assert made == ["x" * 65_536 + "…[truncated: 65,536 of 70,000 bytes kept]", "y" * 65_536]
    assert marks == Counts(truncated=1)


@pytest.mark.parametrize(("letter", "width"), [("é", 2), ("語", 3), ("🙂", 4)])
def test_truncation_never_splits_a_character(letter, width):
    """
    The limit counts bytes of UTF-8; the cut falls between characters.
    """
    made = record(letter * 50_000, leaf_bytes=1_001)

    kept = 1_001 // width
    assert made == letter * kept + f"…[truncated: {kept * width:,} of {50_000 * width:,} bytes kept]"


def test_lone_surrogates_in_a_long_text_are_replaced():
    """
    A text that is too long and not valid UTF-8 is truncated and repaired.
    """
    assert record("a\ud800" * 1000, leaf_bytes=8) == "a\ufffda\ufffd…[truncated: 8 of 4,000 bytes kept]"


def test_a_long_text_in_an_object_is_truncated_too():
    """
    The attributes of an object are bounded like the items of a list.
    """
    assert record(SimpleNamespace(a="x" * 300, b="y"), leaf_bytes=100) == {
        "__class__": "types.SimpleNamespace",
        "a": "x" * 100 + "…[truncated: 100 of 300 bytes kept]",
        "b": "y",
    }


def test_long_keys_are_truncated():
    """
    A key has at most a kilobyte; two that become the same are both kept.
    """
    made = record({"k" * 5000 + "1": 1, "k" * 5000 + "2": 2, "s": {3}})

    first, second, _ = made
    assert first.startswith("k" * 1024 + "…[truncated: 1,024 of 5,001 bytes kept]")
    assert second == first + " (2)"


@pytest.mark.parametrize("filling", ['"', "\\", "\n", "é", "a", '\\"'])
@pytest.mark.parametrize("length", [65_530, 65_536, 65_537, 131_072])
def test_a_long_string_of_any_characters_is_found(filling, length):
    """
    A string over the limit is found among many short ones, and none below it is truncated.
    """
    text = (filling * length)[:length]
    marks = Counts()

    made = record([["short", "x"] * 10_000, text], marks)

    too_long = len(text.encode()) > 65_536
    assert marks.truncated == too_long
    assert (made[1] == text) != too_long
    assert made[0] == ["short", "x"] * 10_000


# Many things.


def test_of_a_long_list_the_first_items_are_kept():
    """
    A list that does not fit keeps its beginning, in order, and a marker with the number of missing items.
    """
    marks = Counts()

    made = record([f"item {number:04}" for number in range(1000)], marks, value_bytes=2_000)

    kept = len(made) - 1
    assert made == [f"item {number:04}" for number in range(kept)] + [
        f"…[truncated: {1000 - kept} of 1,000 items left out]"
    ]
    assert kept > 100
    assert marks == Counts(truncated=1)


@pytest.mark.parametrize("value_bytes", [1_500, 5_000, 20_000, 60_000])
@pytest.mark.parametrize("size", [20, 300, 3_000])
def test_of_a_long_history_the_instructions_and_the_newest_messages_are_kept(value_bytes, size):
    """
    Messages are kept whole, and in between is a marker with the number of those that are missing.
    """
    marks = Counts()
    history = [{"role": "system", "content": "Be brief."}]
    history += [
        {"role": "user", "content": f"{number} " + "words " * (number * 7 % size // 6)} for number in range(999)
    ]

    made = record(history, marks, value_bytes=value_bytes)

    newest = len(made) - 2
    if len(json.dumps(history)) < value_bytes:
        assert made == history
        return
    assert made[:2] == [history[0], f"…[truncated: {999 - newest} of 1,000 items left out]"]
    assert made[2:-1] == history[1000 - newest :][:-1]
    assert made[-1] == history[-1] or "bytes kept]" in made[-1]["content"]
    assert newest == 1 or len(json.dumps(made)) > value_bytes * 0.8 - size - 2_048
    assert marks.truncated == 1 + (made[-1] != history[-1])


def test_long_instructions_leave_room_for_the_newest_messages():
    """
    Instructions take half of the space at most.
    """
    history = [
        {"role": "system", "content": "rule " * 4_000},
        *({"role": "user", "content": f"{n}"} for n in range(99)),
    ]

    made = record(history, value_bytes=8_000)

    assert "bytes kept]" in made[0]["content"]
    assert made[2:] == history[102 - len(made) :]
    assert len(made) > 60


def test_messages_of_a_history_that_are_no_plain_data_are_kept_too():
    """
    A history with an object in each message is cut in the same way.
    """
    history = [{"role": "user", "content": SimpleNamespace(number=number)} for number in range(300)]

    made = record(history, value_bytes=5_000)

    assert made[0] == f"…[truncated: {301 - len(made)} of 300 items left out]"
    assert [one["content"]["number"] for one in made[1:]] == [*range(301 - len(made), 300)]
    assert len(made) > 20


def test_a_long_history_leaves_room_for_the_question():
    """
    The fields of a dict share the space: one that could fill it leaves a part for the later ones.
    """
    made = record({"history": ["x" * 100] * 50_000, "documents": ["y" * 100] * 50_000, "question": "q" * 1000})

    assert (len(made["history"]) > 5_000, len(made["documents"]) > 1_000) == (True, True)
    assert made["question"] == "q" * 1000


def test_of_a_large_dict_the_first_fields_are_kept():
    """
    A dict that does not fit has a marker with the number of missing fields.
    """
    marks = Counts()

    made = record({str(number): number for number in range(100_000)}, marks, value_bytes=10_000)

    kept = len(made) - 1
    assert list(made)[:-1] == [str(number) for number in range(kept)]
    assert made["…"] == f"…[truncated: {100_000 - kept:,} of 100,000 fields left out]"
    assert marks == Counts(truncated=1)


@pytest.mark.parametrize(
    "value",
    [
        "\x00" * 100_000,
        ["\x00" * 5_000] * 100,
        ["é\n"] * 100_000,
        {str(n): [{"a": "\t" * 30}] for n in range(10_000)},
        list(range(10**6)),
        [float(n) / 3 for n in range(10**5)],
        [[]] * 10**5,
        [SimpleNamespace(a="x" * 10, b=SimpleNamespace()) for _ in range(5_000)],
        {f"{'k' * 900}{n}": None for n in range(1_000)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_is_longer_than_its_limit(value):
    """
    The JSON of any value is within the limit, and uses most of it.
    """
    marks = Counts()

    length = len(encode(value, marks, value_bytes=50_000))

    assert 20_000 < length <= 50_000
    assert marks.truncated > 0


def test_a_limit_too_small_for_any_marker_still_gives_json():
    """
    The result is JSON even if no marker fits.
    """
    assert record([{"a": ["b"] * 100}] * 100, value_bytes=10) == "<list: too long to be recorded>"


# Deep and circular.


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,)])
def test_ten_thousand_levels_are_truncated_at_the_limit(wrap):
    """
    A value nested 10,000 deep is recorded down to the limit.
    """
    value: object = "core"
    for _ in range(10_000):
        value = wrap(value)
    marks = Counts()

    encoded = encode(value, marks)

    assert (encoded.count(b"[") + encoded.count(b"{"), marks.truncated) == (100, 1)
    assert b"<nested too deep: " in encoded
    assert json.loads(encoded)


def test_circular_references_are_marked():
    """
    A dict, list or object that contains itself gets a marker; the same object twice side by side does not.
    """
    node = SimpleNamespace(name="n")
    node.me = node
    many: list[object] = [1]
    many.append({"up": many})
    shared = {"a": {1}}

    assert record([node, many, shared, shared]) == [
        {"__class__": "types.SimpleNamespace", "name": "n", "me": "<circular: types.SimpleNamespace>"},
        [1, {"up": "<circular: list>"}],
        {"a": [1]},
        {"a": [1]},
    ]


def test_the_number_and_depth_of_opened_objects_are_limited():
    """
    Objects are opened to a few levels and up to a number, so that a client does not bring its whole pool into a record.
    """
    chain = SimpleNamespace(next=None)
    for _ in range(50):
        chain = SimpleNamespace(next=chain)
    marks = Counts()

    crowd = record([SimpleNamespace(n=n) for n in range(600)], marks)

    assert encode(chain).count(b"__class__") == 4
    assert [type(member) for member in crowd] == [dict] * 500 + [str] * 100
    assert marks.truncated == 100


def test_near_the_recursion_limit_only_deep_parts_are_lost():
    """
    Called from deep inside a recursion, a nested value keeps as many levels as the stack allows.
    """
    value: object = {1}
    for _ in range(90):
        value = [value]
    encoded: list[bytes] = []

    def recurse(levels: int) -> None:
        if levels:
            recurse(levels - 1)
        else:
            encoded.append(encode(value))

    for levels in range(0, 1000, 20):
        try:
            recurse(levels)
        except RecursionError:  # not even the call of the encoder fitted
            break

    assert len(encoded) > 10
    assert all(json.loads(text) for text in encoded)
    assert any(b"RecursionError" in text for text in encoded)


# Secrets in truncated texts.


@pytest.mark.parametrize("before", range(75, 101))
def test_a_secret_across_the_end_of_a_truncated_text_is_masked(before):
    """
    Secrets are masked before a text is truncated, so that no part of one remains.
    """
    marks = Counts()

    made = record("x" * before + SECRET + "y" * 1000, marks, redactor=Masker(), leaf_bytes=100)

    assert "sk-" not in made
    assert marks == Counts(redacted=1, truncated=1)


def test_a_secret_at_the_end_of_the_searched_text_is_not_kept():
    """
    Masking shortens a text; characters that move up from the end of the searched part are not kept.
    """
    edge = 100 + limits.MARGIN_CHARS
    text = (SECRET + " ") * 500
    text += "z" * (edge - len(text) - 10) + SECRET + "y" * 1000

    made = record(text, redactor=Masker(), leaf_bytes=100)

    assert "sk-" not in made


def test_an_object_with_a_key_and_a_long_text_is_masked_and_truncated():
    """
    Masking by name works on values that need cleaning.
    """
    marks = Counts()

    made = record(SimpleNamespace(api_key="k", text="x" * 200, s={SECRET}), marks, redactor=Masker(), leaf_bytes=100)

    assert made == {
        "__class__": "types.SimpleNamespace",
        "api_key": "[redacted]",
        "text": "x" * 100 + "…[truncated: 100 of 200 bytes kept]",
        "s": ["[redacted]"],
    }
    assert marks == Counts(redacted=2, truncated=1)


# Keys.


def test_keys_become_the_json_text_of_their_value():
    """
    Keys other than strings become the text of their value; if two have the same text, both are kept.
    """
    made = record({1: "a", "1": "b", None: 1, (1, 2): 2, b"x": 3, 1.5: 4, False: 5, frozenset({1}): 6})

    assert made == {
        "1": "a",
        "1 (2)": "b",
        "null": 1,
        "[1,2]": 2,
        "<bytes 1: x>": 3,
        "1.5": 4,
        "false": 5,
        "[1]": 6,
    }


def test_many_keys_that_look_alike_are_all_kept():
    """
    A thousand objects as keys are a thousand fields.
    """
    assert len(record({object(): number for number in range(1000)})) == 1000


# Other threads.


def test_a_container_changed_by_another_thread_is_recorded():
    """
    "changed size during iteration" never reaches the program: containers are copied before they are walked.
    """
    value = {"d": {"0": {0}}, "l": [{0}], "s": {0}}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            value["d"][str(number % 50)] = {number}
            value["d"].pop(str((number + 25) % 50), None)
            value["s"] ^= {number % 50}
            value["l"][:] = [*value["l"][:5], {number}]
            del value["l"][:1]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        made = [record(value) for _ in range(300)]
    finally:
        stop.set()
        thread.join()

    assert all("unreadable" not in str(item) for item in made)
