"""
The pieces of text a record line is made of.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxloop.encoding.record_text import ms_text, utc_text

MOST_NS = 200 * 366 * 86_400 * 10**9
"""Two hundred years, in nanoseconds."""


@given(st.lists(st.integers(-MOST_NS, MOST_NS), min_size=1), st.integers(0, 10**9))
def test_a_time_is_written_as_datetime_writes_it(moments, later):
    """
    Whatever second was formatted before, a time stamp is ISO 8601 in UTC with microseconds and ``Z``.
    """
    for ns in [*moments, moments[-1] + later]:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1_000)

        assert utc_text(ns) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@given(st.integers(-MOST_NS, MOST_NS))
def test_milliseconds_have_three_decimals_and_are_truncated(ns):
    """
    A duration is a number in JSON, exact to the microsecond.
    """
    exact = (Decimal(ns) / 1_000_000).quantize(Decimal("0.001"), ROUND_DOWN)

    assert Decimal(ms_text(ns)) == exact


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0.000"), (999, "0.000"), (1_000, "0.001"), (333_300_000, "333.300"), (61_000_000_000, "61000.000")],
)
def test_milliseconds_are_written_in_full(ns, text):
    """
    No exponent and no missing zero, whatever the size.
    """
    assert ms_text(ns) == text
