"""
Count tokens the same way for every provider.

`read_usage` takes any value and never raises. Which convention a provider follows is told by its key
names, never guessed from the numbers. Counts come out by one rule: `input_tokens` includes the cached
ones and `output_tokens` the reasoning ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from ..interruptions import was_raised_from_outside
from .fields import Fields, fields, get


def read_usage(value: object) -> dict[str, int] | None:
    """
    Return the token counts that *value* is, or carries in a known place.

    Args:
        value: A usage object or dict of any provider, or the result that carries one.

    Returns:
        Those of input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens and
        reasoning_tokens that are known, as whole numbers; None where none is.
    """
    try:
        return _usage(fields(value), _DEPTH)
    except Exception as exc:  # whatever a stranger's object does when looked at, it holds no counts for us
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
    """How one family of providers spells its counts."""

    input: tuple[_Paths, ...]
    """Their sum is the whole input: counts that lie beside it are listed here."""
    output: tuple[_Paths, ...]
    """Likewise for the whole output."""
    total: _Paths = ()
    cache_read: _Paths = ()
    cache_write: _Paths = ()
    reasoning: _Paths = ()
    cache_write_parts: tuple[_Paths, ...] = ()
    """Their sum stands for `cache_write` where it is more."""
    shown_by: frozenset[str] = frozenset()
    """Names of which one tells this convention from the next, which has the same main names."""


_CONVENTIONS = (
    # OpenAI's chat completions, completions and embeddings, and all who speak like it: Azure, Mistral, Groq,
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
    # the cached ones are details of the input.
    _Convention(
        shown_by=frozenset({"input_tokens_details", "input_token_details"}),
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
    # Anthropic: the cached ones lie beside the input, under names of their own (cache_*_input_tokens).
    # Cohere, the Agents SDK's turns (cached_input_tokens) and our own records say input_tokens and include them.
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
    # Google: the prompt includes cached content; thoughts and tool results lie beside, as the description
    # of total_token_count says.
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
    # Amazon Bedrock's Converse, and Nova's spelling: the cached ones lie beside the input.
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
    # Nothing but a total.
    _Convention(input=(), output=(), total=_any("total_tokens")),
)

_CARRIERS = (
    "usage_metadata",
    "usageMetadata",
    "usage",
    "token_usage",
    "tokens",  # Cohere: what the model saw, before what is charged for it
    "billed_units",
    "meta",
    "response_metadata",
    "llm_output",
    "x_groq",
)
"""Where results keep their counts, the most telling place first."""

_DEPTH = 3
"""How many carriers deep counts are looked for, as in Cohere's ``meta.tokens.input_tokens``."""

_FEW = 32
"""Names that a usage object has at most; of one with more, what it may be read by is not remembered."""

_MOST_TOKENS = 2**53
"""Beyond it a number is no count, and JSON readers begin to lose digits."""


def _usage(held: Fields, depth: int) -> dict[str, int] | None:
    names = dict.keys(held)
    if names.isdisjoint(SIGNS):
        return None
    if depth and not names.isdisjoint(_CARRIERS):
        for name in _CARRIERS:
            if (inner := get(held, name)) is not None and (found := _usage(fields(inner), depth - 1)):
                return found
    for spelled in _spelled_with(tuple(held)) if len(held) <= _FEW else _possible(names):
        if found := _counts(held, spelled):
            return found
    return None


@lru_cache(maxsize=256)
def _spelled_with(names: tuple[object, ...]) -> tuple[_Convention, ...]:
    """Return the conventions by which *names* can be read; they are the same in all answers of a provider."""
    return _possible(frozenset(names))


def _possible(names: Set[object]) -> tuple[_Convention, ...]:
    """Return the conventions that know one of *names*, each reduced to the places there can be a count in."""

    def known(paths: _Paths) -> _Paths:
        return tuple(path for path in paths if path[0] in names)

    return tuple(
        spelled._replace(
            total=known(spelled.total),
            cache_read=known(spelled.cache_read),
            cache_write=known(spelled.cache_write),
            reasoning=known(spelled.reasoning),
            cache_write_parts=tuple(filter(None, map(known, spelled.cache_write_parts))),
        )
        for main_names, spelled in _RECOGNISED
        if not main_names.isdisjoint(names) and not (spelled.shown_by and spelled.shown_by.isdisjoint(names))
    )


def _counts(held: Fields, spelled: _Convention) -> dict[str, int] | None:
    """Return the counts *held* spells this way, by our names and rule."""
    given = _first(held, spelled.total)
    input_, output = _sum(held, spelled.input), _sum(held, spelled.output)
    if spelled.input and _first(held, spelled.input[0]) is None:
        input_ = None  # what lies beside the input is not the input
    if input_ is None and output is None:
        return {"total_tokens": given} if given is not None and not spelled.input else None
    reasoning = _first(held, spelled.reasoning)
    if output is not None and reasoning and given == (input_ or 0) + output + reasoning:
        # xAI counts reasoning beside completion_tokens under OpenAI's very names; only its own total tells.
        output += reasoning
    written, parts = _first(held, spelled.cache_write), _sum(held, spelled.cache_write_parts)
    found = {
        "input_tokens": input_,
        "output_tokens": output,
        "total_tokens": given if input_ is None or output is None else max(given or 0, input_ + output),
        "cache_read_tokens": _first(held, spelled.cache_read),
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
    """Return the first of *alternatives* that is a count."""
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
    """Return *number* if it can be a count: an int or a float without fraction; no bool, nothing negative."""
    if type(number) is float and number.is_integer():
        number = int(number)
    return number if type(number) is int and 0 <= number <= _MOST_TOKENS else None


_RECOGNISED = tuple(
    (frozenset(head for paths in ((*spelled.input, *spelled.output) or (spelled.total,)) for head, _ in paths), spelled)
    for spelled in _CONVENTIONS
)
"""Each convention with the names it is recognised by."""

SIGNS = frozenset(_CARRIERS).union(*(names for names, _ in _RECOGNISED))
"""What carries or spells counts; a value with none of these names has none."""
