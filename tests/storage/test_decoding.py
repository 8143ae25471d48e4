"""Lines of damaged files, decoded into records."""

from __future__ import annotations

import pytest

from fluxloop.storage.decoding import decoded

WHOLE = b'{"id":"b","trace_id":"t","input":{"id":"x"}}'


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_whole_line_is_its_record(end: bytes) -> None:
    """
    A record is read whatever ends its line, including the end of the file.
    """
    assert decoded(WHOLE + end) == [{"id": "b", "trace_id": "t", "input": {"id": "x"}}]


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_record_glued_to_a_torn_one_is_found_wherever_that_was_cut(cut: int) -> None:
    """
    A process was killed while it wrote a line, and another appended its record to the same line.
    """
    assert decoded(WHOLE[:cut] + b'{"id":"c","trace_id":"u"}\n') == [{"id": "c", "trace_id": "u"}]


def test_two_records_without_a_newline_between_them_are_both_found() -> None:
    """
    A missing line end costs neither record.
    """
    assert [record["id"] for record in decoded(WHOLE + b'{"id":"c","trace_id":"u"}\n')] == ["b", "c"]


def test_a_trace_glued_to_a_torn_one_is_found() -> None:
    """
    The lines of traces, which begin with their ``trace_id``, are found in the same way.
    """
    assert decoded(b'{"trace_id":"a","na{"trace_id":"b","name":"n"}') == [{"trace_id": "b", "name": "n"}]


@pytest.mark.parametrize("line", [b"", b"\n", b"{", WHOLE[:-1], WHOLE[:-2], b"null", b"[]", b"1", b"\xff", b"NaN"])
def test_other_lines_are_skipped(line: bytes) -> None:
    """
    Blank, torn and foreign lines are skipped without an error; an object inside a torn record is not a record.
    """
    assert decoded(line) == []
