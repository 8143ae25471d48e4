"""Runs of the Agents SDK as traces: trees, types, sessions, usage, and one record per call."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import Any

import pytest
from agents import (
    Agent,
    RunConfig,
    Runner,
    add_trace_processor,
    function_tool,
    set_trace_processors,
    set_tracing_disabled,
    trace,
)
from agents.tracing import (
    custom_span,
    generation_span,
    get_trace_provider,
    mcp_tools_span,
    speech_span,
    transcription_span,
)
from custom.agents_aid import (
    Calls,
    Says,
    ScriptedModel,
    add,
    agent_of,
    recorded,
    run,
    tool_of,
    without_models,
)

import fluxloop
from fluxloop import FluxLoopClient, get_current_context
from fluxloop.models import ObservationData, ObservationType
from fluxloop.testing import capture
from fluxloop_custom import observe_tool, openai_agents

streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def one_call(**options: Any) -> Agent[Any]:
    """Return an agent that adds two numbers and reports the sum."""
    return agent_of(Calls("add", {"a": 1, "b": 2}), Says("three"), tools=[add], **options)


# Trees


@streamed_or_not
async def test_a_run_is_a_trace_of_its_own(streamed):
    """Workflow, agent, model calls and tool in the right tree; tasks and turns add no level."""
    with recorded() as captured:
        await run(one_call(), streamed=streamed)

    assert captured.outline() == (
        "CHAIN Agent workflow -> 'three'\n"
        "  AGENT A -> 'three'\n"
        "    GENERATION response -> [{'type': 'function_call', 'name': 'add', 'arguments': '{\"a…\n"
        "    TOOL add -> 3\n"
        "    GENERATION response -> 'three'"
    )


async def test_a_trace_has_the_input_and_output_of_its_model_calls():
    """The SDK's spans of runs and agents have neither."""
    with recorded() as captured:
        await run(one_call(), question="1 + 2?")

    (found,) = captured.traces()
    agent = found.observations[1]
    assert (found.input, found.output) == ("1 + 2?", "three")
    assert (agent.input, agent.output, agent.metadata["tools"]) == ("1 + 2?", "three", ["add"])
    assert found.observations[2].input == [{"role": "user", "content": "1 + 2?"}]


async def test_with_show_all_tasks_and_turns_are_observations():
    """They are observations if the option is on and the installed SDK reports them."""
    with recorded(show_all=True) as captured:
        await run(one_call())

    steps = [o.name for o in captured.traces()[0].observations if o.type is ObservationType.CHAIN]
    assert steps in (["Agent workflow"], ["Agent workflow", "Agent workflow", "turn 1", "turn 2"])


async def test_a_run_inside_a_trace_becomes_part_of_it():
    """Inside an agent of the program's, the workflow adds no level and opens no trace."""

    @fluxloop.agent(name="Mine")
    async def mine() -> str:
        return await run(one_call())

    with recorded() as captured:
        await mine()

    (found,) = captured.traces()
    assert (found.name, [o.name for o in found.roots]) == ("Mine", ["Mine"])
    assert without_models(found) == "AGENT A('hi') -> 'three'\n  TOOL add({'a': 1, 'b': 2}) -> 3"


@pytest.mark.parametrize("nested", [False, True], ids=["own trace", "inside"])
async def test_the_group_is_the_session(nested):
    """`group_id` is the session of the run's own trace, or of the trace around it; the SDK's ids are recorded."""
    config = RunConfig(workflow_name="Shop", group_id="thread-7", trace_metadata={"plan": "gold"})
    with recorded() as captured:
        if nested:
            with fluxloop.instrument("outer"):
                await run(one_call(), run_config=config)
        else:
            await run(one_call(), run_config=config)

    (found,) = captured.traces()
    assert found.session_id == "thread-7"
    if not nested:
        assert (found.name, found.metadata["plan"]) == ("Shop", "gold")
        assert found.metadata["agents_trace_id"].startswith("trace_")


async def test_the_sdks_group_does_not_replace_the_programs_session():
    """A session set by the program has precedence over the SDK's group."""
    with recorded() as captured, fluxloop.instrument("outer", session_id="mine"):
        await run(one_call(), run_config=RunConfig(group_id="theirs"))

    assert captured.traces()[0].session_id == "mine"


