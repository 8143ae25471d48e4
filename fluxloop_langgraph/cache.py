"""
A cache that reports its hits, which LangGraph reports to no handler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.cache.base import BaseCache


def _delegate(name: str) -> Any:
    return lambda self, *args, **options: getattr(self.cache, name)(*args, **options)


class ObservedCache(BaseCache[Any]):
    """The *cache* of one call of a graph; *on_hits* receives the result of each look-up."""

    def __init__(self, cache: BaseCache[Any], on_hits: Callable[[Mapping[Any, Any]], None]) -> None:
        self.cache = cache
        self.on_hits = on_hits
        self.serde = cache.serde

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cache, name)

    def get(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Like the cache's own."""
        found = self.cache.get(keys)
        self.on_hits(found)
        return found

    async def aget(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Like the cache's own."""
        found = await self.cache.aget(keys)
        self.on_hits(found)
        return found

    set, aset, clear, aclear = map(_delegate, ("set", "aset", "clear", "aclear"))


def with_observed_cache(resolved: Any, on_hits: Callable[[Mapping[Any, Any]], None]) -> Any:
    """Return *resolved*, the options LangGraph resolved for one call, with the cache among them observed."""
    if type(resolved) is not tuple:
        return resolved
    return tuple([ObservedCache(item, on_hits) if _is_unobserved(item) else item for item in resolved])


def _is_unobserved(item: object) -> bool:
    if type(item) in _PLAIN:  # asking an abstract class takes long
        return False
    return isinstance(item, BaseCache) and not isinstance(item, ObservedCache)


_PLAIN = frozenset({type(None), bool, str, tuple, list, set})
"""The classes of most options."""
