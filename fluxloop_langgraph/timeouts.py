"""
Nodes whose time is up.

LangGraph cancels them, so that they look like any that was cancelled; why is told to an observer of timed attempts,
which a call may have in its configuration, as LangGraph's server uses it. Older releases have none of this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langgraph._internal import _constants

OBSERVER: str | None = getattr(_constants, "CONFIG_KEY_TIMED_ATTEMPT_OBSERVER", None)
"""Under which key a call's configuration has the observer."""

TIMED_OUT = "NodeTimeoutError"
"""The error of an attempt that took too long."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Is told of each attempt that has a time limit, and tells on where one took too long."""

    tell: Callable[[str, str], None]
    others: Callable[[Any], None] | None

    def __call__(self, event: Any) -> None:
        if event.event == "finish" and event.error_type == TIMED_OUT:
            self.tell(event.context.checkpoint_ns, event.error_message)
        if self.others is not None:
            self.others(event)


def observe(config: Any, tell: Callable[[str, str], None]) -> None:
    """
    Let *tell* be told which node took too long, by its place, and LangGraph's words for it.

    Args:
        config: A call's own, which LangGraph has made and completes for what runs inside.
        tell: Called before the node is cancelled.
    """
    if OBSERVER is None:
        return
    configurable = config["configurable"]
    others = configurable.get(OBSERVER)
    if type(others) is not Observer or others.tell != tell:
        configurable[OBSERVER] = Observer(tell, others)
