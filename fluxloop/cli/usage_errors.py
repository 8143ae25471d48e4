"""
End a command with one line on stderr and exit code 2 if it could not do its work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..errors import ConfigError, ReadError, ReplayError, WriteError
from .formatting import console


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
        console(stderr=True).print(f"fluxloop: {exc}", markup=False, style="red", soft_wrap=True)
        raise typer.Exit(2) from None
