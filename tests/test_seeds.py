"""The code examples of the original guides run unchanged."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import fluxloop
from fluxloop.testing import capture

QUICK_EXAMPLE = """
import fluxloop

# Initialize (optional - uses sensible defaults)
fluxloop.configure(
    storage="file",
    base_path="./traces"
)

def process_prompt(prompt):
    return prompt.upper()

# Decorate your agent function
@fluxloop.agent(name="ChatAgent")
def my_agent(prompt: str) -> str:
    \"\"\"Your agent logic here.\"\"\"
    # Agent implementation
    result = process_prompt(prompt)
    return result

# Run it - traces are automatically collected
response = my_agent("Hello, world!")
"""


def run_script(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run *source* as a separate program in *folder*."""
    (folder / "script.py").write_text(textwrap.dedent(source))
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def records(folder: Path, kind: str) -> list[dict[str, object]]:
    (path,) = (folder / "traces").glob(f"{kind}_*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_quick_example_writes_two_files_with_the_documented_fields(tmp_path):
    """The first example of the introduction, run as a script."""
    done = run_script(QUICK_EXAMPLE + "\nprint(response)", tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO, WORLD!\n", "")
    (observation,) = records(tmp_path, "observations")
    (trace,) = records(tmp_path, "traces")
    assert sorted(path.name[:-15] for path in (tmp_path / "traces").iterdir()) == ["observations", "traces"]
    assert (observation["type"], observation["name"], observation["parent_id"]) == ("AGENT", "ChatAgent", None)
    assert (observation["input"], observation["output"]) == ({"prompt": "Hello, world!"}, "HELLO, WORLD!")
    assert observation["trace_id"] == trace["trace_id"]
    assert trace["status"] == "success"
    assert {"session_id", "start_time", "end_time", "metadata", "tags"} <= trace.keys()
    assert trace["start_time"].endswith("Z")


def test_without_configure_traces_go_to_the_default_folder(tmp_path):
    """Without `configure`, records are written to ./traces and no network is used."""
    done = run_script(
        """
        import socket
        def refuse(*args): raise AssertionError("no network")
        socket.socket.connect = refuse
        import fluxloop
        @fluxloop.agent
        def agent(): return 1
        agent()
        """,
        tmp_path,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(records(tmp_path, "observations")) == 1


def test_a_disabled_program_creates_no_file(tmp_path, monkeypatch):
    """With `FLUXLOOP_ENABLED=off`, a program creates no file."""
    monkeypatch.setenv("FLUXLOOP_ENABLED", "off")

    done = run_script("import fluxloop\nassert fluxloop.agent(lambda: 1)() == 1", tmp_path)

    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_the_async_and_streaming_example_is_recorded():
    """The "Async & Streaming" example records agents and streams."""

    async def process_async(prompt: str) -> str:
        await asyncio.sleep(0)
        return prompt[::-1]

    class LLM:
        async def stream(self, messages: list[str]):
            for chunk in messages:
                yield chunk

    llm = LLM()

    @fluxloop.agent()
    async def async_agent(prompt: str) -> str:
        result = await process_async(prompt)
        return result  # noqa: RET504 - as printed

    @fluxloop.prompt(model="gpt-4o")
    async def stream_response(messages: list):
        """Stream LLM chunks."""
        async for chunk in llm.stream(messages):
            yield chunk  # Each chunk traced

    @fluxloop.agent()
    async def main() -> list[str]:
        return [chunk async for chunk in stream_response(["a", "b"])]

    with capture() as captured:
        assert asyncio.run(async_agent("abc")) == "cba"
        assert asyncio.run(main()) == ["a", "b"]

    assert captured.outline() == (
        "AGENT async_agent -> 'cba'\nAGENT main -> ['a', 'b']\n  GENERATION stream_response -> 'ab'"
    )


def test_pattern_b_keeps_name_docstring_and_annotations():
    """A framework decorator over `@fluxloop.tool` sees the name, docstring and annotations of the function."""
    seen = {}

    def framework_tool_decorator(description: str):
        def register(func):
            seen[func.__name__] = (description, func.__doc__, func.__annotations__)
            return func

        return register

    @framework_tool_decorator(description="My tool")
    @fluxloop.tool(name="tool.my_tool")
    async def my_tool(param: str) -> dict:
        """Tool with stacked decorators."""
        return {"result": param}

    async def harness() -> None:
        with fluxloop.instrument("my_agent_run"):
            await my_tool("x")

    with capture() as captured:
        asyncio.run(harness())

    assert seen == {"my_tool": ("My tool", "Tool with stacked decorators.", {"param": "str", "return": "dict"})}
    assert captured.outline() == "SPAN my_agent_run\n  TOOL tool.my_tool -> {'result': 'x'}"


def test_approaches_1_and_2_record_streaming_model_calls():
    """Streams are recorded through a decorated helper and through a scope around the iteration."""

    class Agent:
        async def generate(self, request: str, context: object = None):
            async def tokens():
                for token in request.split():
                    yield token

            return tokens()

    my_agent = Agent()

    @fluxloop.prompt(name="prompt.agent", model="gpt-4")
    async def _run_llm_prompt(agent, prompt, context):
        """Instrumented LLM call."""
        return await agent.generate(prompt, context=context)

    async def approach_1(request):
        result = await _run_llm_prompt(my_agent, request, "ctx")
        async for chunk in result:
            yield chunk

    async def approach_2(request):
        with fluxloop.instrument("prompt.agent"):
            result = await my_agent.generate(request)
            async for chunk in result:
                yield chunk

    @fluxloop.agent
    async def run(approach) -> list[str]:
        return [chunk async for chunk in approach("Hel lo")]

    with capture() as captured:
        assert asyncio.run(run(approach_1)) == ["Hel", "lo"]
        assert asyncio.run(run(approach_2)) == ["Hel", "lo"]

    first, second = captured.traces()
    generation = first.observations[1]
    assert (generation.name, generation.model, generation.output) == ("prompt.agent", "gpt-4", "Hello")
    assert generation.input.keys() == {"agent", "prompt", "context"}
    assert [o.name for o in second.observations] == ["run", "prompt.agent"]


def test_debug_mode_logs_captured_and_ignored_calls(tmp_path):
    """With `debug=True`, each captured or ignored call is logged, with the reason."""
    done = run_script(
        """
        import fluxloop
        fluxloop.configure(debug=True)
        @fluxloop.tool
        def tool(): ...
        @fluxloop.agent
        def agent(): tool()
        tool()
        agent()
        fluxloop.configure(debug=False)
        tool()
        """,
        tmp_path,
    )

    ignored, inner, outer = done.stderr.splitlines()
    assert '"name":"tool"' in ignored
    assert "no trace is open" in ignored
    assert "captured" in inner
    assert '"name":"agent"' in outer