async def test_concurrent_runs_do_not_mix():
    """Twenty concurrent runs are twenty traces of the same shape, each with its own arguments."""
    with recorded() as captured:
        agents = [agent_of(Calls("add", {"a": n, "b": 0}), Says(f"it is {n}"), tools=[add]) for n in range(20)]
        await asyncio.gather(*(run(agent) for agent in agents))

    found = {trace.output: tool_of(trace).output for trace in captured.traces()}
    assert found == {f"it is {n}": n for n in range(20)}


async def test_parallel_tools_of_one_turn_are_siblings():
    """Two calls of the same tool in one answer are two TOOLs."""
    turn = [Calls("add", {"a": 1, "b": 1}), Calls("add", {"a": 2, "b": 2})]
    with recorded() as captured:
        await run(agent_of(turn, Says("ok"), tools=[add]))

    assert without_models(captured.traces()[0]) == (
        "AGENT A('hi') -> 'ok'\n  TOOL add({'a': 1, 'b': 1}) -> 2\n  TOOL add({'a': 2, 'b': 2}) -> 4"
    )


async def test_an_agent_used_as_a_tool_nests_under_the_tool():
    """The inner run is recorded in full."""
    inner = one_call(name="Inner").as_tool("ask_inner", "Asks.")
    with recorded() as captured:
        await run(agent_of(Calls("ask_inner", {"input": "1 + 2?"}), Says("done"), tools=[inner]))

    assert without_models(captured.traces()[0]) == (
        "AGENT A('hi') -> 'done'\n"
        "  TOOL ask_inner({'input': '1 + 2?'}) -> 'three'\n"
        "    AGENT Inner('1 + 2?') -> 'three'\n"
        "      TOOL add({'a': 1, 'b': 2}) -> 3"
    )


async def test_several_runs_inside_a_trace_of_the_sdk_are_one_trace():
    """`agents.trace` groups them with the observations that the program records in between."""

    @fluxloop.tool
    def between() -> str:
        return "noted"

    with recorded() as captured, trace("Two steps", group_id="g"):
        await run(one_call(name="First"))
        between()
        await run(one_call(name="Second"))

    (found,) = captured.traces()
    assert (found.name, found.session_id) == ("Two steps", "g")
    assert [o.name for o in found.children(found.roots[0])] == ["First", "between", "Second"]


# One call is one TOOL


async def test_pattern_a_inside_a_tool_is_that_tool():
    """There is one TOOL, with the name, input and output that the body sets."""

    @function_tool
    async def my_tool(param: str) -> str:
        fl_ctx = get_current_context()
        assert fl_ctx is not None
        obs = ObservationData(type=ObservationType.TOOL, name="tool.my_tool", input={"args": {"param": param}})
        fl_ctx.push_observation(obs)
        try:
            obs.output = {"result": param}
            return param
        finally:
            fl_ctx.pop_observation()

    with recorded() as captured:
        await run(agent_of(Calls("my_tool", {"param": "x"}), Says("ok"), tools=[my_tool]))

    record = tool_of(captured.traces()[0])
    assert (record.name, record.input, record.output) == ("tool.my_tool", {"args": {"param": "x"}}, {"result": "x"})


@fluxloop.tool
def helper(x: int) -> int:
    """A helper of a tool."""
    return x * 10


@fluxloop.tool
async def async_helper(x: int) -> int:
    """An async helper of a tool."""
    return x * 100


@function_tool
def plain(x: int) -> int:
    """Use a helper, in the tool's thread."""
    return helper(x)


@function_tool
async def several(x: int) -> int:
    """Call helpers in sequence, concurrently, and in a thread."""
    await async_helper(x)
    return sum(await asyncio.gather(async_helper(x), async_helper(x), asyncio.to_thread(helper, x)))


@function_tool
@fluxloop.tool(name="tool.mine")
async def mine(x: int) -> int:
    """A recorded tool that calls a helper."""
    return await async_helper(x)


@function_tool(name_override="other_name")
@fluxloop.tool
def renamed(x: int) -> int:
    """A recorded tool with the SDK's name, in a thread."""
    return helper(x)


@function_tool
def by_hand(x: int) -> int:
    """A tool that is recorded by hand, in a thread."""
    with observe_tool("tool.by_hand", {"x": x}) as obs:
        obs.output = helper(x)
    return helper(x)


