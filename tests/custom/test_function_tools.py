"""An instrumented tool of the Agents SDK is the same to the SDK, the model and the program as the plain one."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import inspect
import logging
import threading
from typing import Any

import pytest
from agents import Agent, FunctionTool, RunContextWrapper, function_tool
from agents.models.chatcmpl_converter import Converter as ChatConverter
from agents.models.openai_responses import Converter as ResponsesConverter
from agents.tool_context import ToolContext
from custom.agents_aid import Calls, Says, agent_of, recorded, run, tool_of

import fluxloop
from fluxloop_custom import instrument_tool, openai_agents, traced_tool
from fluxloop_custom.openai_agents import internals
from fluxloop_custom.openai_agents.internals import running_spans

HAS = {field.name for field in dataclasses.fields(FunctionTool)}
"""The options of the installed SDK's tools; older releases have fewer."""

streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def below(func: Any, **options: Any) -> Any:
    """The SDK's decorator on top of FluxLoop's."""
    return function_tool(fluxloop.tool(func), **options)


def above(func: Any, **options: Any) -> Any:
    """FluxLoop's decorator on top of the SDK's."""
    return fluxloop.tool(function_tool(func, **options))


def finished(func: Any, **options: Any) -> Any:
    """A finished tool, given to `instrument_tool`."""
    return instrument_tool(function_tool(func, **options))


def traced(func: Any, **options: Any) -> Any:
    """Made by `traced_tool`."""
    return traced_tool(function_tool, **options)(func)


each_way = pytest.mark.parametrize("made", [below, above, finished, traced])


def search(query: str, limit: int = 5, tags: list[str] | None = None) -> str:
    """
    Search the catalogue.

    Args:
        query: What to look for.
        limit: How many to return.
        tags: Only those with these.
    """
    return f"{query}:{limit}:{tags}"


async def lookup(ctx: RunContextWrapper[Any], city: str) -> str:
    """Look a city up."""
    return f"{ctx.context}:{city}"


def looks_of(tool: FunctionTool) -> dict[str, Any]:
    """Return all fields of a tool except its invoker."""
    return {name: value for name, value in vars(tool).items() if name not in ("on_invoke_tool", "_agent_instance")}


@each_way
@pytest.mark.parametrize("func", [search, lookup])
@pytest.mark.parametrize(
    "options", [{}, {"strict_mode": False}, {"name_override": "other"}, {"use_docstring_info": False}]
)
def test_an_instrumented_tool_looks_like_the_plain_one(made, func, options):
    """Type, schema, strict mode, description and every option are the same."""
    tool = made(func, **options)

    assert type(tool) is FunctionTool
    assert looks_of(tool) == looks_of(function_tool(func, **options))


@each_way
def test_options_of_later_releases_are_kept(made):
    """Approval, guardrails, timeouts, error functions: all options are those of the plain tool."""
    known = {
        "needs_approval": True,
        "tool_input_guardrails": [],
        "timeout_seconds": 2.0,
        "timeout_behavior": "raise_exception",
        "defer_loading": True,
    }
    takes = set(inspect.signature(function_tool).parameters)
    options = {name.replace("_seconds", ""): value for name, value in known.items() if name in HAS}
    options = {name: value for name, value in options.items() if name in takes} | {"is_enabled": lambda *_: True}

    tool = made(lookup, **options, failure_error_function=None)

    assert looks_of(tool) == looks_of(function_tool(lookup, **options, failure_error_function=None))


@each_way
@pytest.mark.parametrize("func", [search, lookup])
def test_both_converters_accept_an_instrumented_tool(made, func):
    """The Responses and Chat Completions APIs get the same description of the tool."""
    tool, plain = made(func), function_tool(func)

    assert ChatConverter.tool_to_openai(tool) == ChatConverter.tool_to_openai(plain)
    assert ResponsesConverter.convert_tools([tool], []) == ResponsesConverter.convert_tools([plain], [])


