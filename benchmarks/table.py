"""
Print what was found: as a table for a person, as JSON for a program.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .results import Row

HEADINGS = ("workload", "bare", "floor adds", "ours adds", "result", "quartiles", "aim", "met", "")
_NUMBERS = HEADINGS[1:5]


def machine() -> dict[str, Any]:
    """Return what the figures depend on: when, on what, with which versions, and how busy it was."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": sys.version.split()[0],
        **{name: found for name in _PARTS if (found := _version(name)) is not None},
    }


_PARTS = ("fluxloop", "orjson", "pydantic", "langchain-core", "langgraph", "openai-agents")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def table(rows: Iterable[Row]) -> str:
    """Return *rows* as lines of text, in columns; a column in which no row has anything is left out."""
    cells = [HEADINGS, *map(_cells, rows)]
    columns = [column for column in zip(*cells, strict=True) if any(column[1:])]
    return "\n".join("  ".join(line).rstrip() for line in zip(*map(_aligned, columns), strict=True))


def as_dict(row: Row) -> dict[str, Any]:
    """Return *row* as JSON-safe data, with whether its aim is met."""
    return {**asdict(row), "met": row.met}


def _aligned(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    return [cell.rjust(width) if column[0] in _NUMBERS else cell.ljust(width) for cell in column]


def _cells(row: Row) -> tuple[str, ...]:
    figure, met = row.figure, row.met
    return (
        row.workload,
        _amount(row.bare, row.unit),
        _amount(row.floor, row.unit),
        _amount(row.ours, row.unit),
        f"{_number(figure.middle)} {row.figure_unit}" if figure else "",
        f"{_number(figure.low)} - {_number(figure.high)}" if figure and figure.low != figure.high else "",
        str(row.aim or ""),
        "" if met is None else "yes" if met else "NO",
        "; ".join([*row.faults, *filter(None, [row.note])]),
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if unit == "instructions" else f"{value:.2f} {unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.2f}"
