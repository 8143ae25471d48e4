"""
Read token counts of any provider, by one rule.

`read_usage` takes any value and never raises. It recognises a provider's convention by the names of the fields, not by
the numbers. In its result, `input_tokens` includes cached tokens and `output_tokens` includes reasoning tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from ..interruptions import was_raised_from_outside
from .fields import Fields, fields, get


def read_usage(value: object) -> dict[str, int] | None:
    """
    Return the token counts in *value*.

    Args:
        value: A usage object or dict of any provider, or a result with one in a known field.

    Returns:
        Those of input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens and
        reasoning_tokens that are known, as whole numbers; None if there are none.
    """
    try:
        return _usage(fields(value), _DEPTH)
    except Exception as exc:  # of code in the object's class
        if was_raised_from_outside(exc):
            raise
        return None


def add_usage(counts: Iterable[dict[str, int] | None]) -> dict[str, int] | None:
    """Return the sum of several calls' *counts*, name by name; None if none of them is known."""
    total: dict[str, int] = {}
    for known in counts:
        for name, number in (known or {}).items():
            total[name] = total.get(name, 0) + number
    return total or None


_Paths: TypeAlias = tuple[tuple[str, str], ...]


def _any(alternatives: str) -> _Paths:
    """Parse ``"a.b c"``: the count ``b`` in ``a``, or else ``c``."""
    return tuple((head, tail) for head, _, tail in (path.partition(".") for path in alternatives.split()))


def _each(names: str) -> tuple[_Paths, ...]:
    """Parse ``"a b|c"``: the count ``a``, and ``b`` or else ``c``, to be added up."""
    return tuple(_any(name.replace("|", " ")) for name in names.split())


class _Convention(NamedTuple):
    """The names of the token counts in one family of providers."""

    input: tuple[_Paths, ...]
    """Their sum is the whole input, including counts that the provider reports separately."""
    output: tuple[_Paths, ...]
    """Their sum is the whole output."""
    total: _Paths = ()
    cache_read: _Paths = ()
    cache_write: _Paths = ()
    reasoning: _Paths = ()
    cache_write_parts: tuple[_Paths, ...] = ()
    """Their sum replaces `cache_write` if it is greater."""
    marked_by: frozenset[str] = frozenset()
    """Names that distinguish this convention from the next one, which has the same main names."""


_CONVENTIONS = (
    # OpenAI's chat completions, completions and embeddings, and compatible APIs: Azure, Mistral, Groq,
    # DeepSeek (prompt_cache_hit_tokens), Moonshot (cached_tokens), LiteLLM (cache_*_input_tokens beside a
    # prompt_tokens that includes them), LangChain's `token_usage`.
    _Convention(
        input=_each("prompt_tokens"),
        output=_each("completion_tokens"),
        total=_any("total_tokens"),
        cache_read=_any(
            "prompt_tokens_details.cached_tokens prompt_cache_hit_tokens cache_read_input_tokens cached_tokens"
        ),
        cache_write=_any(
            "prompt_tokens_details.cache_write_tokens prompt_tokens_details.cache_creation_tokens"
            " cache_creation_input_tokens"
        ),
        reasoning=_any("completion_tokens_details.reasoning_tokens reasoning_tokens"),
    ),
    # OpenAI's Responses and Agents SDK, and LangChain's usage_metadata ("sum of all input token types"):
    # cached tokens are part of the input.
    _Convention(
        marked_by=frozenset({"input_tokens_details", "input_token_details"}),
        input=_each("input_tokens"),
        output=_each("output_tokens"),
        total=_any("total_tokens"),
        cache_read=_any(
            "input_tokens_details.cached_tokens input_token_details.cache_read"
            " input_token_details.priority_cache_read input_token_details.flex_cache_read"
        ),
        cache_write=_any(
            "input_tokens_details.cache_write_tokens input_token_details.cache_creation"
            " input_token_details.priority_cache_creation input_token_details.flex_cache_creation"
        ),
        # langchain-anthropic sets cache_creation to 0 where it knows these.
        cache_write_parts=(
            _any("input_token_details.ephemeral_5m_input_tokens"),
            _any("input_token_details.ephemeral_1h_input_tokens"),
        ),
        reasoning=_any(
            "output_tokens_details.reasoning_tokens output_token_details.reasoning"
            " output_token_details.priority_reasoning output_token_details.flex_reasoning"
        ),
    ),
    # Anthropic: cached tokens are not part of the input, and have their own names (cache_*_input_tokens).
    # In Cohere, turns of the Agents SDK (cached_input_tokens) and FluxLoop's records, input_tokens includes them.
    _Convention(
        input=_each("input_tokens cache_read_input_tokens cache_creation_input_tokens"),
        output=_each("output_tokens"),
        total=_any("total_tokens"),
        cache_read=_any("cache_read_input_tokens cache_read_tokens cached_input_tokens cached_tokens"),
        cache_write=_any("cache_creation_input_tokens cache_write_tokens cache_write_input_tokens"),
        reasoning=_any(
            "output_tokens_details.thinking_tokens output_tokens_details.reasoning_tokens"
            " output_token_details.reasoning reasoning_tokens"
        ),
    ),
    # Google: the prompt includes cached content, but not thoughts and tool results (see the description of
    # total_token_count).
    _Convention(
        input=_each("prompt_token_count tool_use_prompt_token_count"),
        output=_each("candidates_token_count|response_token_count thoughts_token_count"),
        total=_any("total_token_count"),
        cache_read=_any("cached_content_token_count"),
        reasoning=_any("thoughts_token_count"),
    ),
    _Convention(
        input=_each("promptTokenCount toolUsePromptTokenCount"),
        output=_each("candidatesTokenCount|responseTokenCount thoughtsTokenCount"),
        total=_any("totalTokenCount"),
        cache_read=_any("cachedContentTokenCount"),
        reasoning=_any("thoughtsTokenCount"),
    ),
    # Amazon Bedrock's Converse, and Nova's names: cached tokens are not part of the input.
    _Convention(
        input=_each(
            "inputTokens cacheReadInputTokens|cacheReadInputTokenCount cacheWriteInputTokens|cacheWriteInputTokenCount"
        ),
        output=_each("outputTokens"),
        total=_any("totalTokens"),
        cache_read=_any("cacheReadInputTokens cacheReadInputTokenCount"),
        cache_write=_any("cacheWriteInputTokens cacheWriteInputTokenCount"),
    ),
    # Ollama, at the top of its responses.
    _Convention(input=_each("prompt_eval_count"), output=_each("eval_count")),
    # Only a total.
    _Convention(input=(), output=(), total=_any("total_tokens")),
)

