"""
Graphs that run elsewhere: what is seen of them is the call, with what it was given and what it streamed back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from langgraph.pregel.remote import RemoteGraph

from fluxloop import FluxLoopClient, ObservationType
from fluxloop.bridge import Spec, begin

__all__ = ["RemoteGraph", "recorded_remote"]


def recorded_remote(method: Callable[..., Any], client: FluxLoopClient) -> Callable[..., Any]:
    """Return *method*, a generator function of `RemoteGraph`, with each call recorded as a CHAIN."""

    @functools.wraps(method)
    def call(self: Any, input: Any, config: Any = None, **options: Any) -> Any:
        running = method(self, input, config, **options)
        about = {"assistant_id": self.assistant_id}
        spec = Spec(
            client,
            ObservationType.CHAIN,
            self.name or "RemoteGraph",
            opens_trace=True,
            metadata=about,
            trace={"session_id": _thread(config) or _thread(self.config), "metadata": about.copy()},
            bind=lambda input: input,
        )
        recorded = begin(spec, (input,), {})
        if recorded is None:
            return running
        recorded.enter()
        return recorded.returned(running)

    return call


def _thread(config: Any) -> Any:
    return ((config or {}).get("configurable") or {}).get("thread_id")
