"""
``fluxloop replay --doctor``: which lines of a program make its requests differ from run to run.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from ..models import Trace
from ..reading.json_text import encode
from .formatting import console, print_json

if TYPE_CHECKING:
    from ..replay.diagnosis import Diagnosis

ADVICE = {
    "clock": "pass the time as an argument, or leave it out of the prompt",
    "random numbers": "seed them, or pass a random.Random or a generator of numpy that has a seed",
    "ids": "leave the id out of the request, or replace it with normalize=",
    "set order": "sort before joining or listing",
    "directory order": "sort the names",
    "environment": "the value differs on other machines; pass it as an argument",
    "concurrency": "collect results in the order of their start, as asyncio.gather returns them",
}
"""What to do about each kind of cause."""


def diagnosed(target: str, trace: Trace | None, runs: int, *, as_json: bool, color: bool) -> Diagnosis:
    """
    Run *target* several times, print what makes its requests differ, and return it.

    Raises:
        ReplayError: If it cannot run.
    """
    from ..replay.diagnosis import diagnose

    is_shown = not as_json and sys.stderr.isatty()
    with console(stderr=True).status("recording") as status:
        on_run = (lambda what: status.update(what)) if is_shown else None
        if not is_shown:
            status.stop()
        found = diagnose(target, trace, runs=runs, on_run=on_run)
    if as_json:
        print_json(encode({**dataclasses.asdict(found), "reproducible": found.is_reproducible}))
    else:
        _print(found, color=color)
    return found


def _print(found: Diagnosis, *, color: bool) -> None:
    output = console(color=color)

    def line(text: str, style: str = "") -> None:
        output.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    if found.is_reproducible:
        line(f"{found.target}: the same requests in {found.runs} runs, and no line was found that changes one")
        return
    names = ", ".join(found.differing)
    line(f"{found.target}: {f'{names} differed' if names else 'no request differed'} in {found.runs} runs", "bold")
    for cause in found.causes:
        line(f"{cause.kind}: {cause.request}", "red")
        for place in cause.places:
            line(f"  {place}")
        for change in cause.difference:
            line(f"    {change}", "dim")
        line(f"  {ADVICE[cause.kind]}")
    for error in found.errors:
        line(f"a run failed: {error.splitlines()[0]}", "yellow")
    if not found.is_explained:
        line("no cause was found: look for a source outside Python and numpy, such as a database")
