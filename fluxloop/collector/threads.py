"""
Threads for what would block the event loop, limited by what it is: parsing, writing, reading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")


class Threads:
    """Runs functions in threads; slow queries leave threads for writing."""

    def __init__(self) -> None:
        self._parsers = CapacityLimiter(2)
        self._writers = CapacityLimiter(64)
        self._readers = CapacityLimiter(8)

    async def parse(self, function: Callable[..., T], *args: object) -> T:
        """Call a function that computes."""
        return await to_thread.run_sync(function, *args, limiter=self._parsers)

    async def write(self, function: Callable[..., T], *args: object) -> T:
        """Call a function that waits until something is durable; it is not abandoned if the request is."""
        return await to_thread.run_sync(function, *args, limiter=self._writers)

    async def read(self, function: Callable[..., T], *args: object) -> T:
        """Call a function that reads a store."""
        return await to_thread.run_sync(function, *args, limiter=self._readers)
