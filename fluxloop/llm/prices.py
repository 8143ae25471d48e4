"""
Price model calls: from a table of the user's, or from the data that the package ``genai-prices`` ships with.

Prices are per million tokens, in US dollars. A call whose model or counts are unknown has no price, which is not the
same as a price of zero. Nothing here uses the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any

from ..errors import PriceError
from .price_library import Call, Rates, Tiers, library_tiers

Counts = tuple[int | None, int | None, int | None, int | None, int | None, int | None]
"""Input, output, total, cache read, cache write and reasoning tokens, as in `fluxloop.models.Usage`."""

CONTEXT_NAMES = frozenset({"service_tier", "processing", "speed"})
"""What a request can say about its price: OpenAI's and Google's tier, ``processing="batch"``, Anthropic's speed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of one or more model calls. It can be compared with an amount in dollars: ``trace.cost < 0.01``."""

    dollars: float = 0.0
    """Of the calls whose price is known."""
    calls: int = 0
    """Priced calls."""
    unknown: tuple[str, ...] = ()
    """The models of the calls whose price is unknown, in order of appearance; ``""`` for a call without a model."""

    @property
    def amount(self) -> float | None:
        """The dollars, rounded to what a price list can mean; None if no call has a price."""
        return round(self.dollars, 10) if self.calls else None

    @property
    def is_known(self) -> bool:
        """Whether every call has a price."""
        return not self.unknown

    def __lt__(self, dollars: float) -> bool:
        return self._known() < dollars

    def __le__(self, dollars: float) -> bool:
        return self._known() <= dollars

    def __gt__(self, dollars: float) -> bool:
        return self._known() > dollars

    def __ge__(self, dollars: float) -> bool:
        return self._known() >= dollars

    def _known(self) -> float:
        """Return the dollars, for a comparison, which needs the price of every call."""
        if self.unknown:
            model = self.unknown[0] or "a call without a model"
            raise PriceError(
                f"a cost cannot be compared: no price of {model} is known; add it to [tool.fluxloop.prices]"
            )
        return self.dollars

    def __add__(self, other: Cost) -> Cost:
        """Return the sum."""
        unknown = (*self.unknown, *(name for name in other.unknown if name not in self.unknown))
        return Cost(self.dollars + other.dollars, self.calls + other.calls, unknown)


def context_of(*holders: object) -> str:
    """Return what *holders* (metadata, parameters, an output) say of the price: ``"service_tier=flex"``, or ``""``."""
    found: dict[str, str] = {}
    for holder in holders:
        if isinstance(holder, dict) and not CONTEXT_NAMES.isdisjoint(holder):
            for name in CONTEXT_NAMES:
                if isinstance(value := holder.get(name), str) and value:
                    found.setdefault(name, value)
    return "" if not found else "&".join(f"{name}={value}" for name, value in sorted(found.items()))


class Prices:
    """
    Prices of model calls: those of *table* first, then those of ``genai-prices``, if it is installed.

    Args:
        table: For each model, or pattern of models with ``*``, its prices per million tokens by the fields of `Rates`.
        source: Where the table comes from, for messages.

    Raises:
        PriceError: If the table has a mistake; the message names the entry.
    """

    def __init__(self, table: Mapping[str, Any] | None = None, *, source: str = "prices") -> None:
        self._own = [(_pattern(model), _own_rates(model, given, source)) for model, given in (table or {}).items()]
        self._tiers = lru_cache(maxsize=4096)(self._found_tiers)

    def cost(self, call: Call, counts: Counts, time: datetime) -> Cost:
        """Return the price of one call, at the prices of *time*."""
        tiers = self.tiers(call, time)
        dollars = dollars_of(tiers, counts) if tiers else None
        return Cost(unknown=(call.model,)) if dollars is None else Cost(dollars, 1)

    def tiers(self, call: Call, time: datetime) -> Tiers | None:
        """Return the prices of *call* in the minute of *time*, for `dollars_of`; None if they are unknown."""
        return self._tiers(call, time.astimezone(UTC).replace(second=0, microsecond=0))

    def _found_tiers(self, call: Call, time: datetime) -> Tiers | None:
        own = next((rates for matches, rates in self._own if matches(call.model)), None)
        if own is not None:
            return ((0, own),)
        return library_tiers(call, time)


@dataclass(frozen=True, slots=True)
class Pricing:
    """Prices, and a text that is another one when they change."""

    prices: Prices
    version: str


def dollars_of(tiers: Tiers, counts: Counts) -> float | None:
    """Return the price of a call; None if its counts have no price."""
    given_input, given_output, total, cache_read, cache_write, reasoning = counts
    if given_input is None and given_output is None:
        return None if total else tiers[0][1].request or None
    input_tokens, output_tokens = given_input or 0, given_output or 0
    rates = tiers[0][1]
    for above, of_tier in tiers:
        if input_tokens > above:
            rates = of_tier
    if not (cache_read or cache_write or reasoning) and rates.input is not None and rates.output is not None:
        return (input_tokens * rates.input + output_tokens * rates.output) / 1e6 + rates.request
    parts = [
        *_parts(input_tokens, rates.input, (cache_read, rates.cache_read), (cache_write, rates.cache_write)),
        *_parts(output_tokens, rates.output, (reasoning, rates.reasoning)),
    ]
    if any(rate is None for count, rate in parts if count):
        return None
    return sum(count * rate for count, rate in parts if rate is not None) / 1e6 + rates.request


def _parts(whole: int, rate: float | None, *details: tuple[int | None, float | None]) -> list[tuple[int, float | None]]:
    """Split *whole* tokens into those of *details* that have a rate of their own, and the rest at *rate*."""
    parts: list[tuple[int, float | None]] = []
    for count, own_rate in details:
        if count and own_rate is not None:
            count = min(count, whole)
            parts.append((count, own_rate))
            whole -= count
    return [*parts, (whole, rate)]


def _pattern(model: str) -> Callable[[str], bool]:
    from fnmatch import fnmatchcase

    wanted = model.lower()
    return lambda name: fnmatchcase(name.lower(), wanted)


def _own_rates(model: str, given: Any, source: str) -> Rates:
    accepted = ", ".join(Rates._fields)
    if not isinstance(given, Mapping) or not given:
        raise PriceError(f"{source}: {model!r} must be a table with prices ({accepted}), got {given!r}")
    for name, price in given.items():
        if name not in Rates._fields:
            raise PriceError(f"{source}: {model!r} has no price {name!r} (accepted: {accepted})")
        if isinstance(price, bool) or not isinstance(price, int | float) or not isfinite(price) or price < 0:
            raise PriceError(
                f"{source}: {name} of {model!r} must be a number of dollars per million tokens, got {price!r}"
            )
    return Rates(**{"input": None, "output": None, **given})
