"""Lines of a file that has been through something, back into records."""

from __future__ import annotations

import pytest

from fluxloop.storage.decoding import decoded

WHOLE = b'{"id":"b","trace_id":"t","input":{"id":"x"}}'


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_whole_line_is_its_record(end: bytes) -> None:
    """
    A record is read whatever ends its line, be it the end of the file.
    """
    assert decoded(WHOLE + end) == [{"id": "b", "trace_id": "t", "input": {"id": "x"}}]


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_record_behind_a_torn_one_is_found_wherever_that_was_cut(cut: int) -> None:
    """
    A process was killed within a line, and another wrote its record right behind the piece.
    """
    assert decoded(WHOLE[:cut] + b'{"id":"c","trace_id":"u"}\n') == [{"id": "c", "trace_id": "u"}]


def test_two_records_between_which_only_the_newline_was_lost_are_both_found() -> None:
    """
    The one cut that spoils nothing.
    """
    assert [record["id"] for record in decoded(WHOLE + b'{"id":"c","trace_id":"u"}\n')] == ["b", "c"]


def test_a_trace_behind_a_torn_one_is_found() -> None:
    """
    The same for the lines of traces, which begin with their ``trace_id``.
    """
    assert decoded(b'{"trace_id":"a","na{"trace_id":"b","name":"n"}') == [{"trace_id": "b", "name": "n"}]


@pytest.mark.parametrize("line", [b"", b"\n", b"{", WHOLE[:-1], WHOLE[:-2], b"null", b"[]", b"1", b"\xff", b"NaN"])
def test_what_is_no_record_is_left_out(line: bytes) -> None:
    """
    Blank, torn and foreign lines are no error; an object of the user's inside a torn record is no record.
    """
    assert decoded(line) == []
