"""
The configuration as data that can be shown and written: without secrets.
"""

from __future__ import annotations

from typing import Any

from .models import ExperimentConfig

MASKED = "[redacted]"


def masked_config(config: ExperimentConfig, *, exclude_defaults: bool = True) -> dict[str, Any]:
    """
    Return *config* as JSON data. The values of variables, headers and keys are masked.

    Args:
        config: The configuration.
        exclude_defaults: Whether to leave out what was not set.
    """
    shown = config.model_dump(mode="json", exclude_defaults=exclude_defaults)
    runner = shown.get("runner") or {}
    holders = [
        (runner, "environment_vars"),
        (runner.get("http") or {}, "headers"),
        (runner.get("process") or {}, "env"),
    ]
    for holder, name in holders:
        if holder.get(name):
            holder[name] = dict.fromkeys(holder[name], MASKED)
    supervisor = (shown.get("multi_turn") or {}).get("supervisor") or {}
    for holder in (supervisor, supervisor.get("metadata") or {}):
        if holder.get("api_key"):
            holder["api_key"] = MASKED
    return shown
