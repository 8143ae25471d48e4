"""The tables of claims, `claims.md` and `docs/guarantees.md`: every test that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLAIMS = TESTS / "claims.md"
GUARANTEES = TESTS.parent / "docs" / "guarantees.md"

each_table = pytest.mark.parametrize("table", [CLAIMS, GUARANTEES], ids=lambda path: path.name)


@each_table
def test_every_test_in_a_table_exists(table):
    """
    A test that is renamed or removed is renamed or replaced in the tables, so that no claim is left without a test.
    """
    named = [test for _, tests in rows(table) for test in re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", tests)]
    missing = [f"{path}::{name}" for path, name in named if not defines(TESTS / path, name)]

    assert len(named) > 50
    assert missing == []


@each_table
def test_every_row_of_a_table_is_a_sentence_with_a_test(table):
    """
    Each row has one claim, written as a sentence, and at least one test.
    """
    unclear = [claim for claim, tests in rows(table) if not re.search(r"^[A-Z`].*\.(?: \(.+\))?$", claim) or not tests]

    assert unclear == []


def rows(table: Path) -> list[tuple[str, str]]:
    """Return the claim and the tests of each row."""
    lines = re.findall(r"^\| (.+) \| (.*) \|$", table.read_text(encoding="utf-8"), re.MULTILINE)
    return [(claim, tests) for claim, tests in lines if tests != "tests"]


def defines(path: Path, name: str) -> bool:
    """Whether the file exists and, if *name* is given, defines it."""
    return path.exists() and (not name or re.search(rf"\b(def|class) {name}\b", path.read_text()) is not None)
