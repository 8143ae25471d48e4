"""
What the commands that read experiments share: their exit code for errors, their display of progress.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from .formatting import console
from .usage_errors import reported

P = ParamSpec("P")

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Accepted for compatibility: results are always replaced.", hidden=True)
]


Folders = Annotated[
    list[Path],
    typer.Argument(help="Folder of the experiment, or its name. Of several, the newest.", metavar="DIR"),
]


def experiment_app(summary: str) -> typer.Typer:
    """Return the group of a command that acts on an experiment, such as ``fluxloop parse experiment``."""
    app = typer.Typer(
        help=summary,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # so that a group of one command keeps the name of the command
    return app


def failing_with_2(command: Callable[P, None]) -> Callable[P, None]:
    """
    Make what *command* cannot do a line on stderr and the exit code 2, and Ctrl-C a line and `INTERRUPTED`.

    The exit code 1 means that a gate failed.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with reported():
                command(*args, **kwargs)
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] not in EXTRA:
                raise
            text = f"fluxloop: this command needs {missing.name!r}, which is not installed.\n"
            console(stderr=True).print(f"{text}    pip install 'fluxloop[experiments]'", markup=False, style="red")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            text = "fluxloop: interrupted; no results were written, and earlier ones are unchanged"
            console(stderr=True).print(text, markup=False, soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None

    return wrapper


INTERRUPTED = 130
"""The exit code after Ctrl-C."""


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
                status.update(f"{count:,} runs {verb}")

        yield add
