"""
Prices: those of the library as the library counts them, those of a table first, and unknown never as zero.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from fluxloop.errors import PriceError
from fluxloop.llm.price_library import Call
from fluxloop.llm.prices import Cost, Prices, context_of

NOW = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
TABLE = {"my-model": {"input": 1, "output": 2, "cache_read": 0.1, "reasoning": 3}, "free-*": {"input": 0, "output": 0}}


def counts(**known: int) -> Any:
    """Token counts in their order, None where they are not known."""
    names = ("input", "output", "total", "cache_read", "cache_write", "reasoning")
    return tuple(known.get(name) for name in names)


def test_every_price_of_the_library_is_computed_as_the_library_does():
    """
    For every model, with cached and reasoning tokens, above and below tiers, in batches and at other service tiers.
    """
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import Usage

    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    rng = random.Random(seed)
    snapshot, prices = get_snapshot(), Prices()
    compared, wrong = 0, []
    for provider in snapshot.providers:
        for model in provider.models:
            context = rng.choice(
                [{}, {}, {"service_tier": "flex"}, {"processing": "batch"}, {"service_tier": "priority"}]
            )
            whole, output = rng.choice([10, 5_000, 199_999, 200_001, 300_000]), rng.choice([0, 100, 5_000])
            read, written, reasoning = (
                rng.choice([0, whole // 3]),
                rng.choice([0, whole // 5]),
                rng.choice([0, output // 2]),
            )
            usage = {
                "input_tokens": whole,
                "output_tokens": output,
                "cache_read_tokens": read,
                "cache_write_tokens": written,
                "output_reasoning_tokens": reasoning,
            }
            try:
                their_provider, found = snapshot.find_provider_model(model.id, None, provider.id, None)
                theirs = found.calc_price(
                    Usage(**usage), their_provider, genai_request_timestamp=NOW, price_context=context
                ).total_price
            except LookupError:
                continue
            call = Call(model.id, provider.id, "&".join(f"{name}={value}" for name, value in context.items()))
            ours = prices.cost(call, (whole, output, None, read, written, reasoning), NOW)
            if ours.is_known:
                compared += 1
                if ours.dollars != pytest.approx(float(theirs), abs=1e-9):
                    wrong.append((call, usage, ours.dollars, theirs))

    assert wrong == []
    assert compared > 500


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "openai"),
        ("gpt-4o-2024-08-06", None),
        ("gpt-4o", "a provider of the user's"),
        ("claude-sonnet-4-5", "anthropic"),
        ("gemini-2.5-pro", "gcp.gen_ai"),
        ("gemini-2.5-pro", "google_genai"),
    ],
)
def test_models_are_found_by_the_names_in_records(model, provider):
    """
    Providers as OpenTelemetry and LangChain spell them, dated models, and providers that the library does not know.
    """
    assert Prices().cost(Call(model, provider), counts(input=1_000_000, output=0), NOW).dollars > 0.5


@pytest.mark.parametrize(
    ("known", "dollars"),
    [
        (counts(input=1_000_000), 1.0),
        (counts(input=1_000_000, cache_read=500_000), 0.55),
        (counts(input=1_000_000, cache_write=500_000), 1.0),
        (counts(output=1_000_000), 2.0),
        (counts(output=1_000_000, reasoning=500_000), 2.5),
        (counts(input=10, cache_read=50), 1e-6),
    ],
)
def test_a_table_counts_details_at_their_own_price_or_at_that_of_the_whole(known, dollars):
    """
    Cached tokens are part of the input and reasoning tokens of the output; without an own price they cost the same.
    """
    cost = Prices(TABLE).cost(Call("My-Model"), known, NOW)

    assert cost == Cost(pytest.approx(dollars), 1)


def test_a_table_comes_before_the_library():
    """
    A model of the table has the table's price, also where the library knows it; patterns match, and free is known.
    """
    prices = Prices({"gpt-4*": {"input": 1}, **TABLE})

    assert prices.cost(Call("gpt-4o", "openai"), counts(input=1_000_000), NOW) == Cost(1.0, 1)
    assert prices.cost(Call("free-7b"), counts(input=5, output=5), NOW) == Cost(0.0, 1)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("an unknown model", counts(input=10)),
        ("gpt-4o", counts(total=10)),
        ("gpt-4o", counts()),
        ("only-input", counts(input=1, output=1)),
    ],
)
def test_what_has_no_price_is_unknown_and_not_zero(model, known):
    """
    Unknown models, calls with a total alone, and counts without a price are named.
    """
    cost = Prices({"only-input": {"input": 1}}).cost(Call(model), known, NOW)

    assert cost == Cost(unknown=(model,))
    assert cost.amount is None
    assert not (Cost(1.0, 1) + cost).is_known
    assert (Cost(1.0, 1) + cost + cost).unknown == (model,)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"m": {}}, "'m' must be a table with prices"),
        (
            {"m": {"in": 1}},
            "'m' has no price 'in' (accepted: input, output, cache_read, cache_write, reasoning, request)",
        ),
        ({"m": {"input": float("nan")}}, "input of 'm' must be a number of dollars per million tokens, got nan"),
        ({"m": {"input": True}}, "got True"),
    ],
)
def test_a_mistake_in_the_table_is_named(table, message):
    """
    The message has the place of the table, the entry and what is accepted.
    """
    with pytest.raises(PriceError) as error:
        Prices(table, source="[tool.fluxloop.prices] in pyproject.toml")

    assert message in str(error.value)
    assert "pyproject.toml" in str(error.value)


def test_the_context_of_a_price_is_read_from_what_was_recorded():
    """
    A service tier may be in the metadata, the parameters of the call, or the answer; the first one counts.
    """
    assert context_of({"processing": "batch"}, {"temperature": 1}, "text") == "processing=batch"
    assert context_of({}, {"service_tier": "flex"}, {"service_tier": "default"}) == "service_tier=flex"
    assert context_of(None, None, {"service_tier": None}) == ""


def test_prices_need_no_network():
    """
    The data ships with the package; its updater, which would fetch them, is not started.
    """
    import genai_prices.update_prices

    Prices().cost(Call("gpt-4o"), counts(input=1), NOW)

    assert genai_prices.update_prices._shared_updater.ref_count == 0
