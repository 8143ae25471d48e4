"""
Run a target once, in a process of its own, and report its requests and the lines that read changing values.

``python -m fluxloop.replay.probing JOB`` reads the file *JOB* and writes its result there; see `diagnosis`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from .probes import Probes, Site, is_program

DELAY_S = 0.04
"""How much longer the first of several concurrent calls takes than the second, to change the order of their ends."""


def main(job: Path) -> None:
    """Run the job in the file *job*, and replace it by the result."""
    wanted = json.loads(job.read_text())
    changed = Site(**wanted["changed"]) if wanted.get("changed") else None
    probes = Probes(is_repeatable=wanted["is_repeatable"], changed=changed)
    functions: set[tuple[str, int]] = set()
    result: dict[str, Any] = {"requests": [], "error": None}
    try:
        _run(wanted, probes, functions, result)
    except Exception as error:
        result["error"] = f"{type(error).__name__}: {error}"
    result["sites"] = [{name: getattr(site, name) for name in Site.__slots__} for site in probes.sites]
    result["functions"] = sorted(functions)
    job.write_text(json.dumps(result, default=str))


def _run(wanted: dict[str, Any], probes: Probes, functions: set[tuple[str, int]], result: dict[str, Any]) -> None:
    from .. import instrument
    from ..reading import read_traces
    from .block import replay
    from .cassettes import cassette
    from .entry import Entry, arguments_for, function_at

    trace = next(iter(read_traces(wanted["trace"])), None) if Path(wanted["trace"]).exists() else None
    if wanted["delays"]:
        _delay_answers()
    os.environ.setdefault("FLUXLOOP_BASE_PATH", os.devnull)  # nothing is written for runs that only probe
    probes.install()
    _note_functions(functions)
    root = next(iter(trace.roots), None) if trace is not None else None
    name, own_root = wanted["target"], wanted["is_own_recording"]
    function = function_at(name, "--doctor")
    given = root.input if root is not None and not own_root else None
    arguments_for(function, given, name)
    entry = Entry(name, function, given, root.error if root is not None else None)
    if trace is None:
        with cassette(wanted["trace"], "rewrite"), instrument("doctor"):
            entry.call()
        return
    block = replay(trace, match="fifo")
    if own_root:
        wrapped = Entry(name, instrument("doctor")(function), given, entry.error)
        captured, error = wrapped.run(block)
    else:
        captured, error = entry.run(block)
    result["error"] = error
    result["requests"] = [request for each in captured.traces() for request in _requests(each)]


def _requests(trace: Any) -> list[dict[str, Any]]:
    from .recording import tree_of

    found = [place for place in tree_of([trace]).walk() if place.is_answer()]
    return [
        {
            "what": f"{place.observation.type.name} {place.observation.name}",
            "where": place.parent.path() if place.parent is not None else "",
            "input": place.observation.input,
        }
        for place in found
    ]


def _note_functions(functions: set[tuple[str, int]]) -> None:
    """Note file and first line of each function of the program that is called."""

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and is_program(frame.f_code.co_filename):
            functions.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    threading.setprofile(profile)
    sys.setprofile(profile)


def _delay_answers() -> None:
    """Let earlier calls take longer than later ones, so that concurrent calls end in another order."""
    import asyncio
    import time

    from ..answering import Answer

    taken = 0

    def next_delay() -> float:
        nonlocal taken
        taken += 1
        return max(0.0, DELAY_S * (4 - taken % 5))

    async def await_(self: Answer) -> None:
        await asyncio.sleep(next_delay())

    Answer.wait = lambda self: time.sleep(next_delay())  # type: ignore[method-assign]
    Answer.await_ = await_  # type: ignore[method-assign]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