@each_way
@streamed_or_not
async def test_an_instrumented_tool_does_what_the_plain_one_does(made, streamed):
    """Result, item and conversation are the same; the call is one TOOL with its arguments."""
    turns = (Calls("search", {"query": "boots", "limit": 2, "tags": None}), Says("found"))
    plain = agent_of(*turns, tools=[function_tool(search)])
    ours = agent_of(*turns, tools=[made(search)])

    with recorded() as captured:
        answers = [await run(agent, streamed=streamed) for agent in (plain, ours)]

    record = tool_of(captured.traces()[1])
    assert answers == ["found", "found"]
    assert ours.model.asked == plain.model.asked
    assert (record.name, record.input) == ("search", {"query": "boots", "limit": 2, "tags": None})
    assert record.output == "boots:2:None"


@each_way
async def test_the_context_is_not_an_argument_of_the_tool(made):
    """The function receives the SDK's context, which is neither in the schema nor in the record."""
    with recorded() as captured:
        await run(agent_of(Calls("lookup", {"city": "Rome"}), Says("ok"), tools=[made(lookup)]), context="me")

    record = tool_of(captured.traces()[0])
    assert (record.input, record.output) == ({"city": "Rome"}, "me:Rome")


def failing(number: int) -> str:
    """Fail."""
    raise LookupError(f"no number {number}")


@each_way
@streamed_or_not
async def test_the_real_exception_is_recorded_and_the_model_gets_the_same_text(made, streamed):
    """Class, message and traceback are the tool's, also if the SDK redacts the error."""
    seen: list[Exception] = []

    def formatted(ctx: Any, error: Exception) -> str:
        seen.append(error)
        return f"sorry: {error}"

    agent = agent_of(
        Calls("failing", {"number": 7}), Says("ok"), tools=[made(failing, failure_error_function=formatted)]
    )
    with recorded() as captured:
        await run(agent, streamed=streamed)

    record = tool_of(captured.traces()[0])
    assert [type(error) for error in seen] == [LookupError]
    assert (record.error, record.metadata["error_type"]) == ("no number 7", "LookupError")
    assert "raise LookupError" in record.metadata["traceback"]
    assert record.output == "sorry: no number 7"


@each_way
async def test_the_exception_that_ends_the_run_is_the_same(made):
    """Without an error function the SDK raises; the TOOL keeps the tool's own exception, not the SDK's."""
    agent = agent_of(Calls("failing", {"number": 7}), tools=[made(failing, failure_error_function=None)])
    with recorded() as captured, pytest.raises(Exception, match="no number 7") as caught:
        await run(agent)

    record = tool_of(captured.traces()[0])
    assert type(caught.value).__name__ == "UserError"
    assert (record.error, record.metadata["error_type"]) == ("no number 7", "LookupError")
    assert captured.traces()[0].status == "error"


async def test_a_tool_that_captures_nothing_has_no_data_from_the_sdk_either():
    """The SDK's span of the call has arguments and result; they are not recorded."""
    quiet = instrument_tool(function_tool(search), capture_input=False, capture_output=False)
    with recorded() as captured:
        await run(agent_of(Calls("search", {"query": "q", "limit": 1, "tags": None}), Says("ok"), tools=[quiet]))

    record = tool_of(captured.traces()[0])
    assert (record.status, record.input, record.output) == ("success", None, None)


@each_way
async def test_plain_functions_run_in_the_same_thread(made):
    """Whether the installed SDK runs a plain function in a thread does not change."""
    threads: list[bool] = []

    def where() -> str:
        threads.append(threading.current_thread() is threading.main_thread())
        return "here"

    await run(agent_of(Calls("where"), Says("ok"), tools=[function_tool(where)]))
    with recorded() as captured:
        await run(agent_of(Calls("where"), Says("ok"), tools=[made(where)]))

    assert threads[0] == threads[1]
    assert tool_of(captured.traces()[0]).output == "here"


