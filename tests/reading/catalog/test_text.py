"""
A search for a text finds what decoding every line would find.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from reading_aids import line, observation, trace_line

from fluxloop.reading.catalog import Catalog, text
from fluxloop.reading.filters import TraceFilter
from fluxloop.storage.decoding import kind_of, records_in, trace_id_of

WORDS = [
    "Lyon",
    "lyon ",
    "LYON",
    "Königsberg",
    "KÖNIGSBERG",
    "ß",
    "SS",
    "\u212aelvin",
    "kelvin",
    "a\nb",
    '"',
    "\\",
    "\t",
]
WORDS += ["trace_id", "success", "search", "x" * 300, "answer", "\u017fea", "\U0001f600", "é", "e\u0301", "t1", "null"]
QUERIES = [*WORDS, "yon", "on K", "ON\\n", "a\\nb", "Lyon Kelvin", '{"city":"', "no such text", "o", "k", "s", "\u00e4"]


def expected(folder: Path, wanted: str) -> set[str]:
    """The ids of the traces with *wanted*, found by decoding every line."""
    found = set()
    for path in folder.glob("*.jsonl"):
        for each in path.read_bytes().splitlines(keepends=True):
            for part in records_in(each):
                record = part.record
                if not isinstance(record, str) and kind_of(record) != "score" and text.contains(record, wanted):
                    found.add(trace_id_of(record))
    return found


def random_line(rng: random.Random) -> tuple[str, bytes]:
    """The kind of a file, and a line for it: a record, a damaged one, two on one line, or something else."""
    trace = f"{rng.choice(['', '0b8f1c2d-3e4f-8a5b-'])}t{rng.randint(1, 12)}"
    words = " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))
    value = rng.choice(
        [words, {"city": words}, [1, {"deep": [words]}], {words: 1}, {"trace_id": "t1", "a": words}, None]
    )
    field = rng.choice(["input", "output", "error", "name", "metadata", "input"])
    record = observation(rng.choice(["o1", "o2", trace]), trace=trace, **{field: value})
    kind = rng.choice(["observations"] * 4 + ["traces"])
    if kind == "traces":
        record = trace_line(trace, **{field: value if field != "name" else words})
    if rng.random() < 0.1:
        record = {"id": "s1", "trace_id": trace, "record": "score", "name": words, "value": 1}
    whole = line(record)
    if rng.random() < 0.3:
        whole = json.dumps(record).encode() + b"\n"  # with spaces, and escapes
    if rng.random() < 0.1:
        whole = whole[: rng.randrange(1, len(whole))] + rng.choice([b"", b"\n"])
    return kind, whole


@pytest.mark.parametrize("search", ["hyperscan", "frequent", "bytes"])
@pytest.mark.parametrize("block", [7, 300, 1 << 18])
@pytest.mark.parametrize("seed", range(3))
def test_a_search_finds_what_decoding_every_line_finds(tmp_path, monkeypatch, seed, block, search):
    """
    Texts of several words, with escapes, in any case and encoding, in lines of any length that may be damaged.
    """
    if search == "bytes":
        monkeypatch.setitem(sys.modules, "hyperscan", None)
    if search == "frequent":
        monkeypatch.setattr(text, "MOST_OCCURRENCES", 1)
    monkeypatch.setattr(text, "_BLOCK_BYTES", block)
    rng = random.Random(seed)
    for _ in range(120):
        kind, content = random_line(rng)
        with (tmp_path / f"{kind}_2026011{rng.randint(1, 3)}.jsonl").open("ab") as file:
            file.write(content)

    with Catalog.of(tmp_path) as catalog:
        for wanted in QUERIES:
            found = {row.trace_id for row in catalog.rows(TraceFilter.of(text=wanted))}
            assert found == expected(tmp_path, wanted.casefold()), wanted


def test_when_all_traces_of_a_day_are_found_its_observations_are_not_searched(tmp_path, monkeypatch):
    """
    A text in the line of every trace needs no search of the larger file.
    """
    searched = []
    search = text._search
    monkeypatch.setattr(text, "_search", lambda file, *rest: (searched.append(file.path.name), search(file, *rest))[1])
    for day, inputs in (("20260117", ["Lyon", "lyon"]), ("20260118", ["Lyon", "Nice"])):
        for number, value in enumerate(inputs):
            trace = f"{day}-{number}"
            with (tmp_path / f"traces_{day}.jsonl").open("ab") as file:
                file.write(line(trace_line(trace, input=value)))
            with (tmp_path / f"observations_{day}.jsonl").open("ab") as file:
                file.write(line(observation(f"o-{trace}", trace=trace, output="to Lyon")))

    with Catalog.of(tmp_path) as catalog:
        assert catalog.count(TraceFilter.of(text="Lyon")) == 4
    assert searched == ["traces_20260117.jsonl", "traces_20260118.jsonl", "observations_20260118.jsonl"]


def test_a_text_is_searched_again_for_other_filters(tmp_path):
    """
    A search leaves out the days that the other filters exclude, and so has no answer for filters that accept them.
    """
    for day, user in (("17", "anna"), ("18", "bert")):
        start = f"2026-01-{day}T10:00:00.000000Z"
        with (tmp_path / f"traces_202601{day}.jsonl").open("ab") as file:
            file.write(line(trace_line(user, input="Lyon", user_id=user, start_time=start)))

    with Catalog.of(tmp_path) as catalog:
        for values, found in (({"user": "anna"}, ["anna"]), ({"user": "bert"}, ["bert"]), ({}, ["bert", "anna"])):
            wanted = TraceFilter.of(text="lyon", **values)
            assert [row.trace_id for row in catalog.rows(wanted)] == found
            assert catalog.count(wanted) == len(found)


def test_a_text_in_one_day_s_file_is_counted_there(tmp_path):
    """
    The index has the traces of the other days, too.
    """
    for day in ("20260117", "20260118"):
        with (tmp_path / f"traces_{day}.jsonl").open("ab") as file:
            file.write(line(trace_line(day, input="Lyon")))

    with Catalog.of(tmp_path / "traces_20260117.jsonl") as catalog:
        assert catalog.count(TraceFilter.of(text="lyon")) == 1


def test_records_behind_the_end_of_the_index_are_not_searched(tmp_path):
    """
    A trace that is added during a search is in none of its answers, and does not take the place of one that is missing.
    """
    path = tmp_path / "traces_20260117.jsonl"
    path.write_bytes(line(trace_line("a", input="Nice")) + line(trace_line("b", input="Lyon")))
    observations = tmp_path / "observations_20260117.jsonl"
    observations.write_bytes(line(observation("o", trace="a", input="Lyon")))
    with Catalog.of(tmp_path) as catalog:
        with path.open("ab") as file:
            file.write(line(trace_line("c", input="Lyon")))

        assert sorted(row.trace_id for row in catalog.rows(TraceFilter.of(text="lyon"))) == ["a", "b"]


def test_a_file_that_was_truncated_is_searched_as_far_as_it_goes(tmp_path, monkeypatch):
    """
    A search ends where a file now ends, also in the middle of a line.
    """
    monkeypatch.setattr(text, "_BLOCK_BYTES", 64)
    path = tmp_path / "traces_20260117.jsonl"
    first = line(trace_line("a", input="Lyon"))
    path.write_bytes(first + line(trace_line("b", input="Lyon")))
    with Catalog.of(tmp_path) as catalog:
        path.write_bytes(first + b'{"trace_id":"b","input":"Lyo')

        assert [row.trace_id for row in catalog.rows(TraceFilter.of(text="lyon"))] == ["a"]


def test_a_line_that_is_too_long_to_decode_is_passed_over(tmp_path, monkeypatch):
    """
    The lines on both sides of it are searched.
    """
    for module in ("source", "catalog.new_records", "catalog.text"):
        monkeypatch.setattr(f"fluxloop.reading.{module}.LONGEST_LINE_BYTES", 512)
    monkeypatch.setattr(text, "_BLOCK_BYTES", 64)
    path = tmp_path / "traces_20260117.jsonl"
    long = line(trace_line("long", input="Lyon " * 300))
    path.write_bytes(line(trace_line("a", input="Lyon")) + long + line(trace_line("b", input="Lyon")) + long)

    with Catalog.of(tmp_path) as catalog:
        assert sorted(row.trace_id for row in catalog.rows(TraceFilter.of(text="lyon"))) == ["a", "b"]


def test_a_long_text_is_found(tmp_path):
    """
    Also one that is too long for Hyperscan.
    """
    words = "leaves from the station at noon. " * 3_000
    (tmp_path / "traces_20260117.jsonl").write_bytes(line(trace_line("a", input=f"It {words}")) + line(trace_line("b")))

    with Catalog.of(tmp_path) as catalog:
        assert catalog.count(TraceFilter.of(text=words)) == 1
