"""Arguments of a call that are captured: those of the caller, without those that a framework passes."""

from __future__ import annotations

import functools
import inspect
import keyword
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import pytest
from agents import RunContextWrapper
from langchain.agents import create_agent
from langchain.tools import InjectedState
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolArg, InjectedToolCallId, tool
from scripted_models import ScriptedModel, calls

import fluxloop
from fluxloop.testing import capture
from fluxloop.tracing.arguments import binder

if TYPE_CHECKING:
    from chatkit.agents import AgentContext


class RunContext:
    """What pydantic-ai calls its own."""


def wrapped(city: str, ctx: RunContextWrapper[Any]) -> None: ...


def optional(city: str, ctx: RunContext | None = None) -> None: ...


def configured(city: str, config: RunnableConfig | None = None) -> None: ...


def marked(city: str, ctx: Annotated[dict[str, Any], InjectedState]) -> None: ...


def marked_with_more(city: str, ctx: Annotated[str, "who", InjectedToolArg()]) -> None: ...


def seen_by_type_checkers_alone(city: str, ctx: AgentContext[Any]) -> None: ...


@pytest.mark.parametrize("func", [wrapped, optional, configured, marked, marked_with_more, seen_by_type_checkers_alone])
def test_what_a_framework_fills_in_is_no_argument(func):
    """By its type, alone or among others, by LangChain's mark, and where its name is all there is."""
    assert binder(func)("Rome", object()) == {"city": "Rome"}


def test_an_annotated_argument_of_the_callers_own_is_captured():
    """An annotation with a description for the model is not a mark of the framework."""

    def described(city: Annotated[str, "where to look"], near: int | None = None) -> None: ...

    assert binder(described)("Rome") == {"city": "Rome", "near": None}


def test_a_tool_below_the_framework_decorator_does_not_record_the_state_it_is_given():
    """The conversation so far, which LangGraph hands to the tool, is not in each of its inputs."""

    @tool
    @fluxloop.tool
    def look(
        city: str, state: Annotated[dict[str, Any], InjectedState], call: Annotated[str, InjectedToolCallId]
    ) -> str:
        """Look."""
        return f"{city} {call} {len(state['messages'])}"

    model = ScriptedModel(replies=[calls("look", {"city": "Rome"}), "done"])
    with capture() as captured, fluxloop.instrument("run"):
        create_agent(model, [look]).invoke({"messages": "hi"})

    assert captured.outline(inputs=True) == "SPAN run\n  TOOL look({'city': 'Rome'}) -> 'Rome call-1 2'"


KINDS = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
AWKWARD = ["bind", "_default_1", "_0", "_1", "func", "spec", "call", "given", "args", "kwargs", "self", "cls", "MASK"]
AWKWARD += ["__debug__", "__class__", "__init__", "__import__", "match", "_", "print", "client", "parameter", "ﬁ"]


def with_signature(*parameters: inspect.Parameter) -> Any:
    """Return a function that has these parameters for `inspect`, as a wrapper made by a library has."""

    def answer(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    answer.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return answer


@pytest.mark.parametrize("name", [*keyword.kwlist, *AWKWARD])
def test_a_positional_parameter_may_have_any_name(name):
    """A parameter that is passed by position alone can be called ``class``, as in functions written in C."""
    first = inspect.Parameter("first", KINDS[0])
    named = inspect.Parameter(name, KINDS[0], default=5)
    func = fluxloop.agent(with_signature(first, named, inspect.Parameter("rest", inspect.Parameter.VAR_KEYWORD)))

    with capture() as captured:
        assert func(1, 2, **{name: 3}) == ((1, 2), {name: 3})
        assert func(1) == ((1,), {})

    inputs = [trace.observations[0].input for trace in captured.traces()]
    assert inputs == [{"first": 1, name: 2, "rest": {name: 3}}, {"first": 1, name: 5, "rest": {}}]


@pytest.mark.parametrize("kind", KINDS[1:], ids=str)
@pytest.mark.parametrize("name", [*AWKWARD, *keyword.softkwlist])
def test_a_parameter_may_have_a_name_of_ours_or_of_pythons(name, kind):
    """Names that the decorator uses itself, dunder names and names of builtins are names like any other."""
    first = inspect.Parameter("first", KINDS[1])
    func = fluxloop.agent(with_signature(first, inspect.Parameter(name, kind, default=5)))

    with capture() as captured:
        assert func(1, **{name: [2]}) == ((1,), {name: [2]})

    (trace,) = captured.traces()
    assert "1" in str(trace.observations[0].input)
    assert "[2]" in str(trace.observations[0].input)


def test_parameters_written_in_python_may_have_names_of_ours():
    """The same for a function with these parameters in its source."""

    def answer(bind, _default_1, /, func=3, *args, spec, call=6, **kwargs):
        return bind, _default_1, func, args, spec, call, kwargs

    decorated = fluxloop.agent(answer)
    with capture() as captured:
        assert decorated(1, 2, spec=5, _1=7) == (1, 2, 3, (), 5, 6, {"_1": 7})

    assert captured.traces()[0].observations[0].input == {
        "bind": 1,
        "_default_1": 2,
        "func": 3,
        "args": [],
        "spec": 5,
        "call": 6,
        "kwargs": {"_1": 7},
    }


class RaisingSignature:
    """A callable whose signature raises."""

    __name__ = __qualname__ = "raising"

    @property
    def __signature__(self) -> NoReturn:
        raise RuntimeError("no signature")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs


def test_a_function_without_a_readable_signature_is_recorded():
    """A builtin without a signature, and one whose signature raises, have their arguments as they were passed."""
    unreadable = functools.wraps(len)(lambda *args, **kwargs: (args, kwargs))
    unreadable.__signature__ = 5

    assert binder(unreadable)(1, args=2) == {"args": (1,), "kwargs": {"args": 2}}
    assert binder(RaisingSignature())(1, b=2) == {"args": (1,), "b": 2}
    assert binder(dict.fromkeys)([1], 2) == {"iterable": [1], "value": 2}
