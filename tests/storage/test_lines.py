"""
`records_in`: whole records are found on a damaged line, and only those.
"""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading_aids import head, line, observation, trace_line

from fluxloop.storage import decoding
from fluxloop.storage.decoding import NOT_A_RECORD, TORN, decode, records_in

RECORD = observation("a", input={"q": 1})

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)  # beyond these orjson reads a float, and writes nothing
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.builds(
    lambda id, value, is_trace: trace_line(f"t{id}", output=value) if is_trace else observation(f"o{id}", output=value),
    st.integers(0, 99),
    json_values,
    st.booleans(),
)


def test_a_whole_line_is_one_record():
    """
    A line as written yields its record, from the first byte on.
    """
    assert list(records_in(line(RECORD))) == [(0, len(line(RECORD)), RECORD)]


@pytest.mark.parametrize("blank", [b"", b"\n", b"  \r\n", b"\0" * 9 + b"\n", b"\xef\xbb\xbf\n"])
def test_a_blank_line_yields_nothing(blank):
    """
    White space, a byte order mark, and the NULs that a power cut leaves are neither records nor damage.
    """
    assert list(records_in(blank)) == []


def test_a_byte_order_mark_before_a_record_is_skipped():
    """
    An editor that put a mark at the beginning of the file costs nothing.
    """
    assert [found[::2] for found in records_in(b"\xef\xbb\xbf" + line(RECORD))] == [(3, RECORD)]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (b"[1]\n", NOT_A_RECORD),
        (b'{"id": "a"}\n', NOT_A_RECORD),
        (b'{"id": "a", "type": "tool", "name": "no trace"}\n', NOT_A_RECORD),
        (b'{"trace_id": "t", "iteration": 3}\n', NOT_A_RECORD),
        (b"Traceback (most recent call last):\n", TORN),
        (b"\xff\xfe\n", TORN),
        (b"[" * 100_000 + b"\n", TORN),
    ],
)
def test_a_foreign_line_yields_its_reason(other, reason):
    """
    Other JSON, text, bytes and deep brackets yield one reason each, and no record.
    """
    assert list(records_in(other)) == [(0, len(other), reason)]


@given(records, records, st.data())
def test_a_record_glued_to_a_torn_one_is_found(torn, whole, data):
    """
    Wherever the first record was cut, the second is found whole, at the byte where it begins.
    """
    text = line(torn)[:-1]
    at = data.draw(st.integers(1, len(text) - 1))
    found = list(records_in(text[:at] + line(whole)))

    assert found == [(0, at, TORN), (at, at + len(line(whole)) - 1, whole)]


@given(st.lists(records, min_size=1, max_size=4))
def test_records_whose_line_ends_were_lost_are_all_found(several):
    """
    Whole records on one line are as many records.
    """
    found = list(records_in(b"".join(line(record)[:-1] for record in several) + b"\n"))

    assert [each.record for each in found] == several


def test_an_object_inside_a_torn_record_is_not_a_record():
    """
    An object inside a torn record that looks like a record is not one, unless the cut is directly after it.
    """
    nested = observation("o1", input=[observation("inner"), observation("inner2")])
    whole = line(nested)

    cuts = [whole[:at] for at in range(1, len(whole) - 1) if not whole[:at].endswith(b"}")]

    assert all([found.record for found in records_in(cut + b"\n")] == [TORN] for cut in cuts)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(junk):
    """
    Reading any bytes ends without an exception.
    """
    assert all(isinstance(found.record, str) for found in records_in(junk.replace(b"{", b"")))


def test_decoding_accepts_what_other_programs_write():
    """
    Bare NaN, bytes outside UTF-8 and lone surrogates become printable values.
    """
    nan, latin, surrogate = (
        decode(b"[NaN]"),
        decode(b'"caf\xe9"'),
        decode(b'{"\\ud800": ["\\udfff", "\\ud83d\\ude00"]}'),
    )

    assert str(nan) == "[nan]"
    assert (latin, surrogate) == ("caf\ufffd", {"\ufffd": ["\ufffd", "😀"]})
    assert json.dumps(surrogate, ensure_ascii=False).encode()


def test_the_beginning_in_a_journal_is_an_observation():
    """
    A record in a journal lacks its end and may have ``trace``; it is an observation.
    """
    assert [found.record for found in records_in(line(head("root")))] == [head("root")]


HOSTILE = {
    "beginnings": b'{"id": "',
    "nested objects": b'{"id":"a","x":',
    "nested lists": b'{"id":"a","x":[',
    "members": b'{"id":"a","b":1,',
    "glued records": line(RECORD)[:-1],
    "torn records": line(RECORD)[:-5],
    "records in torn records": b'{"id":"a","trace_id":"t","input":' + line(RECORD)[:-1],
    "closed objects": b'{"id":"a"},',
    "strings": b'{"trace_id":"aaaaaaa{"id":"bbbbbb',
    "escapes": b'{"id":"\\',
    "control characters": b'{"id":"a","b":"\x01',
    "white space": b'{"id":"a"' + b" " * 50,
    "wrong numbers": b'{"id":"a","trace_id":"b","type":1.1.1}',
    "surrogates": b'{"id":"a","trace_id":"\\ud800","type":1}',
    "brackets": b"[",
    "zeros": b"\0",
}
"""Pieces that make a line without an end, each a reason to search the rest of the line again."""


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_the_work_is_proportional_to_the_length_of_the_line(monkeypatch, piece):
    """
    Twice as many pieces on a line take twice the work: bytes searched, matched and decoded.
    """
    small, large = (work(monkeypatch, piece * (size // len(piece))) for size in (20_000, 40_000))

    assert large <= 2.2 * small + 1000
    assert large <= 30 * 40_000


def work(monkeypatch: pytest.MonkeyPatch, text: bytes) -> int:
    """Count the bytes that the patterns and the decoder go over to find the records of *text*, and the calls."""
    counter = Counter()
    with monkeypatch.context() as patch:
        for name, pattern in vars(decoding).copy().items():
            if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, bytes):
                patch.setattr(decoding, name, CountedPattern(pattern, counter))
        patch.setattr(decoding, "decode", lambda piece: counter.update(bytes=len(piece)) or decode(piece))
        list(records_in(text))
    return counter.total()


class CountedPattern:
    """A pattern that counts its calls and the bytes that each goes over."""

    def __init__(self, pattern: re.Pattern[bytes], counter: Counter[str]) -> None:
        self.pattern, self.counter = pattern, counter

    def match(self, text: bytes, at: int) -> re.Match[bytes] | None:
        return self._counted(self.pattern.match(text, at), at, at)

    def search(self, text: bytes, at: int) -> re.Match[bytes] | None:
        return self._counted(self.pattern.search(text, at), at, len(text))

    def _counted(self, found: re.Match[bytes] | None, start: int, end: int) -> re.Match[bytes] | None:
        self.counter.update(calls=1, bytes=(found.end() if found else end) - start)
        return found
