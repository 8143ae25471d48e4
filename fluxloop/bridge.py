"""
The interface of the core for adapters: everything that an adapter may import.

Use a `Ledger` for frameworks that report events by id, and `recording` for functions that can be wrapped. A locator
returns the current node inside a step of a framework.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from .answering import (
    Answer,
    Change,
    ClassMethodsSeam,
    Question,
    Seam,
    SharedSeam,
    ask,
    ask_for,
    register_seam,
    replaying,
    seams_open,
    take_change,
)
from .client import FluxLoopClient, default
from .encoding.foreign import read_message
from .encoding.histories import read_history
from .encoding.record_text import label_of
from .enums import ObservationType
from .interruptions import was_raised_from_outside
from .llm.response_facts import read_facts
from .llm.sdk_streams import register_stream_class
from .llm.stream.assembly import StreamFacts, delta_text
from .report import log, missing, note_missing
from .tracing.calls import begin
from .tracing.decoration import decorate
from .tracing.events import record_event
from .tracing.executions import Execution
from .tracing.instrumenters import Instrumenter, Recording, add_instrumenter
from .tracing.ledger import Entry, Ledger
from .tracing.node import Node
from .tracing.observation import OpenObservation
from .tracing.outcomes import register_ending, status_of
from .tracing.propagation import Locator, add_locator, current, current_is, innermost, remove_locator
from .tracing.recorder import NOTHING
from .tracing.scopes import UNTRACED, ManualScope, is_outside
from .tracing.spec import Spec
from .tracing.stream_items import StreamItems, StreamObserver
from .tracing.streams import follow, is_followed
from .tracing.tool_matching import ToolMatcher
from .tracing.trace import name_session
from .tracing.whole import add_whole, on_keeping
from .tracing.wrapping import spec_of

__all__ = [
    "NOTHING",
    "UNTRACED",
    "Answer",
    "Change",
    "ClassMethodsSeam",
    "Entry",
    "Execution",
    "Instrumenter",
    "Ledger",
    "Locator",
    "ManualScope",
    "Node",
    "OpenObservation",
    "Question",
    "Recording",
    "Seam",
    "SharedSeam",
    "Spec",
    "StreamFacts",
    "StreamItems",
    "StreamObserver",
    "ToolMatcher",
    "add_instrumenter",
    "add_locator",
    "add_whole",
    "ask",
    "ask_for",
    "begin",
    "current",
    "current_is",
    "default",
    "delta_text",
    "follow",
    "innermost",
    "is_followed",
    "is_of_type",
    "is_outside",
    "is_recorded_as",
    "log",
    "log_once",
    "missing",
    "model_call_locators",
    "name_session",
    "note_missing",
    "on_keeping",
    "read_facts",
    "read_history",
    "read_message",
    "record_event",
    "recording",
    "recording_here",
    "register_ending",
    "register_seam",
    "register_stream_class",
    "remove_locator",
    "rename_default",
    "replaying",
    "require",
    "seams_open",
    "status_of",
    "take_change",
    "was_raised_from_outside",
]


def require(module: str, *, extra: str, by: str) -> None:
    """
    Check that *module* can be imported, without importing it.

    Args:
        module: The framework's module.
        extra: The extra of FluxLoop that installs the framework.
        by: The module that needs it.

    Raises:
        ModuleNotFoundError: If it is not installed; the message has the command that installs it.
    """
    try:
        is_installed = sys.modules.get(module) is not None or find_spec(module) is not None
    except ModuleNotFoundError as missing:  # find_spec imports the parent packages
        if not f"{module}.".startswith(f"{missing.name}."):
            raise
        is_installed = False
    if not is_installed:
        message = f"{by} needs '{module}', which is not installed.\n    pip install 'fluxloop[{extra}]'"
        raise ModuleNotFoundError(message, name=module)


def log_once(message: str, client: FluxLoopClient = default) -> None:
    """Log *message* as a warning, once per process and *client*, and list it in the client's `fluxloop.report`."""
    client.report_problem(message)


def is_recorded_as(observation_type: ObservationType, func: object) -> bool:
    """Return whether *func*, or the function that it wraps, already records its calls with this type."""
    spec = spec_of(func)
    return spec is not None and spec.type is observation_type


def is_of_type(node: Node, kind: ObservationType) -> bool:
    """Whether *node* is an open observation, or a call, of type *kind*."""
    return str(getattr(node, "label", "")).startswith(f'"type":"{kind.name}"')


model_call_locators: list[Locator] = []
"""
Each returns the model call that a framework makes here, or the node it was given.

For frameworks whose model calls are not the current observation while they run. Asked when a model's client sends a
request, so that the request is not recorded a second time.
"""


def rename_default(func: object, called: str) -> None:
    """Use *called*, a framework's name of the tool, for the observations of *func*, unless the user chose a name."""
    spec = spec_of(func)
    if spec is not None and not spec.is_named:
        spec.name = spec.called = called
        spec.label = label_of(spec.type, called)


def recording(
    func: Callable[..., Any],
    observation_type: ObservationType,
    name: str,
    *,
    client: FluxLoopClient = default,
    opens_trace: bool = False,
    bind: Callable[..., Any] | None = None,
    stream_items: Callable[[OpenObservation], StreamObserver] | None = None,
) -> Any:
    """
    Return *func* with each call recorded, as with a decorator.

    Args:
        func: A function of any call shape.
        observation_type: The type of the observations.
        name: The name of the observations.
        client: The client that records.
        opens_trace: Whether a call outside a trace opens one.
        bind: Returns the input to capture for the arguments of a call; by default the arguments by parameter name.
        stream_items: Creates the observer of a stream; by default `StreamItems`.
    """
    options: dict[str, Any] = {"opens_trace": opens_trace, "bind": bind, "stream_items": stream_items}
    return decorate(func, Spec(client, observation_type, name, is_named=True, **options))


recording_here = default.recording_here
"""Returns the current node if an observation that starts now would be recorded, else None."""