@pytest.mark.skipif("timeout_seconds" not in HAS, reason="this SDK's tools have no timeouts")
@pytest.mark.parametrize("made", [function_tool, below, above, finished, traced])
async def test_a_tool_that_times_out_is_cancelled(made):
    """The model gets the SDK's message; the TOOL has the status cancelled."""

    async def slow() -> str:
        await asyncio.sleep(5)
        return "late"

    with recorded() as captured:
        await run(agent_of(Calls("slow"), Says("ok"), tools=[made(slow, timeout=0.02)]))

    record = tool_of(captured.traces()[0])
    assert record.status == "cancelled"
    assert "timed out" in record.output


@pytest.mark.skipif("timeout_seconds" not in HAS, reason="this SDK's tools have no timeouts")
@pytest.mark.parametrize("made", [function_tool, below, above, finished, traced])
async def test_a_timeout_that_ends_the_run_is_the_tools_error(made):
    """The function was cancelled; the SDK raises an exception of its own."""

    async def slow() -> str:
        await asyncio.sleep(5)
        return "late"

    tool = made(slow, timeout=0.02, timeout_behavior="raise_exception")
    with recorded() as captured, pytest.raises(Exception, match="timed out"):
        await run(agent_of(Calls("slow"), tools=[tool]))

    record = tool_of(captured.traces()[0])
    assert (record.status, record.metadata["error_type"]) == ("error", "ToolTimeoutError")


@pytest.mark.skipif("tool_input_guardrails" not in HAS, reason="this SDK's tools have no guardrails")
@each_way
async def test_guardrails_of_an_instrumented_tool_are_applied(made):
    """A call that an input guardrail rejects never reaches the function."""
    from agents import ToolGuardrailFunctionOutput, tool_input_guardrail

    @tool_input_guardrail
    def never(data: Any) -> Any:
        return ToolGuardrailFunctionOutput.reject_content("not allowed")

    tool = made(search)
    tool.tool_input_guardrails = [never]
    with recorded() as captured:
        await run(agent_of(Calls("search", {"query": "q", "limit": 1, "tags": None}), Says("ok"), tools=[tool]))

    assert tool_of(captured.traces()[0]).output == "not allowed"


async def test_the_end_of_a_tool_without_guardrails_searches_no_frames(monkeypatch):
    """The stack is read once per call, when it starts: reading the variables of a frame takes long."""
    read: list[object] = []
    frame = running_spans._tool_frame
    monkeypatch.setattr(running_spans, "_tool_frame", lambda: read.append(None) or frame())

    with recorded() as captured:
        await run(agent_of(Calls("search", {"query": "q"}), Says("ok"), tools=[function_tool(search)]))

    assert tool_of(captured.traces()[0]).status == "success"
    assert len(read) == 1


@each_way
async def test_a_disabled_tool_stays_disabled(made):
    """`is_enabled` is evaluated as before."""
    tool = made(search, is_enabled=False)

    assert await Agent(name="A", tools=[tool]).get_all_tools(RunContextWrapper(None)) == []


async def test_a_tool_with_an_invoker_of_its_own_is_recorded_with_its_arguments():
    """A FunctionTool that is made by hand is recorded at its invoker; arguments that are not JSON are text."""

    async def invoke(ctx: ToolContext[Any], arguments: str) -> str:
        return arguments.upper()

    schema: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    plain = FunctionTool(name="raw", description="", params_json_schema=schema, on_invoke_tool=invoke)
    ours = instrument_tool(plain)

    with recorded() as captured:
        await run(agent_of(Calls("raw", {"a": 1}), Calls("raw", "nonsense"), Says("ok"), tools=[ours]))

    first, second = (o for o in captured.traces()[0].observations if o.type.name == "TOOL")
    assert (first.input, first.output) == ({"a": 1}, '{"A": 1}')
    assert (second.input, second.output) == ("nonsense", "NONSENSE")
    assert plain.on_invoke_tool is invoke


