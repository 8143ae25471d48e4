"""
Rows of records in any state: hostile values are rejected or kept, and every store can hold and return what is kept.
"""

from __future__ import annotations

import json
from datetime import datetime
from random import Random

import orjson
import pytest
from serving_aids import START, lines_of_trace

from fluxloop.collector.record_rows import Refusal, iso_of, time_us
from fluxloop.collector.records import MAX_DEPTH, RowMaker, lines_of
from fluxloop.collector.stores.contract import Deletion, Totals
from fluxloop.collector.stores.totals import as_object
from fluxloop.collector.typed_records import typed_reader
from fluxloop.llm.prices import Prices
from fluxloop.reading.assembly import traces_of
from fluxloop.reading.filters import CollectorFilter

VALUES = [None, True, 0, -1, 2**63, 2**70, 1e308, "", "\0", "a" * 2000, [], {}, [[]], {"a": {"b": 1}}, "2026-01-01"]
VALUES += ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00", "ERROR", "GENERATION", "\ud800"]
VALUES += [float("inf"), float("nan")]
MORE = ["parent_observation_id", "record", "usage", "metadata", "tags", "schema", "prompt_tokens", "level", "value"]


def mutated(random, number):
    """A record with a few fields replaced by other values, or removed."""
    record = json.loads(random.choice(lines_of_trace(f"t{number % 7}", session_id="s")))
    for _ in range(random.randint(1, 5)):
        name = random.choice([*record, *MORE])
        if random.random() < 0.2:
            record.pop(name, None)
        else:
            record[name] = random.choice(VALUES)
    return json.dumps(record).encode()


def test_hostile_values_break_neither_rows_nor_stores(store):
    """
    Random values in random fields: each line is rejected with a reason, or listed, read back, summed up and deleted.
    """
    seed = Random().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    random = Random(seed)
    batch = RowMaker().batch(mutated(random, number) for number in range(400))
    for start in range(0, len(batch.rows), 40):
        store.write(batch.rows[start : start + 40])
    page = store.traces(CollectorFilter(), limit=1000)

    assert all(rejected["reason"] for rejected in batch.rejected)
    assert {row.trace_id for row in batch.rows if hasattr(row, "duration_ms")} == {r["trace_id"] for r in page.rows}
    for row in page.rows:
        assert orjson.dumps(row)
        assert all(json.loads(line) for line in store.records(row["trace_id"]))
        assert store.trace(row["trace_id"]) == row
    assert orjson.dumps([as_object(step, "name") for step in store.totals(Totals(by="name"))])
    assert store.sessions(CollectorFilter(), limit=100).rows
    for row in page.rows:
        assert store.delete(Deletion(trace_id=row["trace_id"])) == 1
    assert store.totals(Totals()) == []


@pytest.mark.parametrize("depth", [10, MAX_DEPTH - 5, MAX_DEPTH + 5, 1_000, 100_000])
def test_the_depth_of_a_record_is_limited(depth):
    """
    What the recorder writes is kept; deeper nesting is refused without a crash.
    """
    line = b'{"id":"o","trace_id":"t","parent_id":null,"type":"SPAN","name":"n","start_time":"x","input":%b%b}'
    line = line % (b"[" * depth, b"]" * depth)

    if depth < MAX_DEPTH:
        assert RowMaker().row(line).line == line
    else:
        with pytest.raises(Refusal, match="nested"):
            RowMaker().row(line)


def test_lines_of_the_recorder_and_of_others_mean_the_same():
    """
    The quick way for our own format and the way for all others lead to the same rows.
    """
    ours = [RowMaker().row(line) for line in lines_of_trace("a", session_id="s", tags=["t"], metadata={"k": 1})]
    others = []
    for line in lines_of_trace("a", session_id="s", tags=["t"], metadata={"k": 1}):
        record = orjson.loads(line)
        record["duration_ms"] = int(record["duration_ms"])
        record["start_time"] = record["start_time"].replace("Z", "+00:00")
        if "type" in record:
            record["type"] = record["type"].lower()
        others.append(RowMaker().row(orjson.dumps(record)))

    assert [row._replace(line=b"") for row in ours] == [row._replace(line=b"") for row in others]


