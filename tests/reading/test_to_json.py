"""
The JSON of ``fluxloop view --json``: strict, one line, nested, for any trace.
"""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading_aids import GOLDEN, head, observation, trace_line

from fluxloop.reading import Assembly, read_traces, traces_of
from fluxloop.reading.json_text import encode, in_ascii
from fluxloop.reading.to_json import observation_line
from fluxloop.reading.to_json import trace_line as encoded


def strict(text: str):
    """Decode *text* as strict JSON, without NaN."""
    return json.loads(text, parse_constant=lambda word: pytest_fail(word))


def pytest_fail(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def test_a_trace_is_one_object_with_its_observations_nested():
    """
    Fields and spellings are those of the record format, with ``children`` in start order.
    """
    text = encoded(next(read_traces(GOLDEN / "schema_1")))
    trace = strict(text)
    root = trace["observations"][0]

    assert "\n" not in text
    assert (trace["start_time"], trace["status"], trace["schema"]) == ("2026-01-17T14:30:22.000456Z", "success", 1)
    assert (root["type"], root["parent_id"], root["level"], root["seq"]) == ("AGENT", None, "INFO", 0)
    assert [child["name"] for child in root["children"]] == [
        *("find_pages", "plan", "get_weather", "cache_miss", "respond", "politeness"),
    ]
    assert [child["name"] for child in root["children"][0]["children"]] == ["embed"]
    assert root["children"][1]["usage"] == {
        "input_tokens": 1204,
        "output_tokens": 87,
        "total_tokens": 1291,
        "cache_read_tokens": 1024,
    }


def test_an_observation_encodes_to_its_record():
    """
    Encoding an observation that was read gives the recorded fields again.
    """
    lines = (GOLDEN / "schema_1" / "observations_20260117.jsonl").read_text("utf-8").splitlines()
    recorded = {record["id"]: record for record in map(json.loads, lines)}
    again = [strict(observation_line(o)) for trace in read_traces(GOLDEN / "schema_1") for o in trace.observations]

    assert {record["id"]: record for record in again} == recorded


def test_empty_values_that_were_recorded_are_kept():
    """
    An output of ``[]``, ``0`` or ``""`` is not the same as a missing one.
    """
    for value in ([], {}, 0, "", False):
        (trace,) = traces_of([observation("a", output=value)])

        assert strict(encoded(trace))["observations"][0]["output"] == value


def test_a_running_trace_has_the_status_null():
    """
    The key is present, so that a missing status cannot be mistaken for it.
    """
    assembly = Assembly("t1")
    assembly.set_open([(True, head("root"))])
    trace = strict(encoded(assembly.trace()))

    assert (trace["status"], trace["observations"][0]["status"]) == (None, None)
    assert "end_time" not in trace["observations"][0]


def test_a_trace_without_observations_has_an_empty_list():
    """
    The line of a trace alone is a complete object.
    """
    (trace,) = traces_of([trace_line()])

    assert strict(encoded(trace))["observations"] == []


def test_a_deep_tree_is_one_object():
    """
    The object is joined from pieces; the brackets are counted here, since decoders have depth limits.
    """
    (trace,) = traces_of([observation(f"o{n}", f"o{n - 1}" if n else None, seq=n) for n in range(5000)])
    text = encoded(trace)

    assert text.count('"children":[') == 5000
    assert text.endswith("]}" * 5000 + "]}")
    assert text.count("{") == text.count("}")


def test_several_branches_close_where_they_should():
    """
    Returning several levels at once closes as many objects.
    """
    shape = {"a": None, "b": "a", "c": "b", "d": "a", "e": None}
    (trace,) = traces_of([observation(id, parent, seq=n) for n, (id, parent) in enumerate(shape.items())])

    assert names(strict(encoded(trace))["observations"]) == {"a": {"b": {"c": {}}, "d": {}}, "e": {}}


def names(observations):
    return {one["name"]: names(one["children"]) for one in observations}


def test_numbers_that_json_cannot_represent_become_null():
    """
    NaN and the infinities become null, also beside a number beyond 64 bits.
    """
    assert strict(encode([math.nan, math.inf])) == [None, None]
    assert strict(encode({"a": [2**70, math.nan, -math.inf, 1.5]})) == {"a": [2**70, None, None, 1.5]}


@pytest.mark.parametrize("depth", [200, 900, 5_000, 50_000])
def test_a_value_of_any_depth_is_encoded(depth):
    """
    Lists and objects nested deeper than the encoders of orjson and of the standard library go.
    """
    value: object = math.nan
    for level in range(depth):
        value = {"a": value} if level % 2 else [value, "é"]

    assert encode(value).count("[") == encode(value).count(',"é"]') == depth // 2
    assert encode(value).count('{"a":') == depth - depth // 2 - depth % 2
    assert encode(value).count("null") == 1


def test_a_circular_value_is_encoded_up_to_the_circle():
    """
    A value built by hand may contain itself, or the same object twice.
    """
    circular: dict[str, object] = {"twice": [[1]] * 2}
    circular["self"] = circular

    assert encode(circular) == '{"twice":[[1],[1]],"self":"<circular>"}'


@pytest.mark.parametrize("beside", [1, 2**70], ids=["by orjson", "in pieces"])
def test_characters_that_act_on_a_terminal_are_escaped(beside):
    """
    C0 and C1 controls, line separators and marks that set the direction of text, in keys and in values.
    """
    active = "\x1b[2J\x7f\x85\x9b31m\u061c\u200e\u202e\u2028\u2066\u2069\ufeff\ufff9"
    text = encode({active: [active, beside], "plain": "é 😀 👩‍👩‍👧"})

    assert [character for character in text if character in active and not character.isprintable()] == []
    assert json.loads(text) == {active: [active, beside], "plain": "é 😀 👩‍👩‍👧"}


@given(st.text())
def test_any_text_survives_escaping(text):
    """
    Both forms of the output decode to the same text, the one for outputs without Unicode included.
    """
    assert json.loads(encode([text])) == [text]
    assert json.loads(in_ascii(encode([text]))) == [text]
    assert in_ascii(encode([text])).isascii()
