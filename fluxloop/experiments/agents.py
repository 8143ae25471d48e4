"""
Agents: what a run calls, and how its answer is collected from functions of any kind.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Protocol

from .binding import Offer
from .inputs import PlannedRun
from .stream_text import StreamText


class Agent(Protocol):
    """What is run: a function, an HTTP endpoint or a process, for the turns of one run."""

    async def answer(self, offer: Offer) -> Any:
        """Return the output for the input, or the user's message, in *offer*."""

    async def close(self) -> None:
        """End what belongs to this run only."""


class AgentSource(Protocol):
    """Creates the agent of each run."""

    name: str

    def agent(self, planned: PlannedRun) -> Agent:
        """Return the agent for one run."""

    async def close(self) -> None:
        """End what the agents of all runs share."""


@dataclass(slots=True)
class Sent:
    """What a target returned, together with what it sent through callbacks of a replayed recording."""

    returned: Any
    messages: dict[str, list[Any]]

    @property
    def output(self) -> Any:
        """What the target returned, or else what it sent last."""
        sent = self.messages.get("send")
        return sent[-1] if self.returned is None and sent else self.returned


ITEMS_AT_ONCE = 500
"""Items of an async stream after which other runs have their turn."""


async def collected(call: Callable[[], Any], *, is_async: bool, stream_path: str | None) -> Any:
    """
    Return the output of *call*: what it returns, awaits or streams.

    Args:
        call: Calls the target.
        is_async: False for a function that runs in a thread of its own, with the context of the caller.
        stream_path: See `StreamText`.
    """
    value = call() if is_async else await in_thread(lambda: _exhausted(call(), stream_path))
    if type(value) is CoroutineType:
        value = await value
    if type(value) is str:  # the usual case; the checks below take longer than a short run
        return value
    if inspect.isawaitable(value):
        value = await value
    if hasattr(value, "__aiter__"):
        text = StreamText(stream_path)
        count = 0
        async for item in value:
            text.add(item)
            count += 1
            if not count % ITEMS_AT_ONCE:  # a stream that never waits lets neither timeouts nor other runs go on
                await asyncio.sleep(0)
        return text.output
    return _exhausted(value, stream_path) if is_async and _is_iterator(value) else value


def _exhausted(value: Any, stream_path: str | None) -> Any:
    """Return the text of *value* if it is an iterator, such as a generator, or else *value*."""
    if not _is_iterator(value):
        return value
    text = StreamText(stream_path)
    for item in value:
        text.add(item)
    return text.output


def _is_iterator(value: Any) -> bool:
    return hasattr(value, "__next__") and not inspect.isawaitable(value) and not hasattr(value, "read")


def in_thread(call: Callable[[], Any]) -> Awaitable[Any]:
    """
    Return the future result of *call* in a thread of its own, with a copy of the current context.

    The thread is a daemon: a call that goes on after its timeout does not delay the end of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(call)
        except (StopIteration, KeyboardInterrupt, GeneratorExit) as exc:
            # None can be raised into a future or its task. Ctrl-C is raised in the main thread only, so these are the
            # target's own.
            error = RuntimeError(f"the target raised {type(exc).__name__}: {exc}")
        except BaseException as exc:
            error = exc
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop was closed: the run timed out before
            return

    threading.Thread(target=work, name="fluxloop-run", daemon=True).start()
    return future
