"""The table of claims, `claims.md`: every test it names exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS / "claims.md"


def test_every_test_in_the_table_of_claims_exists():
    """A renamed or removed test is noticed, so that no claim is left without one."""
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", TABLE.read_text(encoding="utf-8"))
    missing = [f"{path}::{name}" for path, name in named if not defines(TESTS / path, name)]

    assert len(named) > 100
    assert missing == []


def defines(path: Path, name: str) -> bool:
    """Whether the file exists and, where *name* is given, defines it."""
    return path.exists() and (not name or re.search(rf"\b(def|class) {name}\b", path.read_text()) is not None)
