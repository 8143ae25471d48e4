"""
Bring the variables of a `.env` file into the environment, and remember which ones came that way.

The shell's values win unless *override* is set, and an empty value in the file never erases what
the shell knows. What was brought in stays recognisable, so that a setting can name its source.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ConfigError
from ..forks import after_fork
from ..report import log
from .schema import PREFIX, Given


class _Loaded(NamedTuple):
    """What a loaded file says about one variable."""

    text: str
    path: str
    placed: bool
    """Whether it went into the environment, where it counts until it is changed."""


loads = 0
"""How many files were loaded so far; settings resolved before the last one are out of date."""

changing = threading.RLock()
"""Held while settings, or what they are resolved from, change."""

_loaded: dict[str, _Loaded] = {}
_complaints: dict[str, list[str]] = {}


def _renew_lock() -> None:
    """Free a forked child of the lock that another thread of its parent may have held."""
    global changing
    changing = threading.RLock()


after_fork(_renew_lock)


def load_env(path: str | os.PathLike[str] | None = None, *, override: bool = False) -> bool:
    """
    Set the environment variables that a `.env` file lists.

    Args:
        path: The file, or the folder that holds `.env`; by default the nearest `.env` in the current
            folder or one above it.
        override: Replace variables that are set already, except by an empty value.

    Returns:
        Whether there was such a file.

    Raises:
        ConfigError: If the file cannot be read, or is not UTF-8 text.

    The syntax is python-dotenv's: ``export``, quotes, comments and ``${OTHER}`` are understood. A line that
    is none of it is skipped with a warning, which gives its number and not its text: lines hold secrets.
    """
    global loads
    file = nearest(".env") if path is None else _at(path)
    if file is None:
        return False
    variables, complaints = _parse(_read(file), file, override)
    with changing:
        complaints += _place(variables, file, override)
        _complaints[file] = complaints
        loads += 1
    for complaint in complaints:
        log.warning(complaint)
    return True


def nearest(name: str) -> str | None:
    """Return the path of the file *name* in the current folder or the nearest one above it."""
    try:
        folder = os.getcwd()
    except OSError:  # it was removed meanwhile
        return None
    while not _is_file(file := os.path.join(folder, name)):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return file


def environment(name: str) -> Given | None:
    """Return what the environment proper says about the variable *name*; an empty value says nothing."""
    text = os.environ.get(name, "")
    loaded = _loaded.get(name)
    if not text.strip() or (loaded and loaded.placed and loaded.text == text):
        return None
    return Given(text.strip(), name)


def env_file(name: str) -> Given | None:
    """Return what the loaded files say about the variable *name*; an empty value says nothing."""
    loaded = _loaded.get(name)
    if loaded is None or not loaded.text.strip() or (loaded.placed and loaded.text != os.environ.get(name)):
        return None
    return Given(loaded.text.strip(), f"{name} in {loaded.path}")


def file_complaints() -> list[str]:
    """Return what was wrong with the lines of the loaded files."""
    with changing:
        return [complaint for of_one in _complaints.values() for complaint in of_one]


def _at(path: str | os.PathLike[str]) -> str | None:
    """Return the absolute path of the file that *path* names, or that lies in the folder it names."""
    given = os.path.expanduser(path)
    return next((os.path.abspath(file) for file in (given, os.path.join(given, ".env")) if _is_file(file)), None)


def _is_file(path: str) -> bool:
    # Not isfile(): password managers offer .env as a named pipe. A folder of that name is a virtual environment.
    return os.path.exists(path) and not os.path.isdir(path)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"could not read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        why = f"{error.reason} at byte {error.start}"
        raise ConfigError(f"could not read {path}: it must be UTF-8 text, got {why}; save it as UTF-8") from error


def _parse(text: str, path: str, override: bool) -> tuple[Mapping[str, str | None], list[str]]:
    """Return the variables in *text*, and a sentence for each line that is none."""
    from dotenv.main import resolve_variables  # 24 ms, paid by those who load a file
    from dotenv.parser import parse_stream

    complaints, pairs = [], []
    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        if binding.key is not None and binding.value is not None:
            pairs.append((binding.key, binding.value))
        elif binding.error or binding.key is not None:
            blank_lines = written[: len(written) - len(written.lstrip())].count("\n")
            number = binding.original.line + blank_lines
            complaints.append(f"{path}, line {number}: skipped, since it is not of the form NAME=value")
    return resolve_variables(pairs, override=override), complaints


def _place(variables: Mapping[str, str | None], path: str, override: bool) -> list[str]:
    """Put *variables* where the environment has room for them; return a sentence for each one it refuses."""
    complaints = []
    for name, text in variables.items():
        text = text or ""
        present = os.environ.get(name)
        placed = present is None or (override and (not present or bool(text)))
        if placed:
            try:
                os.environ[name] = text
            except (ValueError, OSError) as error:
                complaints.append(f"{path}: skipped {name!r}, which cannot be set ({error})")
                continue
        if name.startswith(PREFIX) and (placed or name not in _loaded):
            _loaded[name] = _Loaded(text, path, placed)
    return complaints