_CARRIERS = (
    "usage_metadata",
    "usageMetadata",
    "usage",
    "token_usage",
    "tokens",  # Cohere: the model's tokens, before the billed ones
    "billed_units",
    "meta",
    "response_metadata",
    "llm_output",
    "x_groq",
)
"""Fields of results that contain the counts, the most detailed one first."""

_DEPTH = 3
"""Nested carriers that are read at most, as in Cohere's ``meta.tokens.input_tokens``."""

_MAX_CACHED = 32
"""Fields of a usage object at most; the conventions of larger objects are not cached."""

_MAX_TOKENS = 2**53
"""A larger number is not a count; JSON readers begin to lose digits there."""


def _usage(held: Fields, depth: int) -> dict[str, int] | None:
    names = dict.keys(held)
    if names.isdisjoint(USAGE_NAMES):
        return None
    if depth and not names.isdisjoint(_CARRIERS):
        for name in _CARRIERS:
            if (inner := get(held, name)) is not None and (found := _usage(fields(inner), depth - 1)):
                return found
    for convention in _matching(tuple(held)) if len(held) <= _MAX_CACHED else _conventions_with(names):
        if found := _counts(held, convention):
            return found
    return None


@lru_cache(maxsize=256)
def _matching(names: tuple[object, ...]) -> tuple[_Convention, ...]:
    """Return the conventions that match *names*, which are the same in all answers of a provider."""
    return _conventions_with(frozenset(names))


def _conventions_with(names: Set[object]) -> tuple[_Convention, ...]:
    """Return the conventions that contain one of *names*, each reduced to the paths that begin with one."""

    def known(paths: _Paths) -> _Paths:
        return tuple(path for path in paths if path[0] in names)

    return tuple(
        convention._replace(
            total=known(convention.total),
            cache_read=known(convention.cache_read),
            cache_write=known(convention.cache_write),
            reasoning=known(convention.reasoning),
            cache_write_parts=tuple(filter(None, map(known, convention.cache_write_parts))),
        )
        for main_names, convention in _BY_NAMES
        if not main_names.isdisjoint(names) and not (convention.marked_by and convention.marked_by.isdisjoint(names))
    )


def _counts(held: Fields, convention: _Convention) -> dict[str, int] | None:
    """Return the counts in *held* by this convention, with FluxLoop's names and rule."""
    given = _first(held, convention.total)
    input_, output = _sum(held, convention.input), _sum(held, convention.output)
    if convention.input and _first(held, convention.input[0]) is None:
        input_ = None  # the other counts alone are not the input
    if input_ is None and output is None:
        return {"total_tokens": given} if given is not None and not convention.input else None
    reasoning = _first(held, convention.reasoning)
    if output is not None and reasoning and given == (input_ or 0) + output + reasoning:
        # xAI does not include reasoning in completion_tokens, although it uses OpenAI's names; its total shows it.
        output += reasoning
    written, parts = _first(held, convention.cache_write), _sum(held, convention.cache_write_parts)
    found = {
        "input_tokens": input_,
        "output_tokens": output,
        "total_tokens": given if input_ is None or output is None else max(given or 0, input_ + output),
        "cache_read_tokens": _first(held, convention.cache_read),
        "cache_write_tokens": written if parts is None else max(written or 0, parts),
        "reasoning_tokens": reasoning,
    }
    return {name: number for name, number in found.items() if number is not None}


def _sum(held: Fields, parts: tuple[_Paths, ...]) -> int | None:
    total: int | None = None
    for part in parts:
        if (number := _first(held, part)) is not None:
            total = number + (total or 0)
    return total


def _first(held: Fields, alternatives: _Paths) -> int | None:
    """Return the value of the first of *alternatives* that is a count."""
    for head, tail in alternatives:
        found = get(held, head)
        if found is None:
            continue
        if tail:
            if type(found) is list and found:  # the Agents SDK writes its details as a list of one
                found = found[0]
            found = get(fields(found), tail)
        if (number := _count(found)) is not None:
            return number
    return None


def _count(number: object) -> int | None:
    """Return *number* if it can be a count: an int, or a float without fraction, that is not negative."""
    if type(number) is float and number.is_integer():
        number = int(number)
    return number if type(number) is int and 0 <= number <= _MAX_TOKENS else None


_BY_NAMES = tuple(
    (
        frozenset(
            head for paths in ((*convention.input, *convention.output) or (convention.total,)) for head, _ in paths
        ),
        convention,
    )
    for convention in _CONVENTIONS
)
"""Each convention with the names by which it is recognised."""

USAGE_NAMES = frozenset(_CARRIERS).union(*(names for names, _ in _BY_NAMES))
"""Names of counts and of their carriers; a value with none of these names has no counts."""
