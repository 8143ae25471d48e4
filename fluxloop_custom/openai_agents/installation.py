"""
Install the processor for every run of the Agents SDK, and remove the SDK's own exporter.

The SDK sends traces to OpenAI unless its exporter is removed; processors of other libraries stay.
"""

from __future__ import annotations

from inspect import isabstract

from agents import tracing

from fluxloop import FluxLoopClient
from fluxloop.bridge import log_once

from . import internals
from .processor import TWO_PROCESSORS, FluxLoopTracingProcessor

__all__ = ["install", "uninstall"]

_installed: FluxLoopTracingProcessor | None = None

_TRACING_OFF = (
    "the Agents SDK's tracing is switched off by set_tracing_disabled() or OPENAI_AGENTS_DISABLE_TRACING, so "
    "no run is recorded. Leave it on: install() removes the exporter that sends traces over the network"
)


def install(
    *, keep_exporter: bool = False, show_all: bool = False, client: FluxLoopClient | None = None
) -> FluxLoopTracingProcessor:
    """
    Record every run of the Agents SDK from now on; a second call changes nothing, and logs a warning once.

    The SDK's own exporter, which sends traces to OpenAI, is removed; other processors stay.

    Args:
        keep_exporter: Keep the SDK's exporter, so that traces are also sent over the network.
        show_all: See `FluxLoopTracingProcessor`.
        client: See `FluxLoopTracingProcessor`.

    Returns:
        The processor.
    """
    global _installed
    internals.probe()
    if _installed is not None and is_installed():
        log_once(TWO_PROCESSORS, _installed._client)
        return _installed
    _installed = FluxLoopTracingProcessor(show_all=show_all, client=client)
    if internals.is_off():
        log_once(_TRACING_OFF, _installed._client)
    if keep_exporter:
        tracing.add_trace_processor(_installed)
    else:
        others = [processor for processor in internals.processors() or () if not _may_export(processor)]
        tracing.set_trace_processors([*others, _installed])
    return _installed


def uninstall() -> None:
    """Stop recording runs; the SDK's exporter stays out, and other processors stay in."""
    global _installed
    if _installed is None:
        return
    tracing.set_trace_processors([each for each in internals.processors() or () if each is not _installed])
    _installed.shutdown()
    _installed = None


def is_installed() -> bool:
    """Return whether `install` has added a processor, and the SDK still has it."""
    present = internals.processors()
    return _installed is not None and (present is None or _installed in present)


def _may_export(processor: object) -> bool:
    """
    Whether *processor* may send what it collects to OpenAI.

    A processor or exporter of the SDK's classes may, unless it prints, or holds an exporter from elsewhere. Where the
    SDK keeps its exporter is private, so any attribute counts, and a processor without a known one counts as sending.
    """
    held = [getattr(value, "__self__", value) for value in getattr(processor, "__dict__", {}).values()]
    exporters = [value for value in held if callable(getattr(type(value), "export", None))]
    if any(_is_of_sdk(exporter) and type(exporter).__name__ != "ConsoleSpanExporter" for exporter in exporters):
        return True
    return _is_of_sdk(processor) and not exporters


def _is_of_sdk(value: object) -> bool:
    """Whether the class of *value* is the SDK's, or extends such a class and not just an abstract one."""
    return any(internals.in_sdk(kind) and not isabstract(kind) for kind in type(value).__mro__)
