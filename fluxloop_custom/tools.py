"""
Tools of any framework, recorded inside and left what they are.

A framework that turns a function into an object of its own wants its decorator outermost. `traced_tool`
keeps it there, `instrument_tool` reaches into a finished object, `observe_tool` stands in a tool's body, and
`register_framework` teaches the second about one more framework. No framework is imported here.
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
    Return a decorator: the framework's outermost, ours below it, on the function itself.

    The observation goes by the name the framework gave its tool: its ``name``, else the one among the options.

    Args:
        framework_decorator: What makes a tool of a function. With arguments or options it is called with
            these first, and what that returns is applied; without, it is applied as it is.
        its_arguments: Its positional arguments.
        its_options: Its options.
    """
    has_options = its_arguments or its_options
    decorate = framework_decorator(*its_arguments, **its_options) if has_options else framework_decorator

    def traced(func: Callable[..., Any]) -> Any:
        recorded = fluxloop.tool(func)
        tool = decorate(recorded)
        # A framework that registers the function, and hands it back, keeps the name to itself.
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
    Return a tool of the same type, schema and options as *tool*, which is left as it was, recorded inside.

    What is recorded is the innermost function: its arguments, and the exception it really raised, before the
    framework makes a text of it. A tool that is recorded already, one that runs at the provider's, and an
    agent used as a tool (its run is recorded) come back as they are.

    Args:
        tool: The tool object, or a plain function.
        name: The observation's name; the tool's by default.
        description: What the tool is for; goes into the metadata.
        metadata: Put on every observation made.
        capture_input: Whether to record the arguments.
        capture_output: Whether to record what is returned.

    Raises:
        DecorationError: If it is an object nobody registered, see `register_framework`.
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
    Record the body of a tool: the manual pattern in one line, for ``with`` and ``async with``.

    The block gets the `ObservationData`, on which ``output`` is to be set; an exception that leaves the block
    is recorded. Outside a trace nothing is recorded, and the block gets a stand-in that takes everything.

    Args:
        name: The observation's name, kept as given, such as ``tool.my_tool``.
        args: The tool's arguments by name; the input reads ``{"args": …}``.
        metadata: Anything more about it.
    """
    if is_outside():  # asked here as well, since what comes next already costs as much again
        return UNTRACED
    return fluxloop.observe(name, ObservationType.TOOL, input={"args": args or {}}, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Framework:
    """How the tools of one framework are recognised, and recorded inside."""

    recognise: Recognise
    instrument: Instrument


def of_class(*names: str) -> Recognise:
    """
    Return what recognises objects of classes, or of subclasses of classes, by name: importing them is not needed.

    Args:
        names: Qualified names such as ``my_framework.tools.Tool``.
    """
    known = frozenset(names)

    def recognise(target: object) -> bool:
        return any(f"{kind.__module__}.{kind.__qualname__}" in known for kind in type(target).__mro__)

    return recognise


_frameworks: list[Framework] = []
"""The registered frameworks; the one registered last is asked first."""


def register_framework(recognise: Recognise | str, instrument: Instrument) -> None:
    """
    Let `instrument_tool`, and FluxLoop's decorators above the framework's, reach inside a framework's tools.

    Args:
        recognise: Whether an object is a tool of the framework's, or the qualified name of its class.
        instrument: Takes a tool and *recording*, and returns a tool of the same type in which the user's function
            is replaced by ``recording(function, called=tool_name)``. It should leave the given tool as it was.

    Raises:
        DecorationError: If one of them is no function.
    """
    recognise = of_class(recognise) if isinstance(recognise, str) else recognise
    for given in (recognise, instrument):
        if not callable(given):
            raise DecorationError(
                f"register_framework takes two functions, or a class's name and a function, got {given!r}"
            )
    _frameworks.insert(0, Framework(recognise, instrument))


def instrumenter(target: Any, recording: Recording, /) -> Any:
    """Return *target* recorded inside; None where no registered framework recognises it."""
    for framework in _frameworks:
        if framework.recognise(target):
            made = framework.instrument(target, recording)
            if made is None:
                raise DecorationError(f"what is registered for {type(target).__qualname__} returned no tool, but None")
            return made
    return None


add_instrumenter(instrumenter)
