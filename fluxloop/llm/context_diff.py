"""
What a model call was given, and how that differs from another call: messages, tools, settings and token counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, Protocol

import orjson

Message = Any


class ModelCall(Protocol):
    """The fields of an observation that are read here."""

    input: Any
    metadata: dict[str, Any]
    model: str | None
    model_parameters: dict[str, Any] | None
    usage: Any


@dataclass(frozen=True, slots=True)
class ContextDiff:
    """The changes from one model call to another."""

    added: tuple[Message, ...] = ()
    """Messages that only the second call was given."""
    dropped: tuple[Message, ...] = ()
    """Messages that only the first call was given."""
    cut: tuple[tuple[Message, Message], ...] = ()
    """Messages whose text was shortened, before and after."""
    rewritten: tuple[tuple[Message, Message], ...] = ()
    """Messages that were changed in another way, before and after."""
    reordered: tuple[Message, ...] = ()
    """Messages that both calls were given, in another order."""
    tools_added: tuple[str, ...] = ()
    tools_dropped: tuple[str, ...] = ()
    settings: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """The model and its parameters that differ, before and after."""
    tokens: tuple[int | None, int | None] = (None, None)
    """The input tokens of both calls; None where they were not reported."""

    def __bool__(self) -> bool:
        """Whether anything but the token count differs."""
        messages = self.added or self.dropped or self.cut or self.rewritten or self.reordered
        return bool(messages or self.tools_added or self.tools_dropped or self.settings)


def messages_of(call: ModelCall) -> list[Message]:
    """Return the messages that a model call was given."""
    given = call.input
    if isinstance(given, Mapping):
        for name in ("messages", "input", "prompt", "contents"):
            if name in given:
                given = given[name]
                break
    if isinstance(given, list):
        return given
    return [] if given is None else [{"role": "user", "content": given}]


def tools_of(call: ModelCall) -> list[str]:
    """Return the names of the tools that a model call was given."""
    names = [each.get("name") if isinstance(each, Mapping) else each for each in call.metadata.get("tools") or ()]
    return [str(name) for name in names if name]


def settings_of(call: ModelCall) -> dict[str, Any]:
    """Return the model of a call, and its parameters."""
    return {**({"model": call.model} if call.model else {}), **(call.model_parameters or {})}


def text_of(message: Message) -> str:
    """Return the content of a message as text."""
    content = message.get("content") if isinstance(message, Mapping) else message
    return content if isinstance(content, str) else orjson.dumps(content, default=str).decode()


def context_diff(before: ModelCall, after: ModelCall) -> ContextDiff:
    """Return the changes from the context of *before* to that of *after*."""
    first, second = messages_of(before), messages_of(after)
    changes = _changes(first, second)
    old, new = settings_of(before), settings_of(after)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    counts = Counter(tools_of(before)), Counter(tools_of(after))
    return ContextDiff(
        **changes,
        tools_added=tuple((counts[1] - counts[0]).elements()),
        tools_dropped=tuple((counts[0] - counts[1]).elements()),
        settings={name: (old.get(name), new.get(name)) for name in names},
        tokens=(_tokens(before), _tokens(after)),
    )


def _tokens(call: ModelCall) -> int | None:
    return call.usage.input_tokens if call.usage is not None else None


def _changes(first: list[Message], second: list[Message]) -> dict[str, Any]:
    keys = [[orjson.dumps(one, option=orjson.OPT_SORT_KEYS, default=str) for one in side] for side in (first, second)]
    added: list[int] = []
    dropped: list[int] = []
    pairs: list[tuple[Message, Message]] = []
    for kind, a, b, c, d in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        gone, new = list(range(a, b)), list(range(c, d))
        if kind == "replace":
            for old, now in zip(list(gone), list(new), strict=False):
                is_kept = keys[0][old] in keys[1] or keys[1][now] in keys[0]  # it is elsewhere, not rewritten
                if not is_kept and _role(first[old]) == _role(second[now]):
                    pairs.append((first[old], second[now]))
                    gone.remove(old)
                    new.remove(now)
        if kind != "equal":
            dropped += gone
            added += new
    moved = Counter(keys[0][index] for index in dropped) & Counter(keys[1][index] for index in added)
    reordered = [second[index] for index in added if keys[1][index] in moved]
    return {
        "added": tuple(second[index] for index in added if keys[1][index] not in moved),
        "dropped": tuple(first[index] for index in dropped if keys[0][index] not in moved),
        "cut": tuple(pair for pair in pairs if _is_cut(*pair)),
        "rewritten": tuple(pair for pair in pairs if not _is_cut(*pair)),
        "reordered": tuple(reordered),
    }


def _role(message: Message) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None


def _is_cut(before: Message, after: Message) -> bool:
    """Whether *after* has the beginning, or the end, of the text of *before*, perhaps with a marker."""
    old, new = text_of(before), text_of(after)
    if len(new) >= len(old):
        return False
    shared = len(new) - _MARKER_CHARS if len(new) > 2 * _MARKER_CHARS else max(1, len(new) // 2)
    return old.startswith(new[:shared]) or old.endswith(new[-shared:])


_MARKER_CHARS = 40
"""Characters of a shortened text that may be a marker for what was left out."""
