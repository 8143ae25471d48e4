"""
Import the object that a configuration names as ``module:name``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...settings.value_types import did_you_mean


def imported(target: str, base: Path) -> Any:
    """
    Return the object at *target*, ``module:name`` or ``module:Class.method``.

    Args:
        target: The name.
        base: A folder that modules are also looked for in, besides the working directory.

    Raises:
        ConfigError: If the module or the name does not exist; the message names what the module has.
    """
    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path:
        raise ConfigError("a target must have the form module:name")
    with _importable(base):
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
                raise ConfigError(f"module {error.name!r} not found in {base} or on the Python path") from None
            raise
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            names = [one for one in dir(found) if not one.startswith("_")]
            raise ConfigError(
                f"{module_name} has no {name!r}{did_you_mean(name, names)} (it has: {', '.join(names[:20])})"
            ) from None
    return found


@contextmanager
def _importable(base: Path) -> Iterator[None]:
    added = [str(folder) for folder in (Path.cwd(), base) if str(folder) not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)
