"""
What a collector accepts of one client and of all: sizes, times, rates.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a collector."""

    body_bytes: int = 16 << 20
    """Of a request, as it is sent."""
    unpacked_bytes: int = 64 << 20
    """Of a request, when it is decompressed."""
    waiting_bytes: int = 256 << 20
    """Of all requests that are being received or written."""
    body_s: float = 30.0
    """The time in which a request must be received."""
    header_s: float = 10.0
    """The time in which the headers of a request must be received."""
    answer_s: float = 60.0
    """The time in which a client must take the next part of an answer."""
    connections: int = 512
    requests_per_s: float = 1_000.0
    """Of one key, or of one address where there are no keys; short bursts of twice as many are accepted."""


class Rates:
    """
    A bucket of tokens per client, which fills at a constant rate.

    Args:
        per_s: Requests per second.
    """

    MAX_CLIENTS = 10_000
    """Clients that are remembered; the one that was silent for the longest time is forgotten first."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Take a token of *client*; return 0, or the seconds after which there is one."""
        now = monotonic()
        tokens, before = self._buckets.get(client, (2 * self._per_s, now))
        tokens = min(2 * self._per_s, tokens + (now - before) * self._per_s)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
        self._buckets[client] = (tokens if wait else tokens - 1, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > self.MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait
