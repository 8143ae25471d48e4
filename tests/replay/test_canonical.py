"""
Inputs agree if all that is left of them does, where a part was cut when they were recorded.
"""

from __future__ import annotations

from typing import Any

import pytest

from fluxloop.replay.canonical import agree

WHOLE = [{"role": "user", "content": str(number)} for number in range(6)]
MARKER = "…[truncated: 3 of 6 items left out]"


@pytest.mark.parametrize(
    "cut",
    [[*WHOLE[:3], MARKER], [WHOLE[0], MARKER, *WHOLE[4:]], [MARKER, *WHOLE[3:]]],
    ids=["at the end", "between", "at the start"],
)
def test_a_list_agrees_with_one_that_was_cut(cut: list[Any]) -> None:
    """What is on either side of the marker is compared with the start and the end of the whole list."""
    other = [*cut]
    other[cut.index(MARKER) - 1] = {"role": "user", "content": "changed"}

    assert agree(cut, WHOLE)
    assert agree(WHOLE, cut)
    assert not agree(cut, WHOLE[:-1])
    assert not agree(cut, [*WHOLE[:-1], WHOLE[0], WHOLE[1]])
    assert not agree(other, WHOLE)
