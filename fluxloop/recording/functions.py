"""
The public functions for recording arguments: they configure the default client.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

from ..client import default
from . import recorder as recording


def enable_recording(output_file: str | PathLike[str] | None = None) -> None:
    """
    Record the arguments of every call of a function that is decorated with ``agent``.

    It is the same as ``fluxloop.configure(record_args=True, recording_file=output_file)``.

    Args:
        output_file: The file to which the calls are appended; by default the configured one.

    Raises:
        ConfigError: If *output_file* is not a path.
        WriteError: If its folder cannot be created.
    """
    if output_file is None:
        default.configure(record_args=True)
    else:
        default.configure(record_args=True, recording_file=output_file)


def disable_recording() -> None:
    """Stop recording arguments."""
    default.configure(record_args=False)


def record_call_args(target: str, *, iteration: int | None = None, **kwargs: Any) -> None:
    """
    Record the arguments of one call. Does nothing unless arguments are recorded.

    Args:
        target: What is called, as ``module:qualname``.
        iteration: The number of the call; by default one more than that of the last call of *target*.
        kwargs: The arguments.
    """
    recorder = default.recorder
    if recorder.settings.record_args:
        try:
            recording.append(recorder, target, kwargs, iteration)
        except Exception as exc:
            recorder.record_failure("recording arguments", exc)


def set_recording_options(*, iteration_auto_increment: bool | None = None) -> None:
    """
    Change how calls are numbered.

    Args:
        iteration_auto_increment: False numbers every call 0, unless `record_call_args` is given a number.
    """
    if iteration_auto_increment is not None:
        recording.increments = bool(iteration_auto_increment)
