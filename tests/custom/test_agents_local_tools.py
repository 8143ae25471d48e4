"""
Replays of the tools that the provider hosts, and of those that the Agents SDK runs on this machine.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import agents
import openai
import pytest
from agents import (
    Agent,
    CodeInterpreterTool,
    Computer,
    ComputerTool,
    FileSearchTool,
    HostedMCPTool,
    ImageGenerationTool,
    LocalShellTool,
    OpenAIResponsesModel,
    Runner,
    WebSearchTool,
)

import fluxloop
import fluxloop.testing
from fluxloop.errors import ReplayMismatch

from .agents_aid import recorded
from .clients import provider as api

ran: list[str] = []
"""What ran for real."""

needs_shell = pytest.mark.skipif(not hasattr(agents, "ShellTool"), reason="this release of the SDK has no ShellTool")


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


@pytest.fixture
def ask() -> Iterator[Any]:
    """Return a function that runs an agent with a tool: its model answers with the items given, then with a text."""

    async def run(tool: Any) -> Any:
        async with openai.AsyncOpenAI(api_key="k", base_url=provider.url, max_retries=0) as client:
            agent = Agent(name="A", model=OpenAIResponsesModel("gpt-5", client), tools=[tool])
            result = await Runner.run(agent, "Go")
        return result.final_output, result.to_input_list()

    def asked(tool: Any, *items: Any) -> Any:
        provider.answers(*(api.Reply(api.response(output=[each])) for each in items), api.Reply(api.response("Done")))
        return asyncio.run(run(tool))

    with api.running() as provider:
        asked.requests = provider.requests  # type: ignore[attr-defined]
        yield asked


MESSAGE = api.response("Done")["output"]
HOSTED: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "web search": (
        WebSearchTool(),
        [{"id": "1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "Rome"}}],
    ),
    "file search": (
        FileSearchTool(vector_store_ids=["v"]),
        [
            {
                "id": "1",
                "type": "file_search_call",
                "status": "completed",
                "queries": ["Rome"],
                "results": [{"text": "t"}],
            }
        ],
    ),
    "code interpreter": (
        CodeInterpreterTool(tool_config={"type": "code_interpreter", "container": {"type": "auto"}}),
        [
            {
                "id": "1",
                "type": "code_interpreter_call",
                "status": "completed",
                "code": "1+1",
                "container_id": "c",
                "outputs": [{"type": "logs", "logs": "2"}],
            }
        ],
    ),
    "image": (
        ImageGenerationTool(tool_config={"type": "image_generation"}),
        [{"id": "1", "type": "image_generation_call", "status": "completed", "result": "aGk="}],
    ),
    "mcp": (
        HostedMCPTool(
            tool_config={
                "type": "mcp",
                "server_label": "s",
                "server_url": "https://example.com",
                "require_approval": "never",
            }
        ),
        [
            {"id": "1", "type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "add", "input_schema": {}}]},
            {"id": "2", "type": "mcp_call", "server_label": "s", "name": "add", "arguments": "{}", "output": "3"},
        ],
    ),
}


@pytest.mark.parametrize("name", HOSTED)
def test_tools_of_the_provider_are_part_of_its_answer(name: str, ask: Any) -> None:
    """
    Their items are the recorded ones, and no request is sent.
    """
    tool, items = HOSTED[name]
    with api.running() as provider:
        provider.answers(api.Reply(api.response(output=[*items, *MESSAGE])))

        async def run() -> Any:
            async with openai.AsyncOpenAI(api_key="k", base_url=provider.url, max_retries=0) as client:
                result = await Runner.run(Agent(name="A", model=OpenAIResponsesModel("m", client), tools=[tool]), "Go")
            return result.final_output, result.to_input_list(), [type(item).__name__ for item in result.new_items]

        with recorded(replayable=True) as first:
            expected = asyncio.run(run())
        sent = len(provider.requests)
        with recorded() as again, fluxloop.replay(first.traces()):
            assert asyncio.run(run()) == expected
        assert len(provider.requests) == sent
    assert again.outline() == first.outline()


class Screen(Computer):
    """A computer that notes what it does."""

    environment = "mac"
    dimensions = (10, 10)

    def screenshot(self) -> str:
        ran.append("screenshot")
        return "aGk="

    def click(self, x: int, y: int, button: Any) -> None:
        ran.append("click")

    double_click = scroll = type = wait = move = keypress = drag = lambda *_: None  # type: ignore[assignment]


def shell(*, fails: bool = False, is_async: bool = False) -> Any:
    """Return a tool whose executor notes what it runs."""

    def execute(request: Any) -> Any:
        ran.append("shell")
        if fails:
            raise ValueError("no shell")
        outcome = agents.ShellCallOutcome(type="exit", exit_code=3)
        return agents.ShellResult(output=[agents.ShellCommandOutput(stdout="hi\n", stderr="oh", outcome=outcome)])

    async def execute_later(request: Any) -> Any:
        return execute(request)

    return agents.ShellTool(executor=execute_later if is_async else execute)


class Editor:
    """An editor that notes what it does."""

    def create_file(self, operation: Any) -> Any:
        ran.append(f"create {operation.path}")
        return agents.ApplyPatchResult(status="completed", output="made")

    async def update_file(self, operation: Any) -> Any:
        ran.append(f"update {operation.path}")
        return agents.ApplyPatchResult(status="failed", output="no such file")

    def delete_file(self, operation: Any) -> Any:
        ran.append(f"delete {operation.path}")


def call(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"{kind}_1", "type": kind, "call_id": f"{kind}_1", "status": "completed", **fields}


def patch(kind: str) -> dict[str, Any]:
    operation = {"type": kind, "path": "a.txt", **({} if kind == "delete_file" else {"diff": "+hi\n"})}
    return {**call("apply_patch_call", operation=operation), "id": kind, "call_id": kind}


LISTING = call("shell_call", action={"commands": ["ls"], "timeout_ms": 1000, "max_output_length": None})
CLICK = call("computer_call", pending_safety_checks=[], action={"type": "click", "x": 1, "y": 1, "button": "left"})
LOCAL: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "shell": (shell, [LISTING]),
    "async shell": (lambda: shell(is_async=True), [LISTING]),
    "failing shell": (lambda: shell(fails=True), [LISTING]),
    "patches": (
        lambda: agents.ApplyPatchTool(editor=Editor()),
        [patch("create_file"), patch("update_file"), patch("delete_file")],
    ),
    "computer": (lambda: ComputerTool(computer=Screen()), [CLICK]),
    "computer of a factory": (lambda: ComputerTool(computer=lambda **_: Screen()), [CLICK]),
}


@needs_shell
@pytest.mark.parametrize("match", ["strict", "loose"])
@pytest.mark.parametrize("name", LOCAL)
def test_tools_on_this_machine_are_answered_and_do_not_run(name: str, match: Any, ask: Any) -> None:
    """
    No command is run, no file changed and nothing clicked; the model is asked with the recorded results.
    """
    make, items = LOCAL[name]
    with recorded(replayable=True) as first:
        expected = ask(make(), *items)
    assert ran != []
    ran.clear()
    sent = len(ask.requests)

    with recorded() as again, fluxloop.replay(first.traces(), match=match) as replay:
        assert ask(make(), *items) == expected

    assert (ran, len(ask.requests)) == ([], sent)
    assert again.outline() == first.outline()
    assert replay.report().is_same


@needs_shell
@pytest.mark.parametrize("name", LOCAL)
def test_without_whole_answers_the_texts_for_the_model_are_used(name: str, ask: Any) -> None:
    """
    An ordinary record has the text that the SDK made of a result.
    """
    make, items = LOCAL[name]
    with recorded() as first:
        expected = ask(make(), *items)
    ran.clear()

    with recorded(), fluxloop.replay(first.traces(), match="loose"):
        assert ask(make(), *items)[0] == expected[0]

    assert ran == []


@needs_shell
@pytest.mark.parametrize("name", LOCAL)
def test_live_tools_on_this_machine_run(name: str, ask: Any) -> None:
    """
    With ``live="tools"``, under the recorded conversation.
    """
    make, items = LOCAL[name]
    with recorded(replayable=True) as first:
        expected = ask(make(), *items)
    as_recorded = [*ran]
    ran.clear()

    with recorded(), fluxloop.replay(first.traces(), live="tools"):
        assert ask(make(), *items) == expected

    assert ran == as_recorded


def test_a_computer_is_not_used_in_a_replay(ask: Any) -> None:
    """
    Also with releases of the SDK that report no calls of it: these raise an error.
    """
    with recorded(replayable=True) as first:
        ask(ComputerTool(computer=Screen()), CLICK)
    assert "click" in ran
    ran.clear()

    with recorded(), suppress(ReplayMismatch), fluxloop.replay(first.traces()):
        ask(ComputerTool(computer=Screen()), CLICK)

    assert ran == []


class Broken(Screen):
    def click(self, x: int, y: int, button: Any) -> None:
        raise ConnectionError("no screen")


@needs_shell
def test_the_error_of_a_computer_ends_the_run_again(ask: Any) -> None:
    """
    As the SDK makes no text of it for the model.
    """
    with recorded(replayable=True) as first, pytest.raises(ConnectionError, match=r"^no screen$"):
        ask(ComputerTool(computer=Broken()), CLICK)

    with recorded(), fluxloop.replay(first.traces()), pytest.raises(ConnectionError, match=r"^no screen$"):
        ask(ComputerTool(computer=Screen()), CLICK)

    assert ran == []


@needs_shell
@pytest.mark.parametrize("replayable", [True, False])
def test_the_program_reads_and_calls_its_own_code(replayable: bool, ask: Any) -> None:
    """
    Also while a replay is open, or answers are kept whole: objects, results, copies and comparisons are as without.
    """
    editor = Editor()
    tool = agents.ApplyPatchTool(editor=editor)
    with recorded(replayable=replayable) as captured:
        ask(WebSearchTool())
        assert tool.editor is editor
        assert tool.editor.create_file(agents.ApplyPatchOperation(type="create_file", path="b")).output == "made"
    with fluxloop.replay(captured.traces(), match="loose"):
        assert tool.editor is editor
        assert tool == agents.ApplyPatchTool(editor=editor) == dataclasses.replace(tool)
        assert repr(editor) in repr(tool)

    assert ran == ["create b"]


@needs_shell
def test_a_fork_gives_a_shell_another_output(ask: Any) -> None:
    """
    The model gets it; another input is refused, as the command is the model's.
    """
    with recorded(replayable=True) as first:
        ask(shell(), LISTING)
    ran.clear()
    step = next(one for one in first.trace.observations if one.name == "shell")
    options: dict[str, Any] = {"match": "loose", "fork_at": step.id, "rest": "recorded"}

    with recorded(), fluxloop.replay(first.traces(), output="forked", **options):
        assert "'stdout': 'forked'" in str(ask(shell(), LISTING))
    with (
        recorded(),
        pytest.raises(ReplayMismatch, match="use output="),
        fluxloop.replay(first.traces(), input={"commands": ["rm"]}, **options),
    ):
        ask(shell(), LISTING)

    assert ran == []


def listing() -> dict[str, Any]:
    return call("local_shell_call", action={"type": "exec", "command": ["ls"], "env": {}})


def execute_locally(request: Any) -> str:
    ran.append("local shell")
    return "a.txt"


def test_a_tool_whose_calls_are_not_reported_does_not_run_in_a_replay(ask: Any) -> None:
    """
    The SDK reports no calls of LocalShellTool. The error names the two ways on, and both work.
    """
    with recorded(replayable=True) as first:
        expected = ask(LocalShellTool(executor=execute_locally), listing())
    if not ran:
        pytest.skip("this release of the SDK does not run local shells")
    ran.clear()

    with (
        recorded(),
        pytest.raises(ReplayMismatch, match=r"a call of local_shell is not recorded .* live="),
        fluxloop.replay(first.traces()),
    ):
        ask(LocalShellTool(executor=execute_locally), listing())
    assert ran == []
    with recorded(), fluxloop.replay(first.traces(), live=("local_shell",)):
        assert ask(LocalShellTool(executor=execute_locally), listing()) == expected
    assert ran == ["local shell"]


def test_a_decorated_executor_is_recorded_and_answered(ask: Any) -> None:
    """
    As any decorated function.
    """
    made = fluxloop.tool(name="local_shell")(execute_locally)
    with recorded(replayable=True) as first:
        expected = ask(LocalShellTool(executor=made), listing())
    if not ran:
        pytest.skip("this release of the SDK does not run local shells")
    ran.clear()

    with recorded() as again, fluxloop.replay(first.traces()):
        assert ask(LocalShellTool(executor=made), listing()) == expected

    assert ran == []
    assert "TOOL local_shell" in again.outline() == first.outline()


def test_what_the_program_does_with_its_own_tools_is_its_own() -> None:
    """
    In a replay, the program's calls of its computer run; the tools have their functions again after it.
    """
    screen, tool = Screen(), LocalShellTool(executor=execute_locally)
    before = dict(vars(LocalShellTool)), Screen.click
    with fluxloop.testing.capture() as captured, fluxloop.instrument("other"):
        pass

    with fluxloop.replay(captured.traces(), match="loose"):
        screen.click(1, 2, "left")
        assert screen.screenshot() == "aGk="
        tool.executor = tool.executor

    assert ran == ["click", "screenshot"]
    assert tool.executor is execute_locally
    assert (dict(vars(LocalShellTool)), Screen.click) == before
