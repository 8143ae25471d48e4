"""
See which nodes a graph's cache answers for, which LangGraph tells nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.cache.base import BaseCache

from .handler import GraphHandler

INTERNAL = ("branch:", "__", "start:")
"""How the channels begin by which LangGraph steers itself."""


class WatchedCache(BaseCache[Any]):
    """The cache of one call of a graph, which tells *handler* of what it finds."""

    def __init__(self, cache: BaseCache[Any], handler: GraphHandler) -> None:
        self.cache = cache
        self.handler = handler
        self.serde = cache.serde

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cache, name)

    def get(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """As the cache's own."""
        return self._tell(self.cache.get(keys))

    async def aget(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """As the cache's own."""
        return self._tell(await self.cache.aget(keys))

    def set(self, pairs: Mapping[Any, Any]) -> None:
        """As the cache's own."""
        self.cache.set(pairs)

    async def aset(self, pairs: Mapping[Any, Any]) -> None:
        """As the cache's own."""
        await self.cache.aset(pairs)

    def clear(self, namespaces: Sequence[Any] | None = None) -> None:
        """As the cache's own."""
        self.cache.clear(namespaces)

    async def aclear(self, namespaces: Sequence[Any] | None = None) -> None:
        """As the cache's own."""
        await self.cache.aclear(namespaces)

    def _tell(self, found: dict[Any, Any]) -> dict[Any, Any]:
        for (namespace, _), writes in found.items():
            self.handler.cached(_node(namespace), _written(writes))
        return found


def _node(namespace: Sequence[str]) -> str:
    """Return which node's cache *namespace* is; that of a task has only the path of its function."""
    name = str(namespace[-1])
    return name if len(namespace) > 2 else name.rpartition(".")[2]


def _written(writes: Any) -> object:
    try:
        written = {channel: value for channel, value in writes if not channel.startswith(INTERNAL)}
    except (TypeError, ValueError, AttributeError):  # not what this LangGraph keeps, so as it is
        return writes
    return written or dict(writes).get("__return__")


def watched(settled: tuple[Any, ...], handler: GraphHandler) -> tuple[Any, ...]:
    """Return *settled*, what a graph settles for a call, with the cache among it watched by *handler*."""
    return tuple(
        WatchedCache(one, handler) if isinstance(one, BaseCache) and type(one) is not WatchedCache else one
        for one in settled
    )
