"""
Token counts by one rule from the results of every provider; other values have none.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fluxloop.llm.response_facts import ModelFacts, read_facts
from fluxloop.llm.token_counts import add_usage, read_usage


def counts(input=None, output=None, total=None, read=None, write=None, reasoning=None) -> dict[str, int]:
    """Our usage dict of those counts that are given."""
    names = ("input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens")
    given = dict(zip((*names, "reasoning_tokens"), (input, output, total, read, write, reasoning), strict=True))
    return {name: number for name, number in given.items() if number is not None}


def as_object(value: Any) -> Any:
    """The same names as attributes, all the way down."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(inner) for name, inner in value.items()})
    return [as_object(inner) for inner in value] if isinstance(value, list) else value


USAGES = {
    "openai chat": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 40,
            "total_tokens": 140,
            "prompt_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 7},
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
        counts(100, 40, 140, 80, 7, 30),
    ),
    "openai responses": (
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 0},
            "output_tokens": 40,
            "output_tokens_details": {"reasoning_tokens": 30},
            "total_tokens": 140,
        },
        counts(100, 40, 140, 80, 0, 30),
    ),
    "openai embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, counts(8, None, 8)),
    "anthropic": (
        {
            "input_tokens": 3,
            "cache_read_input_tokens": 80,
            "cache_creation_input_tokens": 17,
            "output_tokens": 40,
            "output_tokens_details": {"thinking_tokens": 30},
        },
        counts(100, 40, 140, 80, 17, 30),
    ),
    "anthropic without cache": (
        {
            "input_tokens": 100,
            "cache_read_input_tokens": None,
            "cache_creation_input_tokens": None,
            "output_tokens": 40,
        },
        counts(100, 40, 140),
    ),
    "google": (
        {
            "prompt_token_count": 100,
            "cached_content_token_count": 80,
            "candidates_token_count": 10,
            "thoughts_token_count": 30,
            "total_token_count": 140,
        },
        counts(100, 40, 140, 80, None, 30),
    ),
    "google with tool results": (
        {
            "prompt_token_count": 90,
            "tool_use_prompt_token_count": 10,
            "candidates_token_count": 40,
            "total_token_count": 140,
        },
        counts(100, 40, 140),
    ),
    "google, only thoughts": (
        {"prompt_token_count": 21, "thoughts_token_count": 60, "total_token_count": 81},
        counts(21, 60, 81, None, None, 60),
    ),
    "google as json": (
        {"promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 30, "totalTokenCount": 140},
        counts(100, 40, 140, None, None, 30),
    ),
    "langchain": (
        {
            "input_tokens": 100,
            "output_tokens": 40,
            "total_tokens": 140,
            "input_token_details": {"cache_read": 80, "cache_creation": 17},
            "output_token_details": {"reasoning": 30},
        },
        counts(100, 40, 140, 80, 17, 30),
    ),
    "langchain of anthropic, cached by lifetime": (
        {
            "input_tokens": 100,
            "output_tokens": 40,
            "total_tokens": 140,
            "input_token_details": {
                "cache_read": 80,
                "cache_creation": 0,
                "ephemeral_5m_input_tokens": 10,
                "ephemeral_1h_input_tokens": 7,
            },
        },
        counts(100, 40, 140, 80, 17),
    ),
    "langchain of openai, priority tier": (
        {
            "input_tokens": 100,
            "output_tokens": 40,
            "total_tokens": 140,
            "input_token_details": {"priority_cache_read": 80, "priority": 20},
            "output_token_details": {"priority_reasoning": 30, "priority": 10},
        },
        counts(100, 40, 140, 80, None, 30),
    ),
    "agents sdk, serialised": (
        {
            "requests": 1,
            "input_tokens": 100,
            "input_tokens_details": [{"cached_tokens": 80, "cache_write_tokens": 0}],
            "output_tokens": 40,
            "output_tokens_details": [{"reasoning_tokens": 30}],
            "total_tokens": 140,
        },
        counts(100, 40, 140, 80, 0, 30),
    ),
    "agents sdk, a turn": (
        {"input_tokens": 100, "output_tokens": 40, "cached_input_tokens": 80, "cache_write_input_tokens": 0},
        counts(100, 40, 140, 80, 0),
    ),
    "bedrock converse": (
        {
            "inputTokens": 3,
            "outputTokens": 40,
            "totalTokens": 43,
            "cacheReadInputTokens": 80,
            "cacheWriteInputTokens": 17,
        },
        counts(100, 40, 140, 80, 17),
    ),
    "bedrock nova": (
        {"inputTokens": 20, "outputTokens": 40, "cacheReadInputTokenCount": 80, "cacheWriteInputTokenCount": 0},
        counts(100, 40, 140, 80, 0),
    ),
    "cohere": (
        {
            "billed_units": {"input_tokens": 90.0, "output_tokens": 40.0},
            "tokens": {"input_tokens": 100.0, "output_tokens": 40.0},
        },
        counts(100, 40, 140),
    ),
    "cohere, only billed": ({"billed_units": {"input_tokens": 90.0, "output_tokens": 40.0}}, counts(90, 40, 130)),
    "mistral": ({"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}, counts(100, 40, 140)),
    "deepseek": (
        {
            "prompt_tokens": 100,
            "prompt_cache_hit_tokens": 80,
            "prompt_cache_miss_tokens": 20,
            "completion_tokens": 40,
            "total_tokens": 140,
        },
        counts(100, 40, 140, 80),
    ),
    "litellm of anthropic": (
        {
            "prompt_tokens": 100,
            "cache_read_input_tokens": 80,
            "cache_creation_input_tokens": 17,
            "completion_tokens": 40,
            "total_tokens": 140,
        },
        counts(100, 40, 140, 80, 17),
    ),
    "xai": (
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        counts(32, 103, 135, None, None, 94),
    ),
    "ollama": ({"prompt_eval_count": 100, "eval_count": 40}, counts(100, 40, 140)),
    "our own": (counts(100, 40, 140, 80, 17, 30), counts(100, 40, 140, 80, 17, 30)),
    "upstream's floats": (
        {"prompt_tokens": 12.0, "completion_tokens": 3.0, "total_tokens": 15.0},
        counts(12, 3, 15),
    ),
    "only a total": ({"total_tokens": 15}, counts(None, None, 15)),
}


@pytest.mark.parametrize(("usage", "expected"), USAGES.values(), ids=USAGES)
def test_counts_follow_one_rule_for_all_providers(usage, expected):
    """
    Input includes cached tokens and output reasoning ones, total is both, as dict and as object.
    """
    before = copy.deepcopy(usage)

    assert read_usage(usage) == expected
    assert read_usage(as_object(usage)) == expected
    assert usage == before


@pytest.mark.parametrize("usage", [usage for usage, _ in USAGES.values()], ids=USAGES)
def test_reading_counts_again_changes_nothing(usage):
    """
    Counts that were read once are read back unchanged.
    """
    once = read_usage(usage)

    assert read_usage(once) == once
    assert read_usage({"usage": once}) == once


@pytest.mark.parametrize(("usage", "expected"), USAGES.values(), ids=USAGES)
def test_counts_are_found_in_a_result(usage, expected):
    """
    A dict with ``usage`` and an object with ``.usage`` give their counts.
    """
    assert read_usage({"text": "hi", "usage": usage}) == expected
    assert read_facts(SimpleNamespace(text="hi", usage=as_object(usage))).usage == expected


def test_cached_tokens_more_than_the_rest_of_the_input_do_not_change_the_convention():
    """
    The names decide, not the numbers: OpenAI's cached tokens stay part of an input however many they are.
    """
    openai = {"input_tokens": 100, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 99}}
    odd = {"input_tokens": 50, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 80}}
    both = {**openai, "cache_read_input_tokens": 99}

    assert read_usage(openai)["input_tokens"] == 100
    assert read_usage(odd)["input_tokens"] == 50
    assert read_usage(both) == counts(100, 1, 101, 99)


