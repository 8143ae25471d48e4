"""
What a decorator or scope records: the part that is the same for all its calls, from its options, which are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..encoding.record_text import label_of
from ..enums import ObservationType
from ..errors import DecorationError, TypeNameError
from .arguments import Binder

if TYPE_CHECKING:
    from .stream_items import StreamObserver
    from .tracer import Tracer


@dataclass(slots=True)
class Spec:
    """The part of a recording that is the same for all calls: the type, name and options of a decorator or scope."""

    tracer: Tracer
    type: ObservationType
    name: str = ""
    opens_trace: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    capture_input: bool = True
    capture_output: bool = True
    read_facts: Callable[[object], Any] | None = None
    """Reads token counts, model and finish reasons from a result; None if they are not captured."""
    fields: dict[str, Any] = field(default_factory=dict)
    trace: dict[str, Any] = field(default_factory=dict)
    """The session, user, tags and metadata for a new or open trace; see `OpenTrace`."""
    session: str | Callable[..., object] | None = None
    """The session of the trace, or a function that returns it for the arguments of a call."""
    bind: Binder | None = None
    is_named: bool = False
    """Whether the user chose the name; otherwise a framework may change it."""
    stream_items: Callable[[Any], StreamObserver] | None = None
    """Creates the observer of a stream; `StreamItems` if None."""
    called: str = ""
    """The name of the function, or the framework's name of the tool."""
    func: Callable[..., Any] | None = None
    """The recorded function; None for a scope."""
    label: str = ""

    def __post_init__(self) -> None:
        self.label = label_of(self.type, self.name)


def observation_type_of(name: ObservationType | str) -> ObservationType:
    """
    Return the observation type with this *name*, in any case.

    Raises:
        TypeNameError: If no observation type has this name; the message lists the types.
    """
    try:
        return ObservationType(name)
    except ValueError:
        raise TypeNameError(f"Invalid observation_type {name!r}. Expected one of: {listed(ObservationType)}") from None


def listed(enum: Any) -> str:
    return ", ".join(member.value for member in enum)


def checked_options(
    decorator: str, metadata: Mapping[str, Any] | None, capture_input: bool, capture_output: bool
) -> dict[str, Any]:
    """Check the options that all decorators have, and return them."""
    check_option(decorator, "metadata", metadata, (Mapping, type(None)), "a dict")
    check_option(decorator, "capture_input", capture_input, bool, "True or False")
    check_option(decorator, "capture_output", capture_output, bool, "True or False")
    return {"metadata": dict(metadata or {}), "capture_input": capture_input, "capture_output": capture_output}


def check_option(decorator: str, option: str, value: object, types: Any, accepted: str) -> None:
    if not isinstance(value, types):
        raise DecorationError(f"{option} of fluxloop.{decorator} must be {accepted}, got {value!r:.100}")
