"""
Plain data: values that orjson encodes, and values that it must not be given.
"""

from __future__ import annotations

import collections
import datetime
import subprocess
import sys
import textwrap
import zoneinfo

import orjson
import pytest
from encoding_aids import encode, record

from fluxloop.encoding import cleaning, encoder, plain_json
from fluxloop.encoding.plain_json import OPTIONS, is_large

LIMIT = 1_048_576
MILLION = list(range(1_000_000))


@pytest.mark.parametrize(
    "value",
    [
        MILLION,
        tuple(MILLION),
        {"state": {"numbers": MILLION}},
        [{"role": "user", "content": "hi"}] * 30 + [{"role": "user", "content": [{"data": "x" * LIMIT}]}],
        dict.fromkeys(MILLION),
        {"text": "x" * (LIMIT + 2)},
        [["some text of a cell"] * 10] * 50_000,
        collections.OrderedDict(a=collections.UserList(MILLION).data),
        type("Numbers", (list,), {})(MILLION),
        type("Text", (str,), {})("x" * (LIMIT + 2)),
        {str(number): {"a": [number] * 100} for number in range(10_000)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_large_value_is_recognised_from_a_few_items(value):
    """The size of a value is estimated without encoding it, at any depth, from its last and some other items."""
    assert is_large(value, LIMIT)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.5,
        "x" * LIMIT,
        list(range(100_000)),
        {"messages": [{"role": "user", "content": "x" * 1_000}] * 100},
        [[]] * 100_000,
        object(),
        MILLION.__iter__(),
        set(MILLION),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_within_the_limit_is_not_large(value):
    """A value that fits is encoded at once, and so is one that orjson refuses at its beginning."""
    assert not is_large(value, LIMIT)


def test_estimating_a_size_runs_no_code_of_the_program():
    """A list, dict or str with methods of its own is measured by what it contains."""

    def fail(*_: object) -> None:
        raise AssertionError("called")

    overridden = dict.fromkeys(
        ("__len__", "__iter__", "__getitem__", "values", "items", "__bool__", "__sizeof__"), fail
    )
    values = [type("Own", (base,), overridden)() for base in (list, dict, str, tuple)]

    assert not is_large(values, LIMIT)


def test_a_value_with_very_many_containers_is_measured_in_bounded_time(monkeypatch):
    """The estimate samples a limited number of containers, and circles have no effect on it."""
    sampled = []
    sample = plain_json._sampled
    monkeypatch.setattr(plain_json, "_sampled", lambda value, kind: sampled.append(1) or sample(value, kind))
    circle: list[object] = []
    circle.extend([circle, circle])
    tree: list[object] = []
    for _ in range(12):
        tree = [tree] * 8

    assert not is_large(circle, LIMIT)
    assert is_large(tree, LIMIT) or len(sampled) < 300


def test_an_orjson_that_does_not_limit_the_depth_of_tuples_is_recognised():
    """The installed orjson is tried with a deep tuple; its version number does not matter."""

    def refusing(value: object, default: None, options: int) -> bytes:
        raise TypeError("Recursion limit reached")

    assert plain_json.limits_depth(refusing)
    assert not plain_json.limits_depth(lambda value, default, options: b"")


def test_the_record_is_the_same_if_orjson_gets_no_containers(monkeypatch):
    """With an orjson that does not limit the depth of tuples, every container is cleaned first, to the same JSON."""
    values = [{"a": [1, {"b": 2.5}]}, {"a": (1, (2, {3}))}, (1, "x"), "text", [collections.OrderedDict(a=(1,))]]
    trusted = [record(value) for value in values]
    for module in (cleaning, encoder):
        monkeypatch.setattr(module, "dumps", plain_json.dumps_without_containers)

    assert [record(value) for value in values] == trusted


CRASHERS = """
    from fluxloop.encoding.encoder import Encoder

    class Counts:
        redacted = truncated = 0

    deep = None
    for _ in range(100_000):
        deep = (deep,)
    through_a_tuple = []
    through_a_tuple.append((through_a_tuple,))
    begun_by_a_tuple = []
    begun_by_a_tuple = (begun_by_a_tuple,)
    begun_by_a_tuple[0].append(begun_by_a_tuple)
    through_two = []
    through_two.append(((through_two,),))

    for value in (deep, through_a_tuple, begun_by_a_tuple, through_two):
        print(Encoder().encode(value, Counts()).decode())
"""


def test_values_that_end_other_encoders_are_recorded():
    """Circles through tuples, and tuples 100,000 deep, are recorded with every version of orjson."""
    made = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CRASHERS)], capture_output=True, text=True, check=False
    )

    assert made.returncode == 0, made.stderr
    assert [line.count("<") for line in made.stdout.splitlines()] == [1, 1, 1, 1]


def test_a_list_that_shrinks_while_it_is_recorded_is_harmless():
    """User code that runs while a value is recorded may change that value; process and record survive."""

    class ShrinkingError(Exception):
        def __str__(self) -> str:
            items.clear()
            items.extend([bytes(100)] * 1000)
            return "gone"

    items: list[object] = [ShrinkingError(), *({str(number)} for number in range(10_000))]

    made = record(items)

    assert made[0]["message"] == "gone"
    assert made[-1] == ["9999"]


def test_objects_are_not_plain_data():
    """Unknown objects and dataclasses are refused instead of read, as some are contexts."""
    with pytest.raises(TypeError):
        plain_json.dumps(object(), None, OPTIONS)
    with pytest.raises(TypeError):
        plain_json.dumps(encoder.Limits(), None, OPTIONS)

    assert plain_json.dumps([1], None, OPTIONS) == b"[1]"


class UnfinishedZone(datetime.tzinfo):
    """A time zone without ``utcoffset``; orjson would end the process."""


@pytest.mark.parametrize("moment", [datetime.datetime(2026, 1, 2), datetime.time(3, 4)])
def test_a_date_whose_time_zone_raises_costs_only_itself(moment):
    value = {"at": moment.replace(tzinfo=UnfinishedZone()), "ok": [1, datetime.date(2026, 1, 2)]}

    recorded = orjson.loads(encode(value))

    assert recorded["ok"] == [1, "2026-01-02"]
    assert "unreadable" in recorded["at"] or recorded["at"] == "03:04:00"


ZONES = [
    None,
    datetime.UTC,
    datetime.timezone(datetime.timedelta(hours=-3, minutes=30)),
    zoneinfo.ZoneInfo("Asia/Tokyo"),
]


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_dates_are_encoded_as_orjson_does(zone):
    """Also inside other containers, and where there are too many to look at all of them first."""
    row = {"at": datetime.datetime(2026, 1, 2, 3, 4, 5, 678, zone), "day": datetime.date(2026, 1, 2), "n": 1}
    for value in (row, [row, (row,)], {"rows": [row] * 8_000}, row["at"], datetime.time(3, 4, 5, 6)):
        assert encode(value) == orjson.dumps(value)
