"""
Create the agent of each run: a Python function, with bound or with recorded arguments.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import ConfigError
from .agents import Agent, AgentSource, Sent, collected
from .binding import Binding, Offer
from .configuration.loading import Loaded
from .inputs import Plan, PlannedRun
from .replaying import Replay, replay_of
from .targets import Target, find_target


class FunctionSource:
    """
    Calls a Python function.

    Args:
        target: The function.
        binding: Makes its arguments; None with *replay*.
        replay: Recorded arguments.
        stream_path: See `fluxloop.experiments.stream_text.StreamText`.
    """

    def __init__(
        self, target: Target, binding: Binding | None, replay: Replay | None, stream_path: str | None = None
    ) -> None:
        self.name = target.name
        self.target, self.binding, self.replay, self.stream_path = target, binding, replay, stream_path
        self.is_async = target.is_async

    def agent(self, planned: PlannedRun) -> Agent:
        """Return the function as the agent of one run; a new instance if so configured."""
        return _FunctionAgent(self, self.target.for_run(), planned.number)

    async def close(self) -> None:
        """Do nothing."""


class _FunctionAgent:
    def __init__(self, source: FunctionSource, function: Callable[..., Any], run: int) -> None:
        self._source, self._function, self._run = source, function, run

    async def answer(self, offer: Offer) -> Any:
        source, function = self._source, self._function
        if source.replay is not None:
            kwargs, collector = source.replay.arguments(self._run, offer.value)
            returned = await self._collected(lambda: function(**kwargs))
            await collector.wait_for_first(returned)
            return Sent(returned, collector.messages()) if collector.has_messages else returned
        assert source.binding is not None
        args, kwargs = source.binding.arguments(offer)
        return await self._collected(lambda: function(*args, **kwargs))

    def _collected(self, call: Callable[[], Any]) -> Awaitable[Any]:
        return collected(call, is_async=self._source.is_async, stream_path=self._source.stream_path)

    async def close(self) -> None:
        """Do nothing."""


def source_of(loaded: Loaded, plan: Plan, target: Target | None = None) -> AgentSource:
    """
    Return what the configuration says is to be run.

    Raises:
        ConfigError: If it cannot be found, or if an argument is missing.
    """
    config = loaded.config
    runner = config.runner
    _check_kind(loaded, target)
    if target is None and runner.http is not None:
        from .runners.http import HttpSource

        return HttpSource(runner.http)
    if target is None and runner.process is not None:
        from .runners.process import ProcessSource

        return ProcessSource(runner.process, loaded.base)
    place = loaded.place("runner", "target")
    if target is None:
        target = find_target(runner, place)
    replay = None
    binding = None
    if config.replay_args.enabled:
        replay = replay_of(config.replay_args, loaded.base, target.name)
    else:
        try:
            binding = Binding(target.call, target.name, runner.args)
            for entry in plan.entries:
                binding.check(entry.value)
        except ConfigError as exc:
            raise ConfigError(f"{place}: {exc}") from None
    return FunctionSource(target, binding, replay, runner.stream_output_path)


def _check_kind(loaded: Loaded, target: Target | None) -> None:
    """Raise ConfigError if the configuration names several things to run, or an address that is not one of HTTP."""
    runner = loaded.config.runner
    named = [name for name in ("target", "module_path", "http", "process") if getattr(runner, name)]
    if target is None and len(named) > 1:
        raise ConfigError(f"{loaded.place('runner', named[-1])}: runner has {', '.join(named)}; keep one of them")
    if target is None and runner.http is not None and not runner.http.url.lower().startswith(("http://", "https://")):
        place = loaded.place("runner", "http", "url")
        raise ConfigError(f"{place}: url must begin with http:// or https://, got {runner.http.url!r}")
