"""
Values that a database, its text format, JSON or a calendar treats specially: in every field, on every store.
"""

from __future__ import annotations

import json
import math
import re

import orjson
import pytest
from serving_aids import lines_of_trace

from fluxloop.collector.records import RowMaker
from fluxloop.collector.stores.contract import Deletion, Totals
from fluxloop.reading.filters import CollectorFilter
from fluxloop.storage.decoding import decode

TEXTS = (
    "tab\there",
    "\\N",
    "back\\slash\\t",
    "\\.",
    "new\nline",
    "\r",
    'quotes"\'"',
    '{a,"b",NULL}',
    "\x01\x1f\x7f\x85\u2028",
    "Ünïcode 😀",
    "half of a pair \ud83d",
    "n\0ul",
    "100% _ $1 %s {0} ?",
    " ",
    "NULL",
)
"""Each is valid where a text is."""


def line_of(record: dict) -> bytes:
    """Return *record* as JSON; a lone surrogate is escaped, as JavaScript writes it."""
    return json.dumps(record).encode()


def observation(number, **fields):
    record = orjson.loads(lines_of_trace("unused")[0]) | {"id": f"o{number}", "trace_id": f"t{number}"}
    return record | {"parent_id": None} | fields


def trace(number, **fields):
    return orjson.loads(lines_of_trace(f"t{number}")[-1]) | fields


def stored(text):
    """Return *text* as stores have it: each character that is none is replaced."""
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text)


@pytest.mark.parametrize(
    "field", ["id", "trace_id", "parent_id", "name", "model", "input", "output", "error", "provider"]
)
def test_any_text_is_kept_in_each_field_of_an_observation(store, write, field):
    """
    Each record comes back with its values, alone and after a second copy of it.
    """
    records = [observation(number, **{field: text}) for number, text in enumerate(TEXTS)]

    lines = [line_of(record) for record in records]
    assert write(lines).accepted == len(TEXTS)
    assert write(lines).duplicates == len(TEXTS)
    rows = store.traces(CollectorFilter(), limit=100).rows
    assert len(rows) == len(TEXTS)
    kept = [decode(line) for row in rows for line in store.records(row["trace_id"])]
    assert sorted(stored(record[field]) for record in kept) == sorted(map(stored, TEXTS))


@pytest.mark.parametrize(
    ("field", "condition"),
    [("name", "name"), ("session_id", "session"), ("user_id", "user"), ("tags", "tag"), ("metadata", "metadata")],
)
def test_any_text_of_a_trace_is_found_by_its_filter(store, write, field, condition):
    """
    A filter compares a text with the text, and never with a pattern, a statement or a format.
    """
    made = {"tags": lambda text: [text, "other"], "metadata": lambda text: {"key": text}}.get(field, lambda text: text)
    write([line_of(trace(number, **{field: made(text)})) for number, text in enumerate(TEXTS)])

    for number, text in enumerate(TEXTS):
        wanted = f"key={stored(text)}" if field == "metadata" else stored(text)
        found = store.traces(CollectorFilter(**{condition: (wanted,)}), limit=100).rows
        assert [row["trace_id"] for row in found] == [f"t{number}"], text


NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-0.0",
    "1e308",
    "9" * 30,
    "-9223372036854775809",
    "true",
    '"7"',
    "[]",
)


@pytest.mark.parametrize("field", ["duration_ms", "seq", "usage", "start_time", "end_time", "status", "metadata", "id"])
def test_no_value_of_a_field_fails_a_store(store, write, field):
    """
    A record whose value makes no sense is refused with a reason, or kept; totals and lists stay finite JSON.
    """
    refused = 0
    for number, value in enumerate(NUMBERS):
        value = f'{{"input_tokens": {value}, "output_tokens": {value}}}' if field == "usage" else value
        whole = line_of(observation(number, **{field: "?"}))
        line = whole.replace(b'"%s": "?"' % field.encode(), b'"%s": %s' % (field.encode(), value.encode()))
        batch = RowMaker().batch([line])
        refused += len(batch.rejected)
        store.write(batch.rows)
        assert len(batch.rows) + len(batch.rejected) == 1

    page = store.traces(CollectorFilter(), limit=100)
    assert len(page.rows) == len(NUMBERS) - refused
    assert refused < len(NUMBERS)
    steps = store.totals(Totals(by="name"))
    assert all(math.isfinite(number) for row in page.rows for number in row.values() if isinstance(number, float))
    assert orjson.dumps([page.rows, list(steps)], default=str, option=orjson.OPT_NON_STR_KEYS)


@pytest.mark.parametrize("field", ["id", "trace_id"])
@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_number_that_is_not_json_is_no_id(field, value):
    """
    It is kept as null, so that the record would be kept under an id that it does not have when it is read.
    """
    line = line_of(observation(1, **{field: "?"})).replace(b'"?"', value)

    assert [rejected["line"] for rejected in RowMaker().batch([line]).rejected] == [1]


TIMES = (
    "1969-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-14:00",
    "10000-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-06-30T23:59:60Z",
    "1970-01-01T00:00:00Z",
    "2026-11-28",
    "now",
    "",
)


def test_times_far_away_are_kept_listed_and_deleted(store, write):
    """
    Before 1970, after 9999, days that do not exist: each trace is listed in pages, and can be deleted.
    """
    for number, time in enumerate(TIMES):
        write([line_of(observation(number, start_time=time, end_time=time)), line_of(trace(number, start_time=time))])

    seen, cursor = [], None
    while True:
        page = store.traces(CollectorFilter(), limit=5, cursor=cursor)
        seen += [row["trace_id"] for row in page.rows]
        if (cursor := page.next) is None:
            break
    assert sorted(seen) == sorted(f"t{number}" for number in range(len(TIMES)))
    assert [len(list(store.records(trace_id))) for trace_id in seen] == [2] * len(TIMES)
    assert sum(store.delete(Deletion(trace_id=trace_id)) for trace_id in seen) == len(TIMES)
    assert store.counts()["observations"] == 0


@pytest.mark.parametrize("field", ["id", "trace_id", "parent_id"])
def test_a_long_id_is_refused_and_a_long_parent_is_not_lost(store, write, field):
    """
    An id of 10,000 characters is a reason to refuse the line, and only this one.
    """
    batch = RowMaker().batch([line_of(observation(1, **{field: "x" * 10_000})), line_of(observation(2))])

    assert store.write(batch.rows).accepted == len(batch.rows)
    assert len(batch.rows) == (2 if field == "parent_id" else 1)
    assert store.trace("t2") is not None
