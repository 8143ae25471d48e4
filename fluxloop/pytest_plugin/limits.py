"""The mark ``fluxloop``: limits on what a test records."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

from ..testing import Captured
from . import recording


@dataclass(frozen=True)
class Limits:
    """The arguments of the mark; None means no limit."""

    budget_tokens: int | None = None
    budget_cost: float | None = None
    max_model_calls: int | None = None
    no_network: bool = False


def limits_of(item: pytest.Item) -> Limits:
    """
    Return the limits of *item*: of all its marks, the nearest counts.

    Raises:
        pytest.UsageError: If a mark has an unknown argument, or one of the wrong type.
    """
    given: dict[str, object] = {}
    for mark in item.iter_markers("fluxloop"):
        if mark.args:
            raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.fluxloop takes arguments by name only: {_known()}")
        given = {**mark.kwargs, **given}
    for name, value in given.items():
        _check(item, name, value)
    return Limits(**given)  # type: ignore[arg-type]  # checked above


def _known() -> str:
    return ", ".join(field.name for field in fields(Limits))


def _check(item: pytest.Item, name: str, value: object) -> None:
    if name not in {field.name for field in fields(Limits)}:
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.fluxloop has no argument {name!r}; it has {_known()}")
    is_flag = name == "no_network"
    fits = isinstance(value, bool) if is_flag else isinstance(value, int | float) and not isinstance(value, bool)
    if not (fits or value is None):
        expected = "True or False" if is_flag else "a number"
        raise pytest.UsageError(f"{item.nodeid}: {name} of @pytest.mark.fluxloop is {value!r}, expected {expected}")


def check_limits(item: pytest.Item, captured: Captured | None) -> None:
    """Fail the test if what it recorded is over one of its limits."""
    limits = limits_of(item)
    if captured is None or limits == Limits(no_network=limits.no_network):
        return
    if recording.is_replaced(item):
        pytest.fail(f"the limits of the test cannot be checked: {recording.REPLACED}", pytrace=False)
    traces = recording.all_traces(item)
    for what, used, limit in (
        ("token", recording.tokens(traces), limits.budget_tokens),
        ("model call", recording.model_calls(traces), limits.max_model_calls),
    ):
        if limit is not None and used > limit:
            plural = "" if used == 1 else "s"
            pytest.fail(f"the test used {used:,} {what}{plural}, its limit is {limit:,}", pytrace=False)
    if limits.budget_cost is not None:
        costs = [cost for trace in traces if (cost := trace.cost) is not None]
        unknown = next((model for cost in costs for model in cost.unknown), None)
        if unknown is not None or (recording.model_calls(traces) and not costs):
            pytest.fail(
                f"the cost of the test is unknown: no price of {unknown or 'any model'} is known. Install "
                "fluxloop[cost], or add the price to [tool.fluxloop.prices] in pyproject.toml",
                pytrace=False,
            )
        if (dollars := sum(cost.dollars for cost in costs)) > limits.budget_cost:
            pytest.fail(f"the test cost ${dollars:.6f}, its limit is ${limits.budget_cost:.6f}", pytrace=False)
