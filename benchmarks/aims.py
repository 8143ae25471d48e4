"""
The aims for the cost of recording, and a table of what a run reached.

Every aim is a ratio within one run, as absolute times differ between machines. A run writes the table to
`docs/benchmarks.md`, where each version of Python has a table of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .results import Row

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure that is to be reached."""

    work: str
    before: str
    """The figure when the aim was set."""
    most: float
    workload: str
    over: str = "floor"
    """What the cost is divided by: the floor, the bare run, nothing, or the cost of another workload."""
    unit: Literal["x", "MB"] = "x"

    def reached(self, rows: Mapping[str, Row]) -> float | None:
        """Return the figure in *rows*, by workload; None if it was not measured."""
        row = rows.get(self.workload)
        if row is None or row.ours is None:
            return None
        if self.over == "nothing":
            return row.ours
        if self.over == "floor" and row.figure is not None and row.figure_unit == "x":
            return row.figure.middle
        by = rows[self.over].ours if self.over in rows else {"floor": row.floor, "bare": row.bare}.get(self.over)
        return row.ours / by if by else None


AIMS = (
    Aim("small call, over the floor", "2.92 x", 2.2, "small"),
    Aim("100 tasks x 10, over the floor", "2.73 x", 2.1, "tasks"),
    Aim("stream, per item, over the floor", "4.05 x", 2.5, "stream"),
    Aim("20 kB, redacted, over the floor", "2.93 x", 1.8, "large-redacted"),
    Aim("20 kB with one secret, over the floor", "16 x", 3, "large-secret"),
    Aim("tracing off, over a passthrough", "1.44 x", 1.1, "off"),
    Aim("no trace open, over a passthrough", "1.44 x", 1.1, "no-trace"),
    Aim("LangChain chain, over a handler that does nothing", "2.36 x", 1.9, "langchain-chain"),
    Aim("LangGraph, ten nodes, over a handler that does nothing", "5.1 x", 2.8, "langgraph-nodes"),
    Aim("fan-out of 100, over the bare run", "0.3 to 0.66 x", 0.2, "langgraph-fan-out", "bare"),
    Aim("Agents SDK run, over a processor that does nothing", "2.79 x", 2, "agents-run"),
    Aim("graph over 1,000 messages, over 10", "7 x", 2, "graph-history-1000", "graph-history-10"),
    Aim("graph over 10,000 messages, over 10", "150 x", 4, "graph-history-10000", "graph-history-10"),
    Aim("bytes of 20 turns over 1,000 messages, over the last state", "20 x", 2, "turns"),
    Aim("last calls of a trace of 100,000, over the first", "", 1.1, "long-trace"),
    Aim("bytes of a small record, over the floor", "", 1.1, "bytes"),
    Aim("reading by `read_traces`, over `orjson.loads` of the lines", "21 to 26 x", 6, "reading"),
    Aim("printing by `view` of 100,000 observations, over reading them", "", 3, "view"),
    Aim("the same, memory", "1,660 MB", 150, "view-memory", "nothing", "MB"),
)

COLUMNS = ("work", "when set", "aim", "reached", "in instructions")


def workloads() -> list[str]:
    """Return the names of the workloads that the aims need."""
    needed = [name for aim in AIMS for name in (aim.over, aim.workload) if name not in ("floor", "bare", "nothing")]
    return list(dict.fromkeys(needed))


def table(rows: Sequence[Row], counts: Sequence[Row] = ()) -> str:
    """Return the aims as a Markdown table, with the figures of *rows*, and those of *counts* for instructions."""
    times, instructions = ({row.workload: row for row in each} for each in (rows, counts))
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    for aim in AIMS:
        figure, count = aim.reached(times), aim.reached(instructions) if aim.unit == "x" else None
        lines.append([aim.work, aim.before, f"{aim.most:g} {aim.unit}", _shown(figure, aim), _shown(count, aim)])
    used = [column for column in zip(*lines, strict=True) if any(column[2:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*used, strict=True))


def _shown(figure: float | None, aim: Aim) -> str:
    """Return *figure*, in bold if the aim is missed."""
    if figure is None:
        return ""
    text = f"{figure:,.0f} {aim.unit}" if abs(figure) >= 20 else f"{figure:.2f} {aim.unit}"
    return text if figure <= aim.most else f"**{text}**"


def write(shown: str, about: Mapping[str, Any], page: Path = PAGE) -> None:
    """
    Put the table *shown* into *page*, in place of that of the same version of Python.

    Args:
        shown: The table.
        about: The conditions of the run.
        page: A page with a line ``<!-- aims: end -->``, before which a new version's table is added.
    """
    version = ".".join(str(about["python"]).split(".")[:2])
    conditions = ", ".join(f"{name} {value}" for name, value in about.items() if value is not None)
    block = f"<!-- aims: {version} -->\n### Python {version}\n\n{conditions}\n\n{shown}\n\n"
    text = page.read_text()
    old = re.compile(rf"<!-- aims: {re.escape(version)} -->\n.*?(?=<!-- aims: )", re.DOTALL)
    if old.search(text):
        text = old.sub(lambda _: block, text)
    else:
        text = text.replace("<!-- aims: end -->", f"{block}<!-- aims: end -->")
    page.write_text(text)
