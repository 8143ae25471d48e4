"""
Call a target with the arguments of recorded calls, with one of them replaced by the input of the run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..recording.decoding import Provider, restored
from ..recording.lines import RecordedCall, read_recording
from ..report import log
from .configuration.models import ReplayArgs

FIRST_MESSAGE_S = 5.0
"""Seconds to wait for the first message, if a target returns nothing and sends its answer later."""


class Replay:
    """
    Recorded calls as the arguments of runs.

    Args:
        calls: The recorded calls; at least one.
        config: Which call a run uses, which argument is replaced, and what callables become.
    """

    def __init__(self, calls: list[RecordedCall], config: ReplayArgs) -> None:
        self.calls, self._config = calls, config

    def arguments(self, run: int, value: Any) -> tuple[dict[str, Any], Collector]:
        """
        Return the arguments of one run, and what collects the messages that the target sends.

        Raises:
            ConfigError: If a recorded callable has no provider.
        """
        number = len(self.calls) - 1 if self._config.mode == "last" else run % len(self.calls)
        collector = Collector()
        kwargs: dict[str, Any] = restored(self.calls[number].kwargs, lambda found: self._provided(found, collector))
        path = self._config.override_param_path
        if path and value is not None and self._config.mode != "each":
            override(kwargs, path, value)
        return kwargs, collector

    def _provided(self, found: Provider, collector: Collector) -> Callable[..., Any]:
        """Return the callable that replaces a recorded one."""
        wanted = self._config.callable_providers.get(found.parameter) or found.name
        name = wanted.removeprefix("builtin:")
        if name == "collector.send":
            return collector.send
        if name == "collector.error":
            return collector.error
        if ":" in name:
            from .targets import import_module, split

            module, path = split(name, "replay_args.callable_providers")
            provided: Any = import_module(module, "replay_args.callable_providers")
            for part in path.split("."):
                provided = getattr(provided, part)
            return provided  # type: ignore[no-any-return]
        raise ConfigError(
            f"the recorded call has the callable {found.name!r} for {found.parameter!r}, which has no provider. Add to "
            f"replay_args.callable_providers:  {found.parameter}: builtin:collector.send  (or module:function)"
        )


class Collector:
    """Stands in for callbacks: keeps what the target sends. Its functions may be awaited or not, from any thread."""

    def __init__(self) -> None:
        self._messages: dict[str, list[Any]] = {}
        self._lock = threading.Lock()

    def send(self, *args: Any, **kwargs: Any) -> Any:
        """Keep a message."""
        return self._keep("send", args, kwargs)

    def error(self, *args: Any, **kwargs: Any) -> Any:
        """Keep an error."""
        return self._keep("error", args, kwargs)

    def _keep(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        payload = args[0] if len(args) == 1 and not kwargs else {"args": list(args), "kwargs": kwargs}
        with self._lock:
            self._messages.setdefault(kind, []).append(payload)
        return _Done()

    @property
    def has_messages(self) -> bool:
        """Whether anything was sent."""
        return bool(self._messages)

    def messages(self) -> dict[str, list[Any]]:
        """Return what was sent so far, by kind."""
        with self._lock:
            return {kind: list(items) for kind, items in self._messages.items()}

    async def wait_for_first(self, returned: Any) -> None:
        """Wait for a message of a target that returned nothing, if it left tasks that may send one."""
        deadline = asyncio.get_running_loop().time() + FIRST_MESSAGE_S
        mine = asyncio.current_task()
        while returned is None and not self._messages and asyncio.get_running_loop().time() < deadline:
            if not any(task is not mine and _is_of_run(task) for task in asyncio.all_tasks()):
                return
            await asyncio.sleep(0.01)


def _is_of_run(task: asyncio.Task[Any]) -> bool:
    """Whether *task* was started by a target: it is not one of the experiment's own."""
    return not task.get_name().startswith("fluxloop-")


class _Done:
    """What a callback returns: it can be awaited, and is None then."""

    def __await__(self) -> Any:
        return iter(())


def replay_of(config: ReplayArgs, base: Path, target: str) -> Replay:
    """
    Read the recording that the configuration names.

    Raises:
        ConfigError: If there is none, or if it has no call.
    """
    if not config.recording_file:
        raise ConfigError(
            "replay_args is enabled without recording_file. Record a call with: fluxloop record enable, "
            "or set replay_args.recording_file"
        )
    path = base / Path(config.recording_file).expanduser()
    calls = list(read_recording(path))
    if not calls:
        raise ConfigError(f"{path} has no recorded call. Run the program with record_args=True first")
    matching = [call for call in calls if call.target == target]
    if not matching:
        log.warning("%s has no call of %s; the calls of %s are used", path, target, calls[-1].target)
    return Replay(matching or calls, config)


def override(kwargs: dict[str, Any], path: str, value: Any) -> bool:
    """
    Replace the value at the dotted *path* in *kwargs*, through keys, attributes and indexes.

    Where the path does not exist, the only argument, or the one with the name of an input, is replaced instead.

    Returns:
        Whether something was replaced.
    """
    *parents, last = path.split(".")
    holder: Any = kwargs
    for part in parents:
        holder = _child(holder, part)
        if holder is None:
            break
    if holder is not None and _has(holder, last):
        _set(holder, last, value)
        return True
    from .binding import INPUT_NAMES

    name = next((each for each in INPUT_NAMES if isinstance(kwargs.get(each), str)), None)
    texts = [key for key, item in kwargs.items() if isinstance(item, str)]
    name = name or (texts[0] if len(texts) == 1 else None)
    if name is None:
        raise ConfigError(
            f"replay_args.override_param_path is {path!r}, which the recorded call does not have; its arguments are "
            f"{', '.join(kwargs) or 'none'}. Set it to the path of the input, or to null to change nothing"
        )
    kwargs[name] = value
    return True


def _child(holder: Any, part: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(part)
    if isinstance(holder, list | tuple):
        return holder[int(part)] if part.isdecimal() and int(part) < len(holder) else None
    return getattr(holder, part, None)


def _has(holder: Any, part: str) -> bool:
    if isinstance(holder, Mapping):
        return part in holder
    if isinstance(holder, MutableSequence):
        return part.isdecimal() and int(part) < len(holder)
    return hasattr(holder, part)


def _set(holder: Any, part: str, value: Any) -> None:
    if isinstance(holder, MutableMapping):
        holder[part] = value
    elif isinstance(holder, MutableSequence):
        holder[int(part)] = value
    else:
        object.__setattr__(holder, part, value)  # frozen models and dataclasses too
