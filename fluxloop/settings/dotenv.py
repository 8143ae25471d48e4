"""
Load the variables of a `.env` file into the environment.

Existing variables win unless *override* is set, and an empty value in the file never replaces a value. The loaded
variables are remembered, so that the source of a setting can be shown.
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
from .schema import PREFIX, RawValue


class _Loaded(NamedTuple):
    """A variable in a loaded file."""

    text: str
    path: str
    is_set: bool
    """Whether it was set in the environment."""


load_count = 0
"""The number of loaded files. Settings that were resolved before the last one are out of date."""

settings_lock = threading.RLock()
"""Protects the settings and their sources."""

_loaded: dict[str, _Loaded] = {}
_file_problems: dict[str, list[str]] = {}


def _renew_lock() -> None:
    """Replace the lock in a forked child, since another thread of the parent may have held it."""
    global settings_lock
    settings_lock = threading.RLock()


after_fork(_renew_lock)


def load_env(path: str | os.PathLike[str] | None = None, *, override: bool = False) -> bool:
    """
    Set the environment variables that a `.env` file lists.

    Args:
        path: The file, or its folder; by default the nearest `.env` in the working directory and its parents.
        override: Whether to replace variables that are already set. Empty values replace nothing.

    Returns:
        Whether a file was found.

    Raises:
        ConfigError: If the file cannot be read, or is not UTF-8 text.

    The syntax is that of python-dotenv, with ``export``, quotes, comments and ``${OTHER}``. Other lines are skipped
    with a warning that contains the line number and not the text, which may be a secret.
    """
    global load_count
    file = nearest(".env") if path is None else _existing(path)
    if file is None:
        return False
    variables, problems = _parse(_read(file), file, override)
    with settings_lock:
        problems += _set_variables(variables, file, override)
        _file_problems[file] = problems
        load_count += 1
    for problem in problems:
        log.warning(problem)
    return True


def write_variables(path: str | os.PathLike[str], values: Mapping[str, str]) -> None:
    """
    Set variables in the `.env` file at *path*, which is created if there is none. Its other lines stay as they are.

    Raises:
        ConfigError: If the file cannot be written.
    """
    from dotenv import set_key

    try:
        for name, text in values.items():
            set_key(path, name, text, quote_mode="auto", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"could not write {path}: {error.strerror or error}") from error


def nearest(name: str) -> str | None:
    """Return the path of the file *name* in the working directory or its nearest parent that has one."""
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        return None
    while not _is_file(file := os.path.join(folder, name)):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return file


def environment(name: str) -> RawValue | None:
    """Return the value of *name* in the environment; None if it is empty, or comes from a loaded file."""
    text = os.environ.get(name, "")
    loaded = _loaded.get(name)
    if not text.strip() or (loaded and loaded.is_set and loaded.text == text):
        return None
    return RawValue(text.strip(), name)


def env_file(name: str) -> RawValue | None:
    """Return the value of *name* in the loaded files; None if it is empty, or was changed in the environment since."""
    loaded = _loaded.get(name)
    if loaded is None or not loaded.text.strip() or (loaded.is_set and loaded.text != os.environ.get(name)):
        return None
    return RawValue(loaded.text.strip(), f"{name} in {loaded.path}")


def in_ci() -> bool:
    """Return whether the variable ``CI`` is set, as CI services do; empty, ``0`` and ``false`` do not count."""
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "false")


def file_problems() -> list[str]:
    """Return a message for each invalid line of the loaded files."""
    with settings_lock:
        return [problem for problems in _file_problems.values() for problem in problems]


def _existing(path: str | os.PathLike[str]) -> str | None:
    """Return the absolute path of the file *path*, or of `.env` in the folder *path*; None if there is none."""
    given = os.path.expanduser(path)
    return next((os.path.abspath(file) for file in (given, os.path.join(given, ".env")) if _is_file(file)), None)


def _is_file(path: str) -> bool:
    # Not isfile(): password managers provide .env as a named pipe. A folder named .env is a virtual environment.
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
    """Return the variables in *text*, and a message for each invalid line."""
    from dotenv.main import resolve_variables  # takes 24 ms, so only when a file is loaded
    from dotenv.parser import parse_stream

    problems, pairs = [], []
    for binding in parse_stream(io.StringIO(text)):
        source = binding.original.string
        if binding.key is not None and binding.value is not None:
            pairs.append((binding.key, binding.value))
        elif binding.error or binding.key is not None:
            blank_lines = source[: len(source) - len(source.lstrip())].count("\n")
            number = binding.original.line + blank_lines
            problems.append(f"{path}, line {number}: skipped, since it is not of the form NAME=value")
    return resolve_variables(pairs, override=override), problems


def _set_variables(variables: Mapping[str, str | None], path: str, override: bool) -> list[str]:
    """Set *variables* in the environment; return a message for each one that cannot be set."""
    problems = []
    for name, text in variables.items():
        text = text or ""
        present = os.environ.get(name)
        is_set = present is None or (override and (not present or bool(text)))
        if is_set:
            try:
                os.environ[name] = text
            except (ValueError, OSError) as error:
                problems.append(f"{path}: skipped {name!r}, which cannot be set ({error})")
                continue
        if name.startswith(PREFIX) and (is_set or name not in _loaded):
            _loaded[name] = _Loaded(text, path, is_set)
    return problems
