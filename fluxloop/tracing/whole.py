"""
Keep answers whole: what ``replayable=True`` records beside the output, so that a replay returns an equal object.

The output of a record is written for readers: objects become plain data, and what is long is cut. The member ``replay``
of the metadata has the same answer with its types, where the output alone does not determine it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..encoding import typed_errors  # noqa: F401 - for errors, which are recorded where no module may be imported
from ..encoding.typed import UntypedError, is_plain, typed
from ..enums import ObservationType
from ..interruptions import was_raised_from_outside
from .calls import interceptors
from .executions import Execution
from .generators import is_awaitable

if TYPE_CHECKING:
    from ..settings.schema import Settings
    from .observation import OpenObservation

ANSWERS = frozenset(
    {ObservationType.GENERATION, ObservationType.TOOL, ObservationType.RETRIEVAL, ObservationType.EMBEDDING}
)
"""The types of observations whose calls a replay answers."""

WHOLE_BYTES = 16_777_216
"""The size limit of a text, a value and a stream with ``replayable=True``, unless larger ones are set."""
WHOLE_ITEMS = 100_000
"""The items of a stream with ``replayable=True``, unless more are set."""


def keeping_whole(settings: Settings) -> Settings:
    """Return *settings* with the limits of ``replayable=True``."""
    sizes = {name: max(WHOLE_BYTES, getattr(settings, name)) for name in _SIZES}
    items = max(WHOLE_ITEMS, settings.max_stream_items)
    return replace(settings, **sizes, max_stream_items=items, capture_vectors=True)


_SIZES = ("max_leaf_bytes", "max_value_bytes", "max_stream_bytes")


def keep_answers_of(client: object, is_on: bool) -> None:
    """Keep the answers of the calls that *client* records from now on, or no longer."""
    (_clients.add if is_on else _clients.discard)(client)
    if _clients and keep_whole not in interceptors:
        interceptors.append(keep_whole)
    elif not _clients and keep_whole in interceptors:
        interceptors.remove(keep_whole)
    for follow in list(_followers.values()):
        follow(bool(_clients))


def on_keeping(adapter: str, follow: Callable[[bool], None]) -> None:
    """
    Call *follow* with whether answers are kept: now, and each time that a client begins or stops to keep them.

    So an adapter replaces methods of its framework only while answers are kept. A second call for the same *adapter*,
    which was imported again, replaces the first.
    """
    if (earlier := _followers.get(adapter)) is not None:
        earlier(False)
    _followers[adapter] = follow
    follow(bool(_clients))


_followers: dict[str, Callable[[bool], None]] = {}
_clients: WeakSet[Any] = WeakSet()
"""The clients whose answers are kept; without one, recorded calls have no interceptor."""


def add_whole(observation: OpenObservation, **parts: Any) -> None:
    """
    Record *parts* of an answer with their types, if the settings ask for it: ``value``, or the ``items`` of a stream.

    An answer that cannot be replayed is reported once, when it is recorded.
    """
    recorder = observation.trace.recorder
    if not recorder.settings.replayable:
        return
    try:
        found = {name: typed(part) for name, part in parts.items()}
    except UntypedError as untyped:
        found = {"unsupported": str(untyped)}
        message = f"an answer of {observation.label} cannot be replayed: {untyped} is not data"
        recorder.counts.problems.log_once(message, message)
    except Exception as exc:  # of code in the object's class
        if was_raised_from_outside(exc):
            raise
        found = {"unsupported": type(exc).__name__}
    observation.add_metadata(replay={**((observation.metadata or {}).get("replay") or {}), **found})


def keep_whole(call: Execution, func: Callable[..., Any]) -> Callable[..., Any]:
    """Return *func* with its answer kept whole; an interceptor, see `fluxloop.tracing.calls`."""
    observation = call.observation
    if observation is not None and call.parent is None and call.trace.recorder.settings.replayable:
        module, name = getattr(func, "__module__", None), getattr(func, "__qualname__", None)
        if module and name:  # an instance that is called, such as a partial, has no name
            observation.add_metadata(target=f"{module}:{name}")
    is_kept = observation is not None and call.spec.type in ANSWERS and call.spec.capture_output
    if observation is None or not (is_kept and call.trace.recorder.settings.replayable):
        return func
    items = _Items(observation)
    if inspect.isasyncgenfunction(func):
        return lambda *args, **kwargs: items.astream(func(*args, **kwargs))
    if inspect.isgeneratorfunction(func) and not is_awaitable(getattr(func, "__code__", None)):
        return lambda *args, **kwargs: items.stream(func(*args, **kwargs))
    if inspect.iscoroutinefunction(func):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return items.value(await func(*args, **kwargs))

        return awaited

    def called(*args: Any, **kwargs: Any) -> Any:
        value = func(*args, **kwargs)
        for kind, (shape, keep) in _STREAMS.items():
            if issubclass(type(value), kind) and not is_awaitable(getattr(value, "gi_code", None)):
                observation.add_metadata(replay={"shape": shape})
                return keep(items, value)
        if _is_future(value):
            observation.add_metadata(replay={"shape": "task"})
            return items.future(value)
        return items.value(value)

    return called


def _is_future(value: Any) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(value, asyncio.Future)


class _Items:
    """Keeps the answer of one call."""

    def __init__(self, observation: OpenObservation) -> None:
        self._observation = observation
        self._items: list[Any] = []

    def value(self, value: Any) -> Any:
        """Keep and return *value*."""
        if not is_plain(value):
            add_whole(self._observation, value=value)
        return value

    def _item(self, item: Any) -> Any:
        self._items.append(item)
        return item

    def _end(self, *, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_exiting():  # nothing is recorded any more, see `fluxloop.tracing.generators.drive_generator`
            return
        if not all(map(is_plain, self._items)):
            add_whole(self._observation, items=self._items)

    def stream(self, body: Any) -> Any:
        """Run the generator *body*, and keep its items."""
        try:
            resume: Any = lambda: body.send(None)  # noqa: E731 - replaced for each item
            while True:
                try:
                    item = resume()
                except StopIteration as stop:
                    return stop.value
                try:
                    sent = yield self._item(item)
                except GeneratorExit:
                    body.close()
                    raise
                except BaseException as exc:
                    thrown = exc
                    resume = lambda thrown=thrown: body.throw(thrown)  # noqa: E731
                else:
                    resume = lambda sent=sent: body.send(sent)  # noqa: E731
        finally:
            self._end()

    async def astream(self, body: Any) -> AsyncIterator[Any]:
        """Run the async generator *body*, and keep its items."""
        try:
            resume: Any = lambda: body.asend(None)  # noqa: E731 - replaced for each item
            while True:
                try:
                    item = await resume()
                except StopAsyncIteration:
                    return
                try:
                    sent = yield self._item(item)
                except GeneratorExit:
                    await body.aclose()
                    raise
                except BaseException as exc:
                    thrown = exc
                    resume = lambda thrown=thrown: body.athrow(thrown)  # noqa: E731
                else:
                    resume = lambda sent=sent: body.asend(sent)  # noqa: E731
        finally:
            self._end()

    async def coroutine(self, body: Any) -> Any:
        """Await *body*, and keep its result."""
        return self.value(await body)

    def future(self, future: Any) -> Any:
        """Keep the result of *future* before the recording of the call ends with it; return *future*."""
        if future.done():
            self._result(future)
        else:
            future.add_done_callback(self._result)
        return future

    def _result(self, future: Any) -> None:
        # Do not call `exception()`: asyncio would then consider the failure as retrieved, and not log it.
        if not future.cancelled() and getattr(future, "_exception", None) is None:
            self.value(future.result())


_STREAMS: dict[type, tuple[str, Callable[[_Items, Any], Any]]] = {
    GeneratorType: ("generator", _Items.stream),
    AsyncGeneratorType: ("async generator", _Items.astream),
    CoroutineType: ("coroutine", _Items.coroutine),
}
"""What a plain function may return that ends later: the name of its shape, and what keeps its answer."""