async def test_arguments_that_are_not_json_fail_as_before_and_are_recorded_as_text():
    """The input of the TOOL is the model's text; the model gets the SDK's error."""
    with recorded() as captured:
        answer = await run(agent_of(Calls("search", "{not json"), Says("ok"), tools=[above(search)]))

    record = tool_of(captured.traces()[0])
    assert (answer, record.status, record.input) == ("ok", "error", "{not json")


@pytest.mark.parametrize("copied", [copy.copy, dataclasses.replace], ids=["copy", "replace"])
async def test_copies_of_an_instrumented_tool_are_instrumented(copied):
    """The SDK and programs copy tools; a copy is recorded too."""
    tool = copied(above(failing))

    with recorded() as captured:
        await run(agent_of(Calls("failing", {"number": 1}), Says("ok"), tools=[tool]))

    assert tool_of(captured.traces()[0]).metadata["error_type"] == "LookupError"


def test_instrument_tool_leaves_the_given_tool_unchanged():
    """It returns a copy, whose ``__wrapped__`` is the user's function."""
    plain = function_tool(search)
    ours = instrument_tool(plain)

    assert ours is not plain
    assert ours.on_invoke_tool is not plain.on_invoke_tool
    assert getattr(ours, "__wrapped__", search) is search


def test_decorators_return_real_functions():
    """`function_tool` rejects partials and callable objects; a recorded function is neither."""
    decorated = fluxloop.tool(search)

    assert inspect.isfunction(decorated)
    assert not isinstance(decorated, functools.partial)


def test_the_sdk_rejects_a_plain_function_as_a_tool():
    """A framework without an instrumenter needs its own tool object: "Unknown tool type" is the SDK's error."""
    with pytest.raises(Exception, match="Unknown tool type"):
        ResponsesConverter.convert_tools([search], [])


async def test_a_tool_of_an_sdk_that_hides_the_function_is_recorded_from_outside(monkeypatch, caplog):
    """A release without the private variable: one warning, and the tool works (bad input)."""
    monkeypatch.setattr(internals.tools, "_FUNCTION", "somewhere_else")
    monkeypatch.setattr(FunctionTool, "__wrapped__", None, raising=False)

    with caplog.at_level(logging.WARNING, logger="fluxloop"):
        tools = [above(search), above(failing)]
    with recorded() as captured:
        await run(agent_of(Calls("search", {"query": "q", "limit": 1, "tags": None}), Says("ok"), tools=tools))

    assert tool_of(captured.traces()[0]).output == "q:1:None"
    assert ["the function in a FunctionTool is missing" in record.message for record in caplog.records] == [True]


def test_a_tool_without_an_invoker_is_returned_unchanged(caplog):
    """A release whose tools have no invoker: one warning, and the same tool (bad input)."""
    tool: Any = dataclasses.replace(function_tool(search))
    del tool.on_invoke_tool

    with caplog.at_level(logging.WARNING, logger="fluxloop"):
        assert (fluxloop.tool(tool), instrument_tool(tool)) == (tool, tool)

    assert ["on_invoke_tool is missing" in record.message for record in caplog.records] == [True]


async def test_a_failing_storage_does_not_affect_the_run():
    """Failed writes are counted, and the agent answers (bad input)."""

    class Broken:
        def write(self, records: Any) -> None:
            raise OSError("disk full")

        def close(self) -> None: ...

    client = fluxloop.FluxLoopClient(storage=Broken())
    openai_agents.install(client=client)
    agent = agent_of(Calls("search", {"query": "q", "limit": 1, "tags": None}), Says("ok"), tools=[above(search)])
    answer = await run(agent)
    openai_agents.uninstall()

    assert answer == "ok"
    assert client.report().failed >= 5
