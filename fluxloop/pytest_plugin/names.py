"""
The names of the files that belong to a test.
"""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

LONGEST = 120
"""Characters of a file name, without its ending."""


def test_name(item: pytest.Item) -> str:
    """Return the name of *item* within its file: ``TestClass.test_name[parameters]``."""
    _, _, inside = item.nodeid.partition("::")
    return inside.replace("::", ".") or item.name


test_name.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it where it is imported


def file_name(name: str) -> str:
    """Return *name* as the name of a file; two names that differ have different files."""
    safe = re.sub(r"[^\w.\-\[\]]+", "_", name)[:LONGEST]
    return safe if safe == name else f"{safe}~{sha256(name.encode()).hexdigest()[:8]}"
