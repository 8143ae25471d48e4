"""
Format results as a table or as JSON.
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

HEADINGS = ("workload", "bare", "floor adds", "FluxLoop adds", "result", "quartiles", "target", "met", "")
_NUMBERS = ("bare", "result")

LEGEND = """\
bare           cost of one call (or item, or run) without recording
floor adds     cost added by a minimal recorder written by hand, or by a framework's handler that does nothing
FluxLoop adds  cost added by recording with FluxLoop
result         median over all rounds: FluxLoop adds / floor adds (x), or FluxLoop adds (us, ns)
quartiles      half of the rounds are within this range"""
"""Explains the columns, below the table."""


def machine() -> dict[str, Any]:
    """Return the conditions of the measurement: time, system, load and versions."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": sys.version.split()[0],
        **{name: found for name in _DISTRIBUTIONS if (found := _version(name)) is not None},
    }


_DISTRIBUTIONS = ("fluxloop", "orjson", "pydantic", "langchain-core", "langgraph", "openai-agents")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def table(rows: Iterable[Row], measured: str = "FluxLoop") -> str:
    """Return *rows* as a text table without empty columns; *measured* is what adds to the bare call."""
    headings = tuple(heading.replace("FluxLoop", measured) for heading in HEADINGS)
    cells = [headings, *map(_cells, rows)]
    columns = [column for column in zip(*cells, strict=True) if any(column[1:])]
    return "\n".join("  ".join(line).rstrip() for line in zip(*map(_aligned, columns), strict=True))


def as_dict(row: Row) -> dict[str, Any]:
    """Return *row* as JSON-safe data, including whether it meets its target."""
    return {**asdict(row), "met": row.met}


def _aligned(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    return [cell.rjust(width) if column[0] in _NUMBERS or "adds" in column[0] else cell.ljust(width) for cell in column]


def _cells(row: Row) -> tuple[str, ...]:
    figure, met = row.figure, row.met
    return (
        row.workload,
        _amount(row.bare, row.unit),
        _amount(row.floor, row.unit),
        _amount(row.ours, row.unit),
        f"{_number(figure.middle)} {row.figure_unit}" if figure else "",
        f"{_number(figure.low)} - {_number(figure.high)}" if figure and figure.low != figure.high else "",
        str(row.target or ""),
        "" if met is None else "yes" if met else "NO",
        "; ".join([*row.faults, *filter(None, [row.note])]),
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if unit == "instructions" else f"{value:.2f} {unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.2f}"
