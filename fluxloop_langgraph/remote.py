"""
Record calls of graphs that run on a server: the input and what they stream back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fluxloop import FluxLoopClient, ObservationType
from fluxloop.bridge import Spec, begin

from .call_state import thread_id_in


def recorded_remote(method: Callable[..., Any], client: FluxLoopClient) -> Callable[..., Any]:
    """Return *method*, a generator function of `RemoteGraph`, with each call recorded as a CHAIN."""

    @functools.wraps(method)
    def call(self: Any, input: Any, config: Any = None, *args: Any, **options: Any) -> Any:
        stream = method(self, input, config, *args, **options)
        metadata = {"assistant_id": getattr(self, "assistant_id", None)}
        thread_id = thread_id_in(config) or thread_id_in(getattr(self, "config", None))
        spec = Spec(
            client,
            ObservationType.CHAIN,
            getattr(self, "name", None) or "RemoteGraph",
            opens_trace=True,
            metadata=metadata,
            trace={"session_id": thread_id, "metadata": metadata.copy()},
            bind=lambda input: input,
        )
        execution = begin(spec, (input,), {})
        if execution is None:
            return stream
        execution.enter()
        return execution.returned(stream)

    return call
