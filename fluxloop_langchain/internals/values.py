"""
Values of langchain-core that are recognised by their identity or by a mark.
"""

from __future__ import annotations

from typing import Any


def is_streamed_input(value: object) -> bool:
    """Whether *value* is reported as input of a run that reads a stream; without it, such runs record ``""``."""
    return type(value) is dict and len(value) == 1 and type(text := value.get("input")) is str and not text


def is_cached(response: Any) -> bool:
    """Whether *response* is from LangChain's cache, which sets its cost to zero; without it, its usage is counted."""
    for one in (one for row in response.generations for one in row):
        usage = getattr(getattr(one, "message", None), "usage_metadata", None) or {}
        return usage.get("total_cost") == 0
    return False


def is_inherited(item: object, inherited: object) -> bool:
    """Whether metadata is that of the parent: the same object; without it, it is recorded on both runs."""
    return item is inherited  # comparing would run code of the user's


def error_key(error: BaseException) -> int:
    """Return a key of *error*, one object in all runs it ends; without it, folded runs that pass it on are recorded."""
    return id(error)  # the exception itself would keep its frames alive
