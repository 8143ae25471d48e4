"""
Experiments for the tests of parsing, evaluation and comparison: folders with runs that were really recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

import fluxloop
from fluxloop.experiments.folder import ExperimentFolder, Row
from fluxloop.experiments.recorded_runs import recorded_runs
from fluxloop.experiments.run_data import Run
from fluxloop.testing import capture


@fluxloop.tool
def search(query: str, limit: int = 3) -> str:
    if "nowhere" in query:
        raise LookupError("no such city")
    return f"{limit} hotels in {query}"


@fluxloop.tool
def book(hotel: str) -> dict[str, str]:
    return {"booked": hotel}


@fluxloop.prompt(model="gpt-4o")
def model(prompt: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return {"content": f"about {prompt}", "usage": usage}


@fluxloop.agent
def travel_agent(city: str) -> str:
    model(city)
    search(city)
    book("Ritz")
    return f"Booked the Ritz in {city}"


@fluxloop.agent
def hasty_agent(city: str) -> str:
    book("Ritz")
    return f"Booked in {city}"


Case = str | Mapping[str, Any]
"""An input, or a mapping with ``input`` and other members of the row."""


def experiment(
    path: Path,
    cases: Sequence[Case] = ("Rome", "Oslo"),
    agent: Callable[..., Any] = travel_agent,
    *,
    iterations: int = 1,
    name: str = "demo",
    **summary: Any,
) -> Path:
    """Run *agent* for each of *cases*, and write the folder of an experiment to *path*."""
    rows: list[dict[str, Any]] = []
    with capture() as captured:
        seen: set[str] = set()
        for number, case in enumerate(cases):
            given = {"input": case} if isinstance(case, str) else dict(case)
            for iteration in range(iterations):
                output, error = _called(agent, given["input"])
                (trace,) = [trace for trace in captured.traces() if trace.trace_id not in seen]
                seen.add(trace.trace_id)
                usage = trace.usage
                rows.append(
                    {
                        "trace_id": trace.trace_id,
                        "run": len(rows),
                        "iteration": iteration,
                        "persona": None,
                        "input_id": f"input-{number}",
                        "expected": None,
                        "metadata": {},
                        "output": output,
                        "duration_ms": trace.duration_ms,
                        "success": error is None,
                        "status": "error" if error else "success",
                        "error": error,
                        "token_usage": usage
                        and {
                            "prompt_tokens": usage.input_tokens,
                            "completion_tokens": usage.output_tokens,
                            "total_tokens": usage.total_tokens,
                        },
                        "cost": None,
                        "conversation": [{"turn_index": 0, "role": "user", "content": given["input"]}],
                        **given,
                    }
                )
        records = list(captured.storage.read())
    artifacts = path / "artifacts"
    artifacts.mkdir(parents=True)
    for file, is_wanted in (("observations.jsonl", True), ("traces.jsonl", False)):
        write_lines(artifacts / file, [record for record in records if ("type" in record) is is_wanted])
    write_lines(path / "trace_summary.jsonl", rows)
    write_lines(path / "traces.jsonl", rows)
    content = {"folder_version": 1, "name": name, "state": "finished", **summary}
    (path / "summary.json").write_bytes(orjson.dumps(content))
    return path


def _called(agent: Callable[..., Any], value: Any) -> tuple[Any, dict[str, str] | None]:
    try:
        return agent(value), None
    except Exception as error:
        return None, {"type": type(error).__name__, "message": str(error)}


def write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def runs_of(path: Path) -> list[Run]:
    return list(recorded_runs(ExperimentFolder.at(path)))


def run_of(**row: Any) -> Run:
    """Return a run without records."""
    return Run(Row({"trace_id": "t", "status": "success", "success": True, "input": "hi", **row}))


def tool_run(*calls: tuple[str, Any], **row: Any) -> Run:
    """Return a run that called tools with these names and arguments."""
    run = run_of(**row)
    run.records += [
        {
            "id": f"o{number}",
            "parent_id": None,
            "seq": number,
            "type": "TOOL",
            "name": name,
            "status": "success",
            "input": arguments,
            "output": "done",
        }
        for number, (name, arguments) in enumerate(calls)
    ]
    return run
