"""
What a node changed, told in a few words.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from langgraph.types import Command

from fluxloop_langgraph.changes import changes


@dataclass
class Page:
    n: int
    text: str = ""


@pytest.mark.parametrize(
    ("before", "output", "told"),
    [
        ({"n": 1}, {"n": 2}, {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, {"n": 1}, {}),
        ({}, {"n": None}, {"n": {"to": None}}),
        (None, {"n": 1}, {"n": {"to": 1}}),
        ({"total": 1}, {"total": 1}, {"total": {"add": 1}}),
        ({"n": 1}, Command(update={"n": 2}, goto="next"), {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, Command(update=[("n", 2)]), {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, [{"n": 2}, Command(update={"m": 3})], {"n": {"from": 1, "to": 2}, "m": {"to": 3}}),
        ({}, {"rows": [1, 2, 3]}, {"rows": {"to": [1, 2, 3]}}),
        ({}, {"rows": list(range(1000))}, {"rows": {"to": "list of 1,000"}}),
        ({}, {"rows": [[1]]}, {"rows": {"to": "list of 1"}}),
        ({}, {"rows": ["x" * 100]}, {"rows": {"to": "list of 1"}}),
        ({}, {"at": object()}, {"at": {"to": "object"}}),
        (None, Page(n=1), {"n": {"to": 1}, "text": {"to": ""}}),
        ({"n": 1}, Command(update=Page(n=2)), {"n": {"from": 1, "to": 2}, "text": {"to": ""}}),
        ({"n": 1}, [Page(n=2)], {}),
        ({"n": 1}, None, {}),
        ({"n": 1}, "done", {}),
    ],
)
def test_a_change_is_told_by_key(before, output, told):
    """
    Before and after where a value is replaced, the reducer's name and its value where there is one, sizes if large.
    """
    assert changes(before, output, {"total": "add"}) == told


def test_no_code_of_the_users_runs_to_compare():
    """
    Values with an equality of their own are never compared.
    """

    class Odd:
        def __eq__(self, other):
            raise AssertionError("compared")

        __hash__ = None

    assert changes({"a": Odd()}, {"a": Odd()}, {}) == {"a": {"from": "Odd", "to": "Odd"}}
