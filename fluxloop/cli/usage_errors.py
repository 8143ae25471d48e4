"""
End a command with one line on stderr: exit code 1 if it found nothing, 2 if it could not do its work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from ..errors import ConfigError, ReadError, ReplayError, WriteError
from .formatting import console, note

FIRST_TRACE = (
    "Next step: run a program with @fluxloop.agent on one of its functions, or name the folder that it writes to"
)

NO_TRACES_IN_FILE = "no traces in this file. Expected JSON lines as FluxLoop writes them"


class NothingFound(ReadError):
    """The records can be read, but none of them is a trace to show: exit code 1."""


@contextmanager
def reported() -> Iterator[None]:
    """Report a configuration, a file or a recording that cannot be used, and exit with 2."""
    try:
        yield
    except (ConfigError, ReadError, ReplayError, WriteError) as exc:
        text = getattr(exc, "strerror", None) or exc  # without the number that OSError puts before its text
        console(stderr=True).print(f"fluxloop: {text}", markup=False, style="red", soft_wrap=True)
        raise typer.Exit(2) from None
    except OSError as exc:
        text = f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else str(exc)
        console(stderr=True).print(f"fluxloop: {text}", markup=False, style="red", soft_wrap=True)
        raise typer.Exit(2) from None


def note_no_traces(place: Path, *, is_filtered: bool, is_empty: bool) -> None:
    """
    Note on stderr that *place* has no traces yet; the command succeeds.

    Raises:
        NothingFound: If filters were given: the answer is no.
        ReadError: If *place* is a file without a record.
    """
    if is_filtered:
        found = f"{place}: no traces yet" if is_empty else f"{place}: no trace matches"
        raise NothingFound(f"{found}. Next step: leave out a filter, or check its spelling")
    if place.is_file():
        raise ReadError(f"{place}: {NO_TRACES_IN_FILE}")
    note(f"{place}: no traces yet. {FIRST_TRACE}")
