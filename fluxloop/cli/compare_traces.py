"""
``fluxloop compare`` for two traces: their trees, and which of them is a fork of the other.
"""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path

from ..errors import FluxLoopError, ReadError, ReplayError
from ..models import Trace
from ..reading.json_text import encode
from ..testing import outline
from .formatting import console, print_json, relative
from .replay import trace_at


def is_trace(name: str, path: Path | None) -> bool:
    """Whether *name* is the file or the id of a trace, and not an experiment."""
    if Path(name).suffix == ".jsonl":
        return True
    from ..experiments.folder import resolve

    try:
        resolve(name)
    except ReadError:
        try:
            return bool(trace_at(name, path))
        except FluxLoopError:
            return False  # the error is about the experiment
    return False


def second_experiment(name: str) -> str | None:
    """Return what to do if *name* is an experiment, which is compared with another one; else None."""
    from ..experiments.folder import ExperimentFolder, experiments_in, is_experiment

    if Path(name).suffix == ".jsonl" or (Path(name).is_dir() and not is_experiment(Path(name))):
        return None
    try:
        given = ExperimentFolder.at(name)
    except ReadError:
        return None
    others = [one for one in experiments_in(given.path.parent, given.name) if one != given.path]
    text = f"compare needs two experiments, and {name} is one"
    if not others:
        return f"{text}. Run it again, with: fluxloop run experiment"
    pair = sorted((given.path, others[-1]), key=lambda one: one.name)
    return f"{text}. For example: fluxloop compare {' '.join(str(relative(one)) for one in pair)}"


def print_traces(before: str, after: str | None, path: Path | None, *, as_json: bool) -> bool:
    """
    Print the difference of two traces, and return whether they are the same.

    Args:
        before: The id or the file of a trace.
        after: Another one; None for the trace that *before* was forked from.
        path: The folder of the traces.
        as_json: Whether to print JSON.

    Raises:
        ReplayError: If a trace does not exist, or *after* is None and *before* was not forked.
    """
    first, second = _pair(before, after, path)
    lines = _diff(first, second)
    is_same = not any(line[:1] in "+-" for line in lines)
    origin = second.metadata.get("forked_from")
    if as_json:
        facts = {"before": first.trace_id, "after": second.trace_id, "same": is_same, "forked_from": origin}
        print_json(encode({**facts, "diff": lines}))
        return is_same
    output = console()

    def line(text: str, style: str = "") -> None:
        output.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    line(f"- {first.trace_id}  {first.name or ''}".rstrip())
    line(f"+ {second.trace_id}  {second.name or ''}".rstrip())
    if isinstance(origin, dict):
        line(f"forked from {origin.get('trace_id')} at {origin.get('step')}, changed: {origin.get('changed')}")
    line("the same tree" if is_same else "")
    for each in lines if not is_same else ():
        line(each, {"+": "green", "-": "red"}.get(each[:1], ""))
    return is_same


def _pair(before: str, after: str | None, path: Path | None) -> tuple[Trace, Trace]:
    first = trace_at(before, path)
    if after is not None:
        return first, trace_at(after, path)
    origin = first.metadata.get("forked_from")
    if not isinstance(origin, dict) or not isinstance(origin.get("trace_id"), str):
        raise ReplayError(
            f"compare needs two experiments or two traces, and trace {before} is not a fork of another. "
            "Name a second one; the ids are printed by: fluxloop list"
        )
    return trace_at(origin["trace_id"], path), first


def _diff(first: Trace, second: Trace) -> list[str]:
    lines = ndiff(outline(first, inputs=True).splitlines(), outline(second, inputs=True).splitlines())
    return [line for line in lines if not line.startswith("?")]