def test_a_provider_s_larger_total_is_kept():
    """
    A gateway that counts hidden tokens only in its total is believed; a total smaller than its parts is not.
    """
    more = read_usage({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40})
    less = read_usage({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 12})

    assert (more["total_tokens"], less["total_tokens"]) == (40, 15)


def test_other_counts_are_not_used_as_the_input():
    """
    Where Anthropic's input count is missing or broken, its cached tokens alone are not called the input.
    """
    found = read_usage({"input_tokens": "many", "cache_read_input_tokens": 80, "output_tokens": 4})

    assert found == counts(None, 4, None, 80)


class Slotted:
    __slots__ = ("usage",)

    def __init__(self, usage: object) -> None:
        self.usage = usage


class ByProperty:
    @property
    def usage(self) -> object:
        return {"prompt_tokens": 3, "completion_tokens": 2}


class ByDefault:
    class usage:
        prompt_tokens = 3
        completion_tokens = 2

    usage = usage()


Named = namedtuple("Named", "text usage")


@pytest.mark.parametrize(
    "result",
    [
        Slotted({"prompt_tokens": 3, "completion_tokens": 2}),
        ByProperty(),
        ByDefault(),
        Named("Hi", {"prompt_tokens": 3, "completion_tokens": 2}),
        OrderedDict(usage=OrderedDict(prompt_tokens=3, completion_tokens=2)),
        Mock(usage=Mock(prompt_tokens=3, completion_tokens=2)),
        {"usage": {"prompt_tokens": 3, "completion_tokens": 2}, "text": "Hi"},
        {"text": "Hi", "prompt_tokens": 3, "completion_tokens": 2},
    ],
    ids=["slots", "property", "class attributes", "namedtuple", "dict subclass", "mock given counts", "dict", "flat"],
)
def test_results_of_programs_are_read(result):
    """
    However a result holds its ``usage``, what was given is found.
    """
    assert read_facts(result) == ModelFacts(usage=counts(3, 2, 5))


