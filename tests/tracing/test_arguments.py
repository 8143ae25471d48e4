"""What is captured of a call: the arguments the caller chose, and not what a framework fills in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    """A description for the model is no mark of the framework's."""

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