UNUSUAL = {
    "a text with escapes": b'"name":"a\\u0041\\n\\t\\"b"',
    "a NUL": b'"name":"a\\u0000b"',
    "a lone surrogate in a value": b'"input":{"q":"\\ud800"}',
    "invalid UTF-8 in a value": b'"input":"\xff"',
    "invalid UTF-8 in the name": b'"name":"\xff"',
    "UTF-8": '"name":"Zoë 🎈","input":"日本"'.encode(),
    "NaN": b'"input":NaN',
    "a long integer": b'"input":123456789012345678901234567890',
    "a key twice": b'"name":"a","name":"b","id":"second"',
    "an empty id": b'"id":""',
    "a long id": b'"id":"%b"' % (b"x" * 600),
    "a long name": b'"name":"%b"' % (b"x" * 2_000),
    "a long model": b'"model":"%b"' % (b"x" * 2_000),
    "an empty model": b'"model":""',
    "an integer as duration": b'"duration_ms":5',
    "a large duration": b'"duration_ms":1e300',
    "another level": b'"level":"LOUD"',
    "no level": b'"level":null',
    "no status": b'"status":null,"end_time":null,"duration_ms":null',
    "another status": b'"status":"fine"',
    "a lower-case type": b'"type":"tool"',
    "a time with an offset": b'"start_time":"2026-11-28T13:00:00+01:00"',
    "a time without a zone": b'"start_time":"2026-11-28T13:00:00"',
    "not a time": b'"start_time":"soon"',
    "tokens as floats": b'"type":"GENERATION","usage":{"input_tokens":3.0,"output_tokens":1.5}',
    "negative tokens": b'"type":"GENERATION","usage":{"input_tokens":-3,"output_tokens":1}',
    "many tokens": b'"type":"GENERATION","usage":{"input_tokens":1000000000,"output_tokens":1000000000}',
    "too many tokens": b'"type":"GENERATION","usage":{"input_tokens":1000000001,"output_tokens":9007199254740993}',
    "no tokens": b'"type":"GENERATION","usage":{}',
    "tokens without a sum": b'"type":"GENERATION","usage":{"input_tokens":1000,"output_tokens":50}',
    "cached tokens": b'"type":"GENERATION","usage":{"input_tokens":1000,"output_tokens":50,"cache_read_tokens":900}',
    "a service tier": b'"type":"GENERATION","metadata":{"service_tier":"flex"},"usage":{"input_tokens":1000}',
    "a tier in the output": b'"type":"GENERATION","output":{"service_tier":"flex"},"usage":{"input_tokens":1000}',
    "metadata of another type": b'"type":"GENERATION","metadata":[1],"usage":{"input_tokens":1000}',
    "an output of text": b'"type":"GENERATION","output":"service_tier","usage":{"input_tokens":1000}',
    "another record": b'"record":"score","name":"n","value":1',
    "the parent of FluxLoop 0.1": b'"parent_observation_id":"other"',
    "no end": b'"input":{',
    "more behind it": b'"input":1}{',
    "a control character": b'"input":"\x01"',
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_msgspec_leads_to_the_same_rows(name):
    """
    The quick way for the recorder's observations, which skips values, and the way for all records: rows and reasons.
    """
    pytest.importorskip("msgspec")
    line = b'{"id":"o","trace_id":"t","parent_id":null,"type":"TOOL","name":"n","start_time":"2026-11-28T12:00:00Z",'
    line += b'"end_time":"2026-11-28T12:00:01Z","duration_ms":1.5,"status":"success","level":"INFO","model":"gpt-4o",'
    line += UNUSUAL[name] + b"}"

    assert_read_alike([line])


def test_msgspec_leads_to_the_same_rows_of_random_records():
    """
    Values of any type in every field: a row, if there is one, is as without msgspec; what the recorder writes has one.
    """
    pytest.importorskip("msgspec")
    seed = Random().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    random = Random(seed)
    read = typed_reader(None)

    assert_read_alike([mutated(random, number).replace(b'": ', b'":') for number in range(3_000)])
    assert [read(line) is not None for line in lines_of_trace("a", session_id="s")] == [True, True, True, False]


PRICES = {"gpt-4o": {"input": 2.5, "output": 10, "cache_read": 1.25}}


def assert_read_alike(lines):
    """What is read of each of *lines* with msgspec is what `RowMaker` reads without it."""
    typed, untyped = RowMaker(Prices(PRICES)), RowMaker(Prices(PRICES))
    untyped._typed = None
    for line in lines:
        if (row := typed._typed(line)) is not None:
            assert typed.row(line) == row
            assert repr(untyped.row(line)) == repr(row)


NOON, BEFORE_END = "2026-11-30T12:00:00.000000Z", "2026-11-30T12:59:59.900000Z"


@pytest.mark.parametrize(
    ("start", "of_observation", "of_trace"),
    [
        ("2026-11-30T12:00:00z", NOON, NOON),
        ("2026-11-30t12:00:00Z", NOON, NOON),
        ("1796040000", NOON, NOON),
        ("1970-01-01T00:00:00Z", None, None),
        ("2026-11-30T24:00:00Z", BEFORE_END, None),
        ("2026-11-30T12:00:00+25:00", BEFORE_END, None),
        ("now", BEFORE_END, None),
    ],
)
@pytest.mark.parametrize("has_msgspec", [True, False])
def test_a_start_in_another_spelling_is_what_readers_take_it_for(
    monkeypatch, start, of_observation, of_trace, has_msgspec
):
    """
    A trace whose start was not understood would be as old as can be, and the first that retention deletes.
    """
    if not has_msgspec:
        monkeypatch.setattr("fluxloop.collector.records.typed_reader", lambda price: None)
    observation, *_, trace = (
        orjson.loads(line) | {"start_time": start, "end_time": "2026-11-30T13:00:00Z"} for line in lines_of_trace("a")
    )

    rows = RowMaker().batch(map(orjson.dumps, (observation, trace))).rows
    assert [iso_of(row.start_us) for row in rows] == [of_observation, of_trace]
    (read,) = traces_of([observation])
    assert read.observations[0].start_time == datetime.fromisoformat(of_observation or start)


def test_times_are_microseconds_and_back():
    """
    With and without a time zone; text that is not a time becomes 0, and 0 becomes None.
    """
    assert iso_of(time_us(START.isoformat())) == "2026-11-28T12:00:00.000000Z"
    assert time_us("2026-11-28T13:00:00+01:00") == time_us("2026-11-28T12:00:00") == time_us("2026-11-28T12:00:00Z")
    assert [time_us(value) for value in ("soon", None, 5, [], "")] == [0] * 5
    assert iso_of(0) is None
    assert [*lines_of(b"a\n\nb")] == [b"a", b"", b"b"]
