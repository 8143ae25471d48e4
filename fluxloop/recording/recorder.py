"""
Append the arguments of calls to a recording.

`use` is called when a client starts or stops to record arguments. While one does, every call of a function that is
decorated with ``agent`` passes through `_record`; otherwise nothing here runs.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ..encoding.encoder import Encoder, Limits
from ..enums import ObservationType
from ..forks import after_fork
from ..interruptions import was_raised_from_outside
from ..storage.record_file import write_error
from ..tracing.arguments import binder
from ..tracing.calls import interceptors
from ..tracing.executions import Execution
from .encoding import tagged
from .lines import VERSION

if TYPE_CHECKING:
    from ..settings.schema import Settings
    from ..tracing.recorder import Recorder
    from ..tracing.tracer import Tracer

DEFAULT_FILE = Path("recordings/args_recording.jsonl")
"""Where arguments are recorded if ``recording_file`` is not set."""

LIMITS = Limits(leaf_bytes=16_000_000, value_bytes=64_000_000, depth=200)
"""Recorded arguments are to be used again, so they are only cut where they could fill the disk."""

MODE = 0o600

_recording: set[int] = set()
"""The ids of the clients that record arguments."""
_lock = threading.RLock()
_iterations: Counter[str] = Counter()
"""The next iteration of each target."""
increments = True
"""Whether the iteration of a target grows with each recorded call."""
_encoder_in_use: tuple[object, Encoder | None] = (None, None)
"""The last redactor, and the encoder that uses it."""


def use(tracer: Tracer, settings: Settings) -> None:
    """
    Start or stop recording the arguments of the calls of *tracer*, as *settings* say. Creates the folder of the file.

    Raises:
        WriteError: If the folder cannot be created.
    """
    with _lock:
        if settings.record_args:
            folder = file_of(settings).parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise write_error(exc, f"create the folder {folder} for recorded arguments") from exc
            _recording.add(id(tracer))
        else:
            _recording.discard(id(tracer))
        if _recording and _record not in interceptors:
            interceptors.append(_record)
        elif not _recording and _record in interceptors:
            interceptors.remove(_record)


def file_of(settings: Settings) -> Path:
    """Return the file for recorded arguments."""
    return Path(settings.recording_file or DEFAULT_FILE).absolute()


def _record(call: Execution, func: Callable[..., Any]) -> Callable[..., Any]:
    """Return *func*, or for a call of an agent a function that first records the arguments."""
    recorder: Recorder = call.trace.recorder
    spec = getattr(call, "spec", None)
    if spec is None or spec.type is not ObservationType.AGENT or not spec.capture_input:
        return func
    if not recorder.settings.record_args:
        return func

    def recorded(*args: Any, **kwargs: Any) -> Any:
        try:
            arguments = None
            with suppress(TypeError):  # they do not fit: the function itself raises
                arguments = (spec.bind or binder(func))(*args, **kwargs)
            if arguments is not None:
                append(recorder, target_of(func), arguments)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            recorder.record_failure("recording its arguments", exc)
        return func(*args, **kwargs)

    return recorded


def target_of(func: Callable[..., Any]) -> str:
    """Return ``module:qualname`` of a function; a script that is the main program is named by its file."""
    module = getattr(func, "__module__", None) or ""
    if module == "__main__":
        import sys

        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None)
        module = spec.name.removesuffix(".__main__") if spec else Path(file).stem if file else module
    return f"{module}:{getattr(func, '__qualname__', type(func).__qualname__)}"


def append(recorder: Recorder, target: str, kwargs: Mapping[str, Any], iteration: int | None = None) -> None:
    """
    Append one line to the recording.

    Args:
        recorder: Its settings name the file, and its redactor masks secrets.
        target: ``module:qualname``.
        kwargs: The arguments by name.
        iteration: The number of the call; by default the next one of this target.

    Raises:
        WriteError: If the line cannot be written.
    """
    with _lock:
        number = (_iterations[target] if increments else 0) if iteration is None else iteration
        _iterations[target] = number + 1
    line = b"".join(
        (
            b'{"_version":"' + VERSION.encode() + b'","iteration":',
            str(number).encode(),
            b',"target":',
            orjson.dumps(target),
            b',"kwargs":',
            _encoder(recorder).encode({name: tagged(value) for name, value in kwargs.items()}, _Marks()),
            b',"timestamp":"',
            datetime.now(UTC).isoformat().replace("+00:00", "Z").encode(),
            b'"}\n',
        )
    )
    path = file_of(recorder.settings)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, MODE)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)
    except OSError as exc:
        raise write_error(exc, f"record arguments in {path}") from exc


def _encoder(recorder: Recorder) -> Encoder:
    """Return the encoder for recorded arguments, with the redactor of *recorder*."""
    global _encoder_in_use
    redactor, encoder = _encoder_in_use
    if encoder is None or redactor is not recorder.redactor:
        encoder = Encoder(LIMITS, recorder.redactor)
        _encoder_in_use = (recorder.redactor, encoder)
    return encoder


class _Marks:
    redacted = 0
    truncated = 0


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_lock)
