"""
Text for the terminal: durations, token counts, times and statuses.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from time import tzset

import pytest
from rich.text import Text

from fluxloop.cli import formatting
from fluxloop.enums import ObservationType, Status
from fluxloop.models import ObservationData, Usage


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (0, "0.00 ms"),
        (0.0123, "0.01 ms"),
        (9.994, "9.99 ms"),
        (9.996, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (1333, "1.33 s"),
        (59_940, "59.9 s"),
        (59_960, "1m 00s"),
        (125_400, "2m 05s"),
        (3_599_900, "1h 00m"),
        (7_530_000, "2h 05m"),
        (90_000_000, "1.0 d"),
        (float("inf"), ""),
        (-1, ""),
        (1e30, "1e+22 d"),
    ],
)
def test_a_duration_has_a_suitable_unit(milliseconds, text):
    """
    About three digits, and no number that rounds up to the next unit.
    """
    assert formatting.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("usage", "column", "sentence"),
    [
        (None, "", ""),
        (Usage(), "", ""),
        (Usage(input_tokens=1204, output_tokens=87, total_tokens=1291), "1,204→87", "1,291 tokens (1,204 in, 87 out)"),
        (Usage(input_tokens=9), "9 in", "9 tokens (9 in)"),
        (Usage(output_tokens=1), "1 out", "1 token (1 out)"),
        (Usage(total_tokens=15), "15", "15 tokens"),
        (
            Usage(input_tokens=5, output_tokens=0, cache_read_tokens=4),
            "5→0",
            "5 tokens (5 in, 4 of them cached, 0 out)",
        ),
    ],
)
def test_tokens_in_a_column_and_in_words(usage, column, sentence):
    """
    A count that was not reported is not shown as zero.
    """
    assert (formatting.tokens_in_out(usage, formatting.UNICODE), formatting.tokens_in_words(usage)) == (
        column,
        sentence,
    )


def test_every_status_has_its_own_sign_and_word():
    """
    Every status has its own sign and word, so color is not needed.
    """
    for signs in (formatting.UNICODE, formatting.ASCII):
        words = {formatting.status_word(status, signs) for status in (*Status, None)}

        assert len(words) == len(Status) + 1
        assert len({text[0] for text in words}) == len(Status) + 1
    assert "".join(formatting.ASCII.statuses.values()).isascii()


def test_every_type_has_a_style():
    """
    Every observation type and status has a style.
    """
    assert set(formatting.TYPE_STYLES) == set(ObservationType)
    assert set(formatting.STATUS_STYLES) == {*Status, None}


def test_a_time_has_its_offset(monkeypatch):
    """
    Times are shown in local time with its offset, or in UTC.
    """
    time = datetime(2026, 1, 17, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    tzset()
    try:
        local, utc = (formatting.time_text(time, utc=utc) for utc in (False, True))
    finally:
        monkeypatch.undo()
        tzset()

    assert (local, utc) == ("2026-01-17 05:00:00 +05:30", "2026-01-16 23:30:00 UTC")
    assert formatting.time_text(None, utc=True) == ""
    assert formatting.time_text(datetime.max.replace(tzinfo=UTC), utc=False)[:4] == "9999"


def test_a_running_observation_lasts_until_now():
    """
    Only a running observation is measured against the clock, and never below zero.
    """
    start = datetime(2026, 1, 17, tzinfo=UTC)
    is_open = ObservationData(type="tool", name="a", start_time=start)
    ended = ObservationData(type="tool", name="a", start_time=start, status=Status.CRASHED)

    assert formatting.elapsed(is_open, start + timedelta(seconds=2)) == 2000
    assert formatting.elapsed(is_open, start - timedelta(seconds=2)) == 0
    assert formatting.elapsed(is_open, None) is None
    assert formatting.elapsed(ended, start + timedelta(seconds=2)) is None


@pytest.mark.parametrize("text", ["plain", "│  guide, 漢字 and 👩‍👩‍👧", "bell \a, \x1b[31mred\r\n", ""])
def test_a_line_is_the_same_as_one_that_rich_makes(text):
    """
    Lines are made without rich's slow search for control characters, and still have none.
    """
    made = formatting.line_of(("> ", "dim"), (text, "red"), ("", "bold"), ("!", ""))

    assert made == Text.assemble(("> ", "dim"), (text, "red"), "!")
    assert len(made) == len(made.plain)
