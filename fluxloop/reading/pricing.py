"""
Price what was recorded, when it is read: the prices of this project, and the cost of a trace.

The prices are those of ``[tool.fluxloop.prices]`` in pyproject.toml, and of ``genai-prices`` for all other models.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING

import orjson

from ..llm.prices import Cost, Counts, Prices, Pricing, context_of
from ..settings.layers import project_table
from .catalog.costs import cost_of_call, cost_of_facts
from .catalog.facts import CODES, Fact, Label

if TYPE_CHECKING:
    from ..models import ObservationData, Trace

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def project_pricing() -> Pricing | None:
    """
    Return the prices of this project; None if it has no table and ``genai-prices`` is not installed.

    Raises:
        PriceError: If the table has a mistake.
    """
    table, source = project_table("prices")
    if not table and find_spec("genai_prices") is None:
        return None
    return _pricing(orjson.dumps(table, default=str, option=orjson.OPT_NON_STR_KEYS), source)


@lru_cache(maxsize=8)
def _pricing(table: bytes, source: str) -> Pricing:
    return Pricing(Prices(orjson.loads(table), source=source), f"{_library_version()} {sha256(table).hexdigest()[:16]}")


def _library_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("genai-prices")
    except PackageNotFoundError:
        return "none"


def cost_of_trace(trace: Trace) -> Cost | None:
    """Return the cost of a trace that was read; None where there are no prices."""
    pricing = project_pricing()
    if pricing is None:
        return None
    labels: list[Label] = []
    facts: dict[str, Fact] = {}
    for observation in trace.observations:
        status = CODES.get(str(observation.status), -1)
        facts[observation.id] = (observation.parent_id, len(labels), status, False, None, _counts(observation))
        labels.append(_label(observation))
    return cost_of_facts(facts, labels.__getitem__, pricing.prices, trace.start_time or _EPOCH)


def cost_of_observation(observation: ObservationData, time: datetime | None) -> Cost | None:
    """Return the cost of an observation's own usage, at the prices of *time*; None without usage or prices."""
    counts, pricing = _counts(observation), project_pricing()
    if counts is None or pricing is None:
        return None
    return cost_of_call(_label(observation), counts, pricing.prices, time or _EPOCH)


def _counts(observation: ObservationData) -> Counts | None:
    usage = observation.usage
    return tuple(dict(usage).values()) if usage and usage.reported else None


def _label(observation: ObservationData) -> Label:
    context = context_of(observation.metadata, observation.model_parameters, observation.output)
    return Label(observation.type.name, observation.name, observation.model, observation.provider, context)