HELPER, ASYNC_HELPER = "TOOL helper({'x': 1}) -> 10", "TOOL async_helper({'x': 1}) -> 100"


@pytest.mark.parametrize(
    ("tool", "itself", "inside"),
    [
        (plain, "TOOL plain({'x': 1}) -> 10", [HELPER]),
        (several, "TOOL several({'x': 1}) -> 210", [ASYNC_HELPER, ASYNC_HELPER, ASYNC_HELPER, HELPER]),
        (mine, "TOOL tool.mine({'x': 1}) -> 100", [ASYNC_HELPER]),
        (renamed, "TOOL other_name({'x': 1}) -> 10", [HELPER]),
        (by_hand, "TOOL tool.by_hand({'args': {'x': 1}}) -> 10", [HELPER, HELPER]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@streamed_or_not
async def test_helpers_are_children_of_the_tool_and_never_replace_it(tool, itself, inside, streamed):
    """One call is one TOOL; the helpers that it calls are children of it."""
    with recorded() as captured:
        await run(agent_of(Calls(tool.name, {"x": 1}), Says("ok"), tools=[tool]), streamed=streamed)

    lines = without_models(captured.traces()[0]).splitlines()
    assert lines == ["AGENT A('hi') -> 'ok'", f"  {itself}", *(f"    {line}" for line in inside)]


# Usage


async def test_usage_is_counted_once():
    """The SDK repeats usage on turns and tasks; the trace has the sum of its model calls."""
    with recorded() as captured:
        await run(one_call())

    (found,) = captured.traces()
    calls = [o for o in found.observations if o.usage is not None]
    assert {o.type for o in calls} == {ObservationType.GENERATION}
    assert found.usage.model_dump(exclude_none=True) | {"cache_write_tokens": 0} == {
        "input_tokens": 20,
        "output_tokens": 10,
        "total_tokens": 30,
        "cache_read_tokens": 8,
        "cache_write_tokens": 0,
        "reasoning_tokens": 4,
    }


async def test_a_model_that_reports_no_usage_has_none():
    """Unreported usage is None, not zero (bad input)."""
    with recorded() as captured:
        await run(one_call(usage=False))

    assert captured.traces()[0].usage is None


async def test_a_model_call_has_model_and_parameters():
    """The model's name is a field of the record; its settings are recorded without headers or keys."""
    settings = {"temperature": 0.5, "extra_headers": {"x": "y"}}
    with recorded() as captured, trace("t"), generation_span(model="m-1", model_config=settings) as span:
        span.span_data.input = [{"role": "user", "content": "hi"}]
        span.span_data.output = [{"role": "assistant", "content": "hello"}]
        span.span_data.usage = {"input_tokens": 3, "output_tokens": 4}

    record = captured.traces()[0].observations[1]
    assert (record.type, record.model, record.output) == (ObservationType.GENERATION, "m-1", "hello")
    assert record.model_parameters == {"temperature": 0.5}
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (3, 4)


# Other spans


async def test_every_span_type_becomes_an_observation():
    """Handoff, guardrail, MCP list, custom, speech: type, input and output."""
    with recorded() as captured, trace("t"):
        with custom_span("lookup", {"rows": 3}):
            pass
        with mcp_tools_span(server="files") as span:
            span.span_data.result = ["read", "write"]
        with transcription_span(model="w-1", input="UklGRg==", input_format="pcm") as span:
            span.span_data.output = "hello"
        with speech_span(model="s-1", input="hello") as span:
            span.span_data.output = "UklGRg=="

    assert captured.outline(inputs=True).splitlines()[1:] == [
        "  SPAN lookup -> {'rows': 3}",
        "  SPAN list tools of files -> ['read', 'write']",
        "  GENERATION transcription({'format': 'pcm', 'base64_characters': 8}) -> 'hello'",
        "  GENERATION speech('hello') -> {'format': 'pcm', 'base64_characters': 8}",
    ]


async def test_a_handoff_has_its_target():
    """The target is known at its end; both agents are children of the run."""
    second = agent_of(Says("from B"), name="B")
    with recorded() as captured:
        await run(agent_of(Calls("transfer_to_b"), handoffs=[second]))

    first, handoff, agent = without_models(captured.traces()[0]).splitlines()
    assert first == "AGENT A('hi')"
    assert handoff == "  SPAN handoff({'from_agent': 'A'}) -> {'to_agent': 'B'}"
    assert agent.startswith("AGENT B(")
    assert agent.endswith("-> 'from B'")


# Sensitive data


async def test_the_sdks_setting_for_sensitive_data_is_respected():
    """Without sensitive data there are no inputs, outputs or error texts, also of instrumented tools."""

    @fluxloop.tool
    @function_tool
    def secretive(word: str) -> str:
        raise ValueError(f"cannot say {word}")

    agent = agent_of(Calls("secretive", {"word": "hunter2"}), Says("hunter2"), tools=[secretive])
    with recorded() as captured:
        await run(agent, question="hunter2", run_config=RunConfig(trace_include_sensitive_data=False))

    assert "hunter2" not in str(list(captured.storage.read()))
    record = tool_of(captured.traces()[0])
    assert (record.status, record.metadata["error_type"], record.error) == ("error", "ValueError", "[withheld]")


async def test_without_sensitive_data_the_exception_that_ends_a_run_has_only_its_class():
    """The text of a tool's exception is part of the SDK's exception; it is omitted from agent and run too."""

    @function_tool(failure_error_function=None)
    def secretive() -> str:
        raise ValueError("hunter2")

    with recorded() as captured, pytest.raises(Exception, match="hunter2"):
        await run(
            agent_of(Calls("secretive"), tools=[secretive]), run_config=RunConfig(trace_include_sensitive_data=False)
        )

    assert "hunter2" not in str(list(captured.storage.read()))
    assert captured.traces()[0].status == "error"


@streamed_or_not
async def test_without_sensitive_data_the_text_of_a_models_exception_is_omitted(streamed):
    """The model call, the agent and the run have the exception's class, and not its text."""
    with recorded() as captured, pytest.raises(ValueError, match="hunter2"):
        await run(
            agent_of(ValueError("hunter2")),
            streamed=streamed,
            run_config=RunConfig(trace_include_sensitive_data=False),
        )

    assert "hunter2" not in str(list(captured.storage.read()))
    assert {o.metadata["error_type"] for o in captured.traces()[0].observations} == {"ValueError"}


async def test_a_span_error_with_only_a_class_name_counts_as_redacted():
    """Early releases report it without sensitive data."""

    def ask() -> None:
        with generation_span(model="m") as span:
            span.set_error({"message": "Error getting response", "data": {"error": "ValueError"}})
            raise ValueError("hunter2")

    with recorded() as captured, trace("t"), pytest.raises(ValueError, match="hunter2"):
        ask()

    (call,) = (o for o in captured.traces()[0].observations if o.type is ObservationType.GENERATION)
    assert (call.error, call.metadata["error_type"]) == ("Error getting response", "ValueError")


# Installation


def present() -> tuple[Any, ...]:
    return tuple(get_trace_provider()._multi_processor._processors)  # type: ignore[attr-defined]


class Other:
    """A processor of another library."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_install_removes_the_sdks_exporter_and_no_other_processor():
    """Nothing is sent over the network by default."""
    from agents.tracing.processors import default_processor

    other = Other()
    set_trace_processors([default_processor(), other])  # type: ignore[list-item]
    ours = openai_agents.install()

    assert present() == (other, ours)
    openai_agents.uninstall()
    assert present() == (other,)


def test_install_can_keep_the_sdks_exporter():
    """Both processors receive every run."""
    from agents.tracing.processors import default_processor

    set_trace_processors([default_processor()])
    ours = openai_agents.install(keep_exporter=True)

    assert present() == (default_processor(), ours)
    openai_agents.uninstall()
    set_trace_processors([])


def test_install_warns_if_the_sdks_tracing_is_off(caplog):
    """No run is recorded then, and the warning names the setting."""
    set_trace_processors([])
    set_tracing_disabled(True)
    try:
        with caplog.at_level(logging.WARNING, logger="fluxloop"):
            openai_agents.install()
            openai_agents.uninstall()
    finally:
        set_tracing_disabled(False)

    (record,) = caplog.records
    assert "switched off" in record.message


async def test_two_processors_record_once_and_log_one_warning(caplog):
    """Installing twice, or adding one by hand, logs one warning (bad input)."""
    with recorded() as captured, caplog.at_level(logging.WARNING, logger="fluxloop"):
        ours = openai_agents.install()
        add_trace_processor(ours)
        add_trace_processor(openai_agents.FluxLoopTracingProcessor())
        await run(one_call())

    assert len(captured.traces()) == 1
    assert len(captured.traces()[0].observations) == 5
    assert len(caplog.records) == 1
    assert "twice" in caplog.text


async def test_a_processor_of_a_client_records_into_that_client():
    """The default client records nothing."""
    client = FluxLoopClient(storage="memory")
    set_trace_processors([])
    openai_agents.install(client=client)
    with capture() as others, capture(client) as own:
        await run(one_call())
    openai_agents.uninstall()

    assert others.traces() == []
    assert [trace.output for trace in own.traces()] == ["three"]


async def test_when_disabled_or_not_sampled_nothing_is_recorded():
    """The run has the same result, and functions inside open no trace."""

    @function_tool
    def agentic(x: int) -> int:
        return int(fluxloop.agent(name="inner")(lambda: x)())

    for settings in ({"enabled": False}, {"sample_rate": 0.0}):
        with recorded(**settings) as captured:
            assert await run(agent_of(Calls("agentic", {"x": 1}), Says("ok"), tools=[agentic])) == "ok"

        assert list(captured.storage.read()) == []


async def test_after_a_run_no_state_is_left():
    """Processor and ledger are empty."""
    with recorded():
        ours = openai_agents.install()
        await run(one_call())

        assert (len(ours._spans), len(ours._ledger), openai_agents.processor._recorded_by) == (0, 0, {})


@pytest.mark.slow
async def test_memory_is_flat_over_ten_thousand_runs():
    """The number of memory blocks does not grow with the number of runs."""
    import gc
    import sys

    class Nowhere:
        def write(self, records: Any) -> None: ...
        def close(self) -> None: ...

    agent = one_call()
    openai_agents.install()
    fluxloop.configure(storage=Nowhere())
    blocks = []
    for round_ in range(3):
        for _ in range(2_000 if round_ else 6_000):
            model = agent.model
            assert isinstance(model, ScriptedModel)
            model.asked.clear()
            await Runner.run(agent, "hi")
        model.asked.clear()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    openai_agents.uninstall()

    assert blocks[2] - blocks[1] < 2_000


@pytest.mark.parametrize("decorated", [False, True], ids=["plain", "decorated"])
async def test_calls_in_the_thread_of_a_cancelled_tool_are_children_of_the_tool(decorated):
    """
    A thread cannot be cancelled. Its calls open no trace, and the processor has no state of it afterwards.
    """
    go_on, has_begun, is_done = threading.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @fluxloop.trace
    def helper() -> int:
        return 1

    def wait() -> str:
        """Wait for the test."""
        loop.call_soon_threadsafe(has_begun.set)
        go_on.wait(10)
        helper()
        loop.call_soon_threadsafe(is_done.set)
        return "done"

    tool = function_tool(fluxloop.tool(wait) if decorated else wait)
    with recorded() as captured:
        ours = openai_agents.install()
        task = asyncio.create_task(run(agent_of(Calls("wait"), Says("ok"), tools=[tool])))
        await has_begun.wait()
        task.cancel()
        await asyncio.wait([task])
        go_on.set()
        await is_done.wait()
        del task
        gc.collect()
        left = len(ours._cancelled)
    (trace,) = captured.traces()

    (inner,) = [o for o in trace.observations if o.name == "helper"]
    assert (inner.parent_id, inner.status, tool_of(trace).status) == (tool_of(trace).id, "success", "cancelled")
    assert left == 0


async def test_a_failure_inside_fluxloop_never_reaches_the_run(monkeypatch):
    """A reader that raises costs detail and is counted; the run is unaffected."""
    monkeypatch.setattr(openai_agents.function_tools, "read_arguments", lambda text: 1 / 0)
    client = FluxLoopClient()
    set_trace_processors([])
    openai_agents.install(client=client)
    with capture(client) as captured:
        answer = await run(one_call())
    openai_agents.uninstall()

    (found,) = captured.traces()
    assert (answer, found.status, tool_of(found).status) == ("three", "success", "success")
    assert client.report().dropped == 1


async def test_without_a_processor_no_run_is_recorded():
    """`capture` alone does not record the SDK's runs."""
    set_trace_processors([])
    with capture() as captured:
        await run(one_call())

    assert captured.traces() == []
