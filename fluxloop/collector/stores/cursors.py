"""
Cursors of lists: the position of the last row of a part, as text.
"""

from __future__ import annotations

from ...errors import FilterError


def cursor_of(start_us: int, number: int) -> str:
    """Return the cursor behind the row with this start and number."""
    return f"{start_us}.{number}"


def position_of(cursor: str) -> tuple[int, int]:
    """
    Return the start and number behind which a list goes on.

    Raises:
        FilterError: If *cursor* is not one that `cursor_of` returned.
    """
    start, _, number = cursor.partition(".")
    try:
        position = int(start), int(number)
    except ValueError:
        position = (2**63, 0)
    if len(cursor) > 40 or not all(-(2**63) <= part < 2**63 for part in position):
        raise FilterError(f"cursor must be the `next` of an earlier answer, got {cursor[:60]!r}")
    return position
