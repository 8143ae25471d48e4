"""
Lines of observations that are read with msgspec mean the same as decoded lines, whatever they contain.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from reading_aids import line, observation, trace_line

from fluxloop.llm.prices import CONTEXT_NAMES
from fluxloop.reading.catalog import new_records, scan
from fluxloop.reading.catalog.facts import TraceFacts
from fluxloop.reading.catalog.store import Store
from fluxloop.reading.source import Source

ROOT = observation("o-root", output={"answer": "yes"}, metadata={"a": [1, {}]})
CALL = observation(
    "o-call",
    "o-root",
    type="GENERATION",
    model="gpt-4o",
    provider="openai",
    usage={"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
    model_parameters={"temperature": 0.5},
)
TRACE = trace_line(
    "t", user_id="anna", input={"q": "x" * 500}, output="yes", error="no", usage={"input_tokens": 7}, tags=["a"]
)

VALUES = [
    *("01", "1.", ".5", "-", "1e5", "+1", "NaN", "-Infinity", "tru", "null", "1 2", "1" * 30, "1" * 400, "-0", "1.0"),
    *('""', '"a" "b"', '"\\t"', '"\t"', '"\\q"', '"\\u12"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"open'),
    *("[1,]", '{"a":1,}', "{1:2}", "[[[", "{}", "[]", '{"a" : [ ] }', '{"a":1 "b":2}', "true", "false", "0"),
    *("[" * depth + "]" * depth for depth in (200, 900, 1100, 3000)),
    *(f'{{"{name}":"flex"}}' for name in sorted(CONTEXT_NAMES)),
    *('{"service_tier":null}', '{"service_tier":3,"speed":""}', '{"sp\\u0065ed":"fast"}', '{"input_tokens":2.0}'),
    *('{"input_tokens":true}', '{"input_tokens":-1,"output_tokens":1e300}', '{"total_tokens":9007199254740993}'),
    *('{"input_tokens":"7"}', '{"reasoning_tokens":18446744073709551617}', '"2026-01-17T14:30:22.123456Z"'),
    *('"2026-01-17T14:30:22.123456+01:00"', '"2026-01-17"', '"ERROR"', '"error"', '"tool"', '"WARNING"', '"o-root"'),
]
"""JSON of many kinds, and what only resembles it."""

NAMES = [*dict.fromkeys([*CALL, *TRACE, "error", "parent_observation_id", "record", "service_tier"])]


def indexed(folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_typed: bool) -> list[str]:
    """What an index in memory has of the records of *folder*, each label written out."""
    monkeypatch.setattr(scan, "LONG_BYTES", 0 if is_typed else float("inf"))
    store = Store.in_memory()
    scan.refresh(store, Source.at(folder))
    columns = "trace_id, traces.*, facts FROM traces JOIN facts USING (number) ORDER BY trace_id"
    found = []
    for trace_id, _number, *row, data in store.connection.execute(f"SELECT {columns}"):
        facts = TraceFacts.decoded(trace_id, data)
        rows = [(own, above, store.labels[code >> 4], code & 15, *rest) for own, above, code, *rest in facts.rows]
        found.append((row, rows, facts.has_line, facts.has_root, facts.start, facts.head, facts.root))
    found.append([state.skipped for state in store.files().values()])
    store.connection.close()
    return [_MADE_ID.sub("made", repr(item)) for item in found]


_MADE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The id of an observation without a valid one."""


def same(folder: Path, lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that both ways to read *lines* agree."""
    folder.mkdir(exist_ok=True)
    for kind in ("observations", "traces"):
        of_kind = [each for each in lines if (b'"parent_id"' in each) == (kind == "observations")]
        (folder / f"{kind}_20260117.jsonl").write_bytes(b"".join(of_kind))

    assert indexed(folder, monkeypatch, is_typed=True) == indexed(folder, monkeypatch, is_typed=False)


def with_value(record: dict[str, Any], name: str, value: str, trace: str) -> bytes:
    """The line of *record* with some JSON, or no JSON, as the value of *name*."""
    text = line({**record, "trace_id": trace, name: "@@"}).decode()
    return text.replace('"@@"', value).encode("utf-8", "surrogatepass")


def test_most_lines_are_read_without_decoding_them_as_a_whole(tmp_path, monkeypatch):
    """
    Of the lines that our writer makes, only those are decoded whose other values matter.
    """
    pytest.importorskip("msgspec")
    decoded: list[bytes] = []
    read = new_records.NewRecords._add_each
    monkeypatch.setattr(
        new_records.NewRecords, "_add_each", lambda *values: (decoded.extend(values[-1]), read(*values))[1]
    )
    tier = line({**CALL, "output": {"service_tier": "flex"}})
    foreign = b'{"parent_id":1}\n'
    same(tmp_path, [line(CALL), line(ROOT), tier, foreign, line(TRACE)], monkeypatch)

    assert decoded == [tier, foreign, line(CALL), line(ROOT), tier, foreign, line(TRACE)]


def test_without_msgspec_lines_are_decoded(tmp_path, monkeypatch):
    """
    Long files are indexed without msgspec, too.
    """
    monkeypatch.setitem(sys.modules, "msgspec", None)
    monkeypatch.delitem(sys.modules, "fluxloop.reading.catalog.typed_lines", raising=False)

    assert new_records.typed_lines() is None
    same(tmp_path, [line(CALL), line(ROOT)], monkeypatch)


@pytest.mark.parametrize("record", [ROOT, CALL, TRACE], ids=["root", "call", "trace"])
@pytest.mark.parametrize("name", NAMES)
def test_any_value_of_any_field_means_the_same(tmp_path, monkeypatch, record, name):
    """
    Unknown, damaged, extreme and foreign values of each field.
    """
    pytest.importorskip("msgspec")
    lines = [with_value(record, name, value, f"t{number:03d}") for number, value in enumerate(VALUES)]
    lines += [with_value(record, name, '"\xff"', "bytes").replace("\xff".encode(), b"\xff")]
    lines += [line({**record, "trace_id": "missing"}).replace(f'"{name}":'.encode(), b'"other":')]
    lines += [line({**record, "trace_id": "twice"})[:-2] + f',"{name}":null}}\n'.encode()]

    same(tmp_path, lines, monkeypatch)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_lines_mean_the_same(tmp_path, monkeypatch, seed):
    """
    Bytes that were changed, removed, inserted and copied, anywhere in lines of any kind.
    """
    pytest.importorskip("msgspec")
    rng = random.Random(seed)
    lines = []
    for number in range(400):
        record = rng.choice([ROOT, CALL, CALL, TRACE])
        damaged = bytearray(line({**record, "trace_id": f"t{number:03d}"}))
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            at, size = rng.randrange(len(damaged)), rng.choice([1, 1, 1, 2, 5, 40])
            other = rng.randrange(len(damaged))
            damaged[at : at + rng.choice([0, size])] = rng.choice(
                [b"", rng.choice(BYTES), damaged[other : other + size]]
            )
        lines.append(bytes(damaged))

    same(tmp_path, lines, monkeypatch)


BYTES = [bytes([byte]) for byte in b'"\\{}[]:,0123456789.eE+-tfnu \t\r\n\x00\x01\x7f\xff\xc3']


def test_the_names_that_a_price_depends_on_are_known():
    """
    The typed records have a field for each.
    """
    pytest.importorskip("msgspec")
    from fluxloop.reading.catalog import typed_lines

    assert {*typed_lines._Context.__struct_fields__} == CONTEXT_NAMES
    assert orjson.loads(line(CALL))["model"] == "gpt-4o"
