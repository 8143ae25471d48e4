"""
Cells of CSV that a spreadsheet shows as they are.
"""

from __future__ import annotations

from typing import Any

from ..reading.json_text import encode

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins with one of these for a formula (OWASP, "CSV Injection")."""


def safe_cell(value: Any) -> Any:
    """Return *value* as a cell: a list joined with commas, other JSON encoded, and no text that acts as a formula."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else encode(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
