"""
Graphs that run elsewhere: what is seen of them is the call, with what it was given and what it streamed back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from langgraph.pregel.remote import RemoteGraph

from fluxloop import FluxLoopClient

__all__ = ["RemoteGraph", "recorded_remote"]


def recorded_remote(method: Callable[..., Any], client: FluxLoopClient) -> Callable[..., Any]:
    """Return *method*, a generator function of `RemoteGraph`, with each call recorded as a CHAIN."""

    @functools.wraps(method)
    def call(self: Any, input: Any, config: Any = None, **options: Any) -> Any:
        thread = ((config or {}).get("configurable") or {}).get("thread_id")
        scope = client.instrument(
            self.name or "RemoteGraph",
            session_id=thread,
            observation_type="chain",
            metadata={"assistant_id": self.assistant_id},
        )

        def run(input: Any) -> Any:
            return method(self, input, config, **options)

        return scope(run)(input)

    return call
