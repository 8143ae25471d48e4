"""
What the commands that read experiments share: their exit code for errors, their display of progress.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from ..experiments.folder import experiments_in, is_experiment, newest_of
from .formatting import console, counted, note
from .stopping import stoppable
from .usage_errors import reported

P = ParamSpec("P")

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Accepted for compatibility: results are always replaced.", hidden=True)
]


Folders = Annotated[
    list[Path],
    typer.Argument(
        help="Folder of the experiment, or its name. Of several, or of a folder of experiments, the newest.",
        metavar="DIR",
    ),
]


Project = Annotated[Path, typer.Option("--project", exists=True, file_okay=False, help="The folder of the project.")]


def experiment_at(folders: Sequence[Path]) -> Path:
    """Return the newest experiment of *folders*; a folder of experiments, such as ``experiments``, has a newest too."""
    chosen = newest_of(folders)
    inside = [] if is_experiment(chosen) else experiments_in(chosen)
    if not inside:
        return chosen
    names = [each.name for each in inside[: -MOST_NAMED - 1 : -1]]
    more = f", and {len(inside) - MOST_NAMED} more" if len(inside) > MOST_NAMED else ""
    note(f"{chosen} has {counted(len(inside), 'experiment')}, the newest is taken: {', '.join(names)}{more}")
    return inside[-1]


MOST_NAMED = 5
"""Experiments that a note names."""


def failing_with_2(command: Callable[P, None]) -> Callable[P, None]:
    """
    Make what *command* cannot do a line on stderr and the exit code 2, and make it `stoppable`.

    The exit code 1 means that a gate failed.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with stoppable(NOTHING_WRITTEN), reported():
                command(*args, **kwargs)
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] not in EXTRA:
                raise
            text = f"fluxloop: this command needs {missing.name!r}, which is not installed.\n"
            console(stderr=True).print(f"{text}    pip install 'fluxloop[experiments]'", markup=False, style="red")
            raise typer.Exit(2) from None

    return wrapper


NOTHING_WRITTEN = "no results were written, and earlier ones are unchanged"
"""What the commands print after Ctrl-C."""


EXTRA = frozenset({"httpx", "jinja2", "jsonschema", "markupsafe", "rapidfuzz", "ruamel"})
"""What the extra ``experiments`` brings."""


@contextmanager
def progress(verb: str, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """Yield a function that counts a run; on a terminal, the count is displayed while the block runs."""
    output = console(stderr=True)
    if not shown or not output.is_terminal:
        yield lambda: None
        return
    count = 0
    with output.status("") as status:

        def add() -> None:
            nonlocal count
            count += 1
            if count % 50 == 0:
                status.update(f"{counted(count, 'run')} {verb}")

        yield add
