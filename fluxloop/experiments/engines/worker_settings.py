"""
Carry the settings of the program to its workers: what `fluxloop.configure`, the environment, `.env` and pyproject.toml
set here is what a worker records with, also on another machine.

The values are part of what is sent to a worker over its pipe or connection. They are never on a command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...client import default
from ...errors import ConfigError

PLACES = frozenset({"base_path", "recording_file"})
"""Settings that are paths on this machine."""


def settings_for_workers(dumps: Callable[[Any], bytes], *, elsewhere: bool = False) -> dict[str, Any]:
    """
    Return the settings that differ from the defaults.

    A storage that is an object stays in this process: in a worker, what is recorded outside of runs is discarded.

    Args:
        dumps: Pickles a value, as the engine does.
        elsewhere: Whether workers may be on other machines.

    Raises:
        ConfigError: If a setting, such as a `redact_hook` that is a lambda, cannot be sent.
    """
    from ...settings.schema import TABLE

    configuration = default.configuration
    settings = configuration.settings()
    found = {name: getattr(settings, name) for name in TABLE if configuration.source(name) != "default"}
    if "storage" in found and not _is_named(found["storage"]):
        found["storage"] = "memory"
    for name in PLACES & found.keys() if elsewhere else ():
        del found[name]
    for name, value in found.items():
        try:
            dumps(value)
        except Exception as exc:
            raise ConfigError(
                f"the setting {name} cannot be sent to workers ({exc}). Define its value at the top level of a module, "
                "or use the engine local"
            ) from None
    return found


def use_settings(settings: Mapping[str, Any]) -> None:
    """Use *settings* in a worker, before its target is imported."""
    default.configure(**settings)


def _is_named(storage: Any) -> bool:
    return all(isinstance(one, str) for one in (storage if isinstance(storage, tuple) else [storage]))