class Hostile:
    """Raises whatever it is asked, but for its class, which pytest wants to know."""

    def __getattribute__(self, name: str) -> object:
        if name == "__class__":
            return Hostile
        raise RuntimeError(name)


class Costly:
    """Counts how often it is asked for anything that is computed."""

    asked = 0

    @property
    def text(self) -> str:
        Costly.asked += 1
        return ""

    @property
    def choices(self) -> list:
        Costly.asked += 1
        return []

    def __getattr__(self, name: str) -> object:
        Costly.asked += 1
        raise AttributeError(name)


class RaisingUsage:
    @property
    def usage(self) -> object:
        raise ValueError("not yet")


class UnhashableType(type):
    __hash__ = None

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError


class Unhashable(metaclass=UnhashableType):
    pass


class Unequal:
    """A key that hits a name we look for, and raises when it is compared."""

    def __hash__(self) -> int:
        return hash("usage")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")


def circular() -> dict:
    ring: dict = {}
    ring.update(usage=ring, message=ring, response_metadata=ring, meta=ring, generations=[[ring]])
    return ring


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        b"bytes",
        7,
        7.5,
        True,
        [],
        (),
        {},
        {"usage": None},
        {"usage": "12 tokens"},
        {"usage": 12},
        {"usage": []},
        {"usage": True},
        {"usage": {"prompt_tokens": None}},
        {"usage": {"prompt_tokens": "12", "completion_tokens": "3"}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": -1}},
        {"usage": {"prompt_tokens": math.nan, "completion_tokens": math.inf}},
        {"usage": {"prompt_tokens": True, "completion_tokens": False}},
        {"usage": {"prompt_tokens": 12.5}},
        {"usage": {"prompt_tokens": 10**30}},
        {"usage": {"prompt_tokens": [12]}},
        {"answer": 42, "model": "T", "id": 1},
        {"message": "hello", "model": "T"},
        {"choices": "many", "candidates": 3, "generations": 3},
        {"choices": [1, None, "a"], "candidates": [[]]},
        [1.0, 2.0],
        [None, "a", {}],
        [[[[]]]],
        Mock(),
        MagicMock(),
        Mock(spec=dict),
        Hostile(),
        {"usage": Hostile()},
        RaisingUsage(),
        Unhashable(),
        Unhashable,
        BaseModel,
        object(),
        circular(),
        {Unequal(): 1},
        (number for number in range(3)),
        SimpleNamespace(usage=SimpleNamespace()),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_other_values_have_no_counts(value):
    """
    No value makes reading raise, and none but a result is taken for one.
    """
    assert read_usage(value) is None
    assert read_facts(value) is None


def test_invalid_counts_are_ignored():
    """
    A count that cannot be one is left out; the others are kept.
    """
    found = read_usage({"prompt_tokens": 12, "completion_tokens": math.nan, "total_tokens": -3})

    assert found == counts(12)


def test_a_model_built_without_validation_is_read():
    """
    Gateways leave fields out; the SDK's object then lacks the attribute.
    """
    usage = pytest.importorskip("openai.types").CompletionUsage.model_construct(prompt_tokens=5)

    assert read_usage(usage) == counts(5)


def test_reading_counts_calls_no_method_or_property():
    """
    Reading looks at what an object holds: no method is called, no unknown property or ``__getattr__`` is run,
    and an iterator keeps its items.
    """
    numbers = iter([1, 2])
    spy = MagicMock()
    read_facts(Costly())
    read_facts(numbers)
    read_facts(spy)
    read_usage({"usage": spy})

    assert Costly.asked <= 1  # `__pydantic_extra__`, the one name an object without it is asked for
    assert list(numbers) == [1, 2]
    assert spy.mock_calls == []


def test_an_attribute_of_the_instance_wins_over_a_property_of_its_class():
    """
    A descriptor that would load a value is left alone where the value is already there.
    """

    loaded = []

    class Row:
        usage = property(loaded.append)

    row = Row()
    row.__dict__["usage"] = {"prompt_tokens": 3}

    assert read_usage(row) == counts(3)
    assert loaded == []


def test_mocks_have_only_the_counts_they_were_given():
    """
    A mock has every attribute; only what it was given counts.
    """
    mock = Mock()
    mock.usage.total_tokens  # noqa: B018 - touching a mock's attribute makes it there

    assert read_facts(mock) is None
    assert read_facts(Mock(usage=Mock(prompt_tokens=3))) == ModelFacts(usage=counts(3))


def test_names_are_plain_short_text():
    """
    An enum's word becomes its text; what is too long to be a name is not taken for one.
    """
    google = pytest.importorskip("google.genai.types")
    usage = {"prompt_tokens": 1}

    assert type(read_facts({"usage": usage, "finish_reason": google.FinishReason.MAX_TOKENS}).finish_reasons[0]) is str
    assert read_facts({"usage": usage, "model": "m" * 10_000}) == ModelFacts(usage=counts(1))


def test_counts_that_are_unknown_in_every_call_stay_unknown():
    """
    The sum of calls has the names that any of them has; of none there is no sum.
    """
    assert add_usage([counts(1, 2, 3), None, counts(10, read=4)]) == counts(11, 2, 3, 4)
    assert add_usage([None, None]) is None


NAMES = sorted({name for usage, _ in USAGES.values() for name in usage} | {"usage", "meta", "choices", "message"})
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=15,
)


@given(json_like)
def test_counts_of_any_value_are_whole_and_not_negative(value):
    """
    Any nesting of known names over any values gives sound counts or none, as a dict and as an object.
    """
    for found in (read_usage(value), read_usage(as_object(value)), getattr(read_facts(value), "usage", None)):
        assert found is None or found
        assert all(type(number) is int and number >= 0 for number in (found or {}).values())
        if found and {"input_tokens", "output_tokens"} <= found.keys():
            assert found["total_tokens"] >= found["input_tokens"] + found["output_tokens"]
