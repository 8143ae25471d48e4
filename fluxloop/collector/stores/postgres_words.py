"""
Search in the PostgreSQL store: which traces may contain a text, by an index of sequences of three characters.

A collector makes the index while it receives nothing. Each sequence is a number of 16 bits in an array, so that the
index needs no extension and is the same in every language; a trace that is found is compared with its records. A trace
that is not indexed yet is always a candidate.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import Any
from zlib import crc32

from .sequences import LONG, indexed_text, sequences_of

MAX_CANDIDATES = 2_000
"""Where more traces than this may contain a text, the newest are compared one after the other instead."""

_MAX_OBSERVATIONS = 2_000
"""Of a trace that is indexed; a larger one is always a candidate."""

_LOCK = 0x464C5844
"""The advisory lock of the collector that indexes."""

_ALWAYS = 32_767
"""The number in the array of a trace that is always a candidate."""


def index_some(connection: Any, limit: int) -> bool:
    """Index the texts of some traces, in the caller's transaction; return whether there may be more."""
    run = connection.execute
    if not run("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()[0]:
        return True
    sql = """DELETE FROM new_words WHERE ctid = ANY(ARRAY(SELECT ctid FROM new_words LIMIT %s FOR UPDATE SKIP LOCKED))
             RETURNING trace"""
    numbers = [number for (number,) in run(sql, (limit,))]
    found: dict[int, set[int]] = {}
    small = []
    sql = "SELECT number, observations, line FROM traces WHERE number = ANY(%s)"
    for number, observations, line in run(sql, (numbers,)):
        found[number] = set() if observations <= _MAX_OBSERVATIONS else {_ALWAYS}
        if observations <= _MAX_OBSERVATIONS:
            small.append(number)
            found[number] |= _numbers_of(line)
    for number, line in run("SELECT trace, line FROM observations WHERE trace = ANY(%s)", (small,)):
        found[number] |= _numbers_of(line)
    # What is written meanwhile is in `new_words` again; what is deleted meanwhile is not inserted.
    sql = "SELECT number FROM traces WHERE number = ANY(%s) ORDER BY trace_id FOR KEY SHARE"
    there = [number for (number,) in run(sql, ([*found],))]
    arrays = [f"{{{','.join(map(str, sorted(found[number])))}}}" for number in there]
    sql = """INSERT INTO words SELECT trace, sequences::smallint[]
             FROM unnest(%s::bigint[], %s::text[]) AS given (trace, sequences)
             ON CONFLICT (trace) DO UPDATE SET sequences = excluded.sequences"""
    run(sql, (there, arrays))
    return bool(numbers)


def rare_candidates(connection: Any, text: str) -> list[int] | None:
    """Return the numbers of all traces that may contain *text*; None if they are many, or if the text is too short."""
    wanted = [_number_of(sequence) for sequence in sequences_of(text)]
    if not wanted:
        return None
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")  # the statistics of arrays are too coarse to choose
        sql = """SELECT trace FROM words WHERE sequences @> %s::smallint[] OR sequences @> %s::smallint[]
                 UNION ALL SELECT trace FROM new_words LIMIT %s"""
        found = connection.execute(sql, (wanted, [_ALWAYS], MAX_CANDIDATES + 1)).fetchall()
    return None if len(found) > MAX_CANDIDATES else [number for (number,) in found]


def _numbers_of(line: str | None) -> set[int]:
    """Return the numbers of all sequences of a record."""
    text = "" if line is None else indexed_text(line.encode())
    sequences = set(map("".join, zip(text, islice(text, 1, None), islice(text, 2, None), strict=False)))
    return {_ALWAYS if sequence == LONG else _number_of(sequence) for sequence in sequences}


@lru_cache(maxsize=65_536)
def _number_of(sequence: str) -> int:
    return crc32(sequence.encode("utf-8", "replace")) % 65_535 - 32_768
