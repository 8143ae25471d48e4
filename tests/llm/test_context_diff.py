"""
What changed between the contexts of two model calls.
"""

from __future__ import annotations

from typing import Any

from fluxloop import ObservationData, Usage


def call(*messages: Any, tools: tuple[str, ...] = (), tokens: int | None = None, **settings: Any) -> ObservationData:
    """Return a model call with these messages, tools and settings."""
    usage = Usage(input_tokens=tokens) if tokens is not None else None
    given: dict[str, Any] = {"input": list(messages), "metadata": {"tools": list(tools)}, "usage": usage}
    return ObservationData(
        type="generation", name="m", model=settings.pop("model", None), **given, model_parameters=settings
    )


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def test_added_and_dropped_messages():
    """
    A message at the end is new, and one in the middle is gone.
    """
    before = call(system("s"), user("a"), user("b"))
    changes = call(system("s"), user("b"), user("c")).context_diff(before)
    assert changes.added == (user("c"),)
    assert changes.dropped == (user("a"),)


def test_cut_and_rewritten_messages():
    """
    A text that lost its end is cut; another one is rewritten.
    """
    before = call(system("be kind"), user("x" * 500))
    changes = call(system("be brief"), user("x" * 200 + "…")).context_diff(before)
    assert changes.rewritten == ((system("be kind"), system("be brief")),)
    assert changes.cut == ((user("x" * 500), user("x" * 200 + "…")),)


def test_reordered_messages():
    """
    The same messages in another order are neither added nor dropped.
    """
    changes = call(user("b"), user("a")).context_diff(call(user("a"), user("b")))
    assert changes.reordered
    assert not changes.added
    assert not changes.dropped


def test_tools_settings_and_tokens():
    """
    Tools by name, settings with both values, and input tokens.
    """
    before = call(user("a"), tools=("search", "buy"), tokens=10, model="m-1", temperature=0.5)
    after = call(user("a"), tools=("search", "sell"), tokens=12, model="m-2", temperature=0.5)
    changes = after.context_diff(before)
    assert (changes.tools_added, changes.tools_dropped) == (("sell",), ("buy",))
    assert changes.settings == {"model": ("m-1", "m-2")}
    assert changes.tokens == (10, 12)


def test_equal_contexts_have_no_changes():
    """
    The difference of equal calls is false.
    """
    assert not call(user("a")).context_diff(call(user("a")))
