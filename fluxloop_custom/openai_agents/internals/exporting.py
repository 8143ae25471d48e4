"""
The SDK's processors; its own one exports traces over the network.
"""

from __future__ import annotations

from typing import Any

from agents import tracing

from .parts import missing


def processors() -> tuple[Any, ...] | None:
    """
    Return the SDK's processors, which no public function lists.

    None if a release keeps them elsewhere: `install` and `uninstall` then replace those of other libraries as well,
    with the public function, since the SDK's own exporter could be among them.
    """
    found = getattr(getattr(tracing.get_trace_provider(), "_multi_processor", None), "_processors", None)
    if not isinstance(found, tuple | list):
        missing("TraceProvider._multi_processor", "install() replaces the processors of others as well")
        return None
    return tuple(found)


def is_off() -> bool:
    """Whether the SDK's tracing is switched off: a trace that is not recorded exports nothing."""
    return tracing.get_trace_provider().create_trace("fluxloop").export() is None
