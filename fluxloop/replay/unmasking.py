"""
Put secrets back into recorded answers, where the recording has their mask.

The recording stays masked: the secrets are given to a replay, and are in the answers that the program gets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..encoding.introspection import MASK
from ..errors import ReplayError
from ..models import ObservationData

Secrets = Mapping[str, str]
"""Secrets by the name of the member that has them, or of the call whose answer has them."""

_ANSWERS = ("replay", "stream")
"""Members of the metadata that have answers: of an exact recording, and of a stream."""


def check_secrets(secrets: Secrets | None) -> dict[str, str]:
    """
    Return *secrets*.

    Raises:
        ReplayError: If it is not a mapping of texts to texts; the message has the names only.
    """
    if secrets is None:
        return {}
    if not isinstance(secrets, Mapping):
        raise ReplayError(f"secrets must be a mapping of names to secrets, got {type(secrets).__name__}")
    for name, secret in secrets.items():
        if not isinstance(name, str) or not isinstance(secret, str) or not secret:
            raise ReplayError(f"secrets must have a text for each name, got {type(secret).__name__} for {name!r:.100}")
    return dict(secrets)


def secrets_of_environment(given: list[str]) -> dict[str, str]:
    """
    Return the secrets that options of the form ``NAME=VARIABLE`` name.

    Raises:
        ReplayError: If one has another form, or its environment variable is not set.
    """
    found: dict[str, str] = {}
    for option in given:
        name, sign, variable = option.partition("=")
        if not (name and sign and variable):
            raise ReplayError(
                "--secret takes NAME=VARIABLE, the name of a masked member and of an environment variable"
            )
        if not os.environ.get(variable):
            raise ReplayError(
                f"--secret {name}={variable}: expected the environment variable {variable}, it is not set"
            )
        found[name] = os.environ[variable]
    return found


def unmasked(recorded: ObservationData, secrets: Secrets) -> ObservationData:
    """Return *recorded* with the *secrets* in its answer; masks of others stay."""
    if not secrets or not recorded.redacted:
        return recorded
    metadata = {
        name: _put_back(item, recorded.name, secrets) if name in _ANSWERS else item
        for name, item in recorded.metadata.items()
    }
    update = {"output": _put_back(recorded.output, recorded.name, secrets), "metadata": metadata}
    return recorded.model_copy(update=update)


def _put_back(value: Any, name: str, secrets: Secrets) -> Any:
    """Return *value*, which is the member *name*, with the secret of the innermost member that has one."""
    if type(value) is str:
        return value.replace(MASK, secrets[name]) if MASK in value and name in secrets else value
    if type(value) is list:
        return [_put_back(item, name, secrets) for item in value]
    if type(value) is dict:
        return {key: _put_back(item, key if key in secrets else name, secrets) for key, item in value.items()}
    return value
