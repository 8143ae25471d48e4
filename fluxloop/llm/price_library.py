"""
The prices that the package ``genai-prices`` ships with, as rates for our token counts.

Only its data is used, which comes with the package: nothing here uses the network.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple


class Call(NamedTuple):
    """The facts that the price of one model call depends on, beside its counts."""

    model: str
    provider: str | None = None
    context: str = ""
    """As `context_of` returns it."""


class Rates(NamedTuple):
    """The prices of a million tokens; None where there is no price of its own."""

    input: float | None
    output: float | None
    cache_read: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    request: float = 0.0
    """The price of a call, whatever its tokens."""


Tiers = tuple[tuple[int, Rates], ...]
"""Rates in ascending order of the number of input tokens above which they apply, to all tokens of the call."""


@lru_cache(maxsize=1)
def _snapshot() -> Any:
    try:
        return import_module("genai_prices.data_snapshot").get_snapshot()
    except ImportError:
        return None


def library_tiers(call: Call, time: datetime) -> Tiers | None:
    """Return the rates of `genai-prices` for a call; None for a model that it does not know."""
    model = _library_model(call.model, call.provider)
    if model is None:
        return None
    context = dict(part.split("=", 1) for part in call.context.split("&") if part)
    prices = model.get_prices(time, context or None)
    starts = {0} | {tier.start for field in _FIELDS.values() for tier in getattr(getattr(prices, field), "tiers", ())}
    return tuple(
        (
            start,
            Rates(
                **{name: _rate(getattr(prices, field), start) for name, field in _FIELDS.items()}, request=_each(prices)
            ),
        )
        for start in sorted(starts)
    )


_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}
"""The fields of `genai-prices` by ours."""


def _rate(price: Any, start: int) -> float | None:
    """Return a price as it is for more than *start* input tokens."""
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return None if price is None else float(price)
    applicable = price.base
    for tier in tiers:
        if tier.start <= start and start:
            applicable = tier.price
    return float(applicable)


def _each(prices: Any) -> float:
    per_thousand = getattr(prices, "requests_kcount", None)
    return float(per_thousand) / 1000 if per_thousand is not None else 0.0


@lru_cache(maxsize=1024)
def _library_model(model: str, provider: str | None) -> Any:
    """
    Return what the library knows about a model of a provider.

    A provider that is unknown to it, or that does not offer the model there, is left out: records name providers as
    their frameworks do.
    """
    snapshot = _snapshot()
    if snapshot is None:
        return None
    for provider_id in dict.fromkeys((_PROVIDERS.get(provider or "", provider), None)):
        try:
            return snapshot.find_provider_model(model, None, provider_id, None)[1]
        except LookupError:
            continue
    return None


_PROVIDERS = {
    "gcp.gen_ai": "google",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "aws.bedrock": "aws",
    "bedrock": "aws",
    "azure_openai": "azure",
    "az.ai.openai": "azure",
    "mistral_ai": "mistral",
    "xai": "x-ai",
}
"""Providers as OpenTelemetry and LangChain name them, by the ids of `genai-prices`."""
