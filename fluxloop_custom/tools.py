"""
Record the tools of any framework, and keep their type.

The decorator of a framework that turns a function into an object must be the outermost one. `traced_tool` keeps it
there, `instrument_tool` replaces the function in a finished object, `observe_tool` records the body of a tool, and
`register_framework` adds a framework to `instrument_tool`. No framework is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import fluxloop
from fluxloop import ObservationType
from fluxloop.bridge import UNTRACED, Recording, add_instrumenter, is_outside, rename_default
from fluxloop.errors import DecorationError

if TYPE_CHECKING:
    from fluxloop.bridge import ManualScope

T = TypeVar("T")

Recognise = Callable[[object], bool]
Instrument = Callable[[Any, Recording], Any]


def traced_tool(
    framework_decorator: Callable[..., Any], /, *its_arguments: Any, **its_options: Any
) -> Callable[[Callable[..., Any]], Any]:
    """
    Return a decorator that applies the framework's decorator on top of FluxLoop's.

    The observation has the name of the framework's tool: its attribute ``name``, or else the option ``name``.

    Args:
        framework_decorator: Makes a tool of a function. With arguments or options, it is called with these
            first, and the decorator that it returns is applied.
        its_arguments: Its positional arguments.
        its_options: Its options.
    """
    has_options = its_arguments or its_options
    decorate = framework_decorator(*its_arguments, **its_options) if has_options else framework_decorator

    def traced(func: Callable[..., Any]) -> Any:
        recorded = fluxloop.tool(func)
        tool = decorate(recorded)
        # A framework that registers the function and returns it unchanged publishes no name.
        called = getattr(tool, "name", its_options.get("name"))
        if isinstance(called, str):
            rename_default(recorded, called)
        return tool

    return traced


def instrument_tool(
    tool: T,
    *,
    name: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    capture_input: bool = True,
    capture_output: bool = True,
) -> T:
    """
    Return a recorded copy of *tool*, of the same type, with the same schema and options.

    The innermost function is recorded: its arguments, and the exception that it raises, before the framework turns
    that into a text. A tool that is recorded already, a tool that the provider runs, and an agent used as a tool,
    whose run is recorded, are returned unchanged.

    Args:
        tool: The tool object, or a plain function.
        name: The observation's name; the tool's by default.
        description: The purpose of the tool; part of the metadata.
        metadata: The metadata of every observation.
        capture_input: Whether to record the arguments.
        capture_output: Whether to record the result.

    Raises:
        DecorationError: If no registered framework recognises it, see `register_framework`.
    """
    decorate = fluxloop.tool(
        name,
        description=description,
        metadata=metadata,
        capture_input=capture_input,
        capture_output=capture_output,
    )
    instrumented: T = decorate(tool)  # type: ignore[type-var]
    return instrumented


def observe_tool(
    name: str, args: Mapping[str, Any] | None = None, *, metadata: Mapping[str, Any] | None = None
) -> ManualScope:
    """
    Record the body of a tool, in a ``with`` or ``async with`` block.

    The block gets the `ObservationData`, on which it sets ``output``; an exception that leaves the block is recorded.
    Outside a trace nothing is recorded, and the block gets an object that accepts and ignores every attribute.

    Args:
        name: The observation's name, such as ``tool.my_tool``.
        args: The tool's arguments by name; the input reads ``{"args": …}``.
        metadata: Further metadata.
    """
    if is_outside():  # checked here too: the call below costs as much again
        return UNTRACED
    return fluxloop.observe(name, ObservationType.TOOL, input={"args": args or {}}, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Framework:
    """The functions that recognise and record the tools of one framework."""

    recognise: Recognise
    instrument: Instrument


def of_class(*names: str) -> Recognise:
    """
    Return a function that recognises objects by the names of their classes, without importing these.

    Args:
        names: Qualified names of classes, which include their subclasses, such as ``my_framework.tools.Tool``.
    """
    known = frozenset(names)

    def recognise(target: object) -> bool:
        return any(f"{kind.__module__}.{kind.__qualname__}" in known for kind in type(target).__mro__)

    return recognise


_frameworks: list[Framework] = []
"""The registered frameworks, the latest one first."""


def register_framework(recognise: Recognise | str, instrument: Instrument) -> None:
    """
    Let `instrument_tool`, and FluxLoop's decorators on top of the framework's, record a framework's tools.

    Args:
        recognise: Whether an object is a tool of the framework's, or the qualified name of its class.
        instrument: Takes a tool and *recording*, and returns a tool of the same type in which the user's function
            is replaced by ``recording(function, called=tool_name)``. It must not change the given tool.

    Raises:
        DecorationError: If one of them is not a function.
    """
    recognise = of_class(recognise) if isinstance(recognise, str) else recognise
    for given in (recognise, instrument):
        if not callable(given):
            raise DecorationError(
                f"register_framework takes two functions, or a class's name and a function, got {given!r}"
            )
    _frameworks.insert(0, Framework(recognise, instrument))


def instrumenter(target: Any, recording: Recording, /) -> Any:
    """Return *target* recorded, or None if no registered framework recognises it."""
    for framework in _frameworks:
        if framework.recognise(target):
            made = framework.instrument(target, recording)
            if made is None:
                raise DecorationError(
                    f"the function registered for {type(target).__qualname__} must return a tool, but returned None"
                )
            return made
    return None


add_instrumenter(instrumenter)
