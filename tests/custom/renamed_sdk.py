"""
Run agents on an Agents SDK in which one private name is another, as in a later release: one process per name.

    python renamed_sdk.py http://127.0.0.1:PORT < renames.json

An import hook changes the SDK's source. Its exporter sends to the URL, followed by the name. The output is one JSON
object per name: what was recorded, and what FluxLoop reported as missing.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.machinery
import json
import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import CodeType
from typing import Any

ENDPOINT = "https://api.openai.com/v1/traces/ingest"


class Renaming(importlib.machinery.SourceFileLoader):
    """Loads a module of the SDK with other names in it."""

    changes: Sequence[tuple[str, str]] = ()
    local: str | None = None
    """A local variable of functions with the parameter ``func_tool`` to rename."""

    def get_code(self, fullname: str) -> CodeType:
        source = original = self.get_source(fullname)
        for pattern, replacement in self.changes:
            source = re.sub(pattern, replacement, source)
        if source == original and not (self.local and "func_tool: FunctionTool" in source):
            return super().get_code(fullname)  # with the bytecode on the disk
        tree = ast.parse(source)
        for function in [node for node in ast.walk(tree) if self.local and isinstance(node, ast.AsyncFunctionDef)]:
            parameters = {each.arg for each in [*function.args.args, *function.args.kwonlyargs]}
            if "func_tool" in parameters:
                for name in [node for node in ast.walk(function) if isinstance(node, ast.Name)]:
                    name.id = f"renamed_{self.local}" if name.id == self.local else name.id
                if self.local in parameters:
                    first = ast.parse(f"renamed_{self.local} = {self.local}; del {self.local}").body
                    function.body[:0] = [ast.copy_location(each, function.body[0]) for each in first]
        return compile(ast.fix_missing_locations(tree), self.path, "exec")


class Finder(MetaPathFinder):
    """Finds the SDK's modules for `Renaming`."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.partition(".")[0] != "agents":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Renaming(fullname, spec.loader.path)
        return spec


async def scenario(keep_exporter: bool) -> dict[str, Any]:
    """Run agents with a tool, a handoff, a guardrail and a stream, and failures of each kind."""
    from agents import Agent, GuardrailFunctionOutput, RunConfig, Runner, function_tool, input_guardrail, tracing

    import fluxloop
    from fluxloop.testing import capture
    from fluxloop_custom import openai_agents
    from fluxloop_custom.testing import Calls, Says, ScriptedModel

    @input_guardrail
    async def polite(ctx: Any, agent: Any, asked: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered="rude" in str(asked))

    def look_up(city: str) -> str:
        if city == "Atlantis":
            raise ValueError("no such city")
        return f"sunny in {city}"

    async def slow() -> str:
        await asyncio.sleep(10)
        return "never"

    recorded, plain = fluxloop.tool(function_tool(look_up)), function_tool(look_up, name_override="plain")
    tools = [recorded, plain, function_tool(fluxloop.tool(look_up), name_override="inner")]
    other = Agent(name="Other", model=ScriptedModel(Says("done")))
    tools.append(other.as_tool("ask_other", "Ask the other agent."))
    script = [
        [Calls(tool.name, {"city": city}) for city in ("Rome", "Atlantis") for tool in tools[:3]],
        Calls("ask_other", {"input": "well?"}),
        Calls("transfer_to_other"),
    ]
    fields = getattr(type(plain), "__dataclass_fields__", {})
    has_approvals = "needs_approval" in fields

    def agent(*turns: Any, **options: Any) -> Any:
        return Agent(name="A", model=ScriptedModel(*turns), **options)

    openai_agents.install(keep_exporter=keep_exporter)
    secret = RunConfig(trace_include_sensitive_data=False)
    with capture() as captured:
        for streamed in (False, True):
            asked = agent(*script, tools=tools, handoffs=[other], input_guardrails=[polite])
            runs = [(asked, "hi", None), (agent(Says("no")), "hi", None), (agent(OSError("s3cret")), "hi", secret)]
            runs.append((agent(Says("no"), input_guardrails=[polite]), "rude", None))
            if has_approvals:
                approved = function_tool(look_up, name_override="approved", needs_approval=True)
                returns_nothing = function_tool(lambda: None, name_override="nothing")
                turns = ([Calls("nothing"), Calls("approved", {"city": "Rome"})], Says("ok"))
                runs.append((agent(*turns, tools=[approved, returns_nothing]), "hi", None))
                late = function_tool(slow, timeout=0.01)
                runs.append((agent(Calls("slow"), Says("ok"), tools=[late]), "hi", None))
            for each, question, config in runs:
                try:
                    if streamed:
                        result = Runner.run_streamed(each, question, run_config=config)
                        async for _ in result.stream_events():
                            pass
                    else:
                        await Runner.run(each, question, run_config=config)
                except Exception:
                    continue
    tracing.get_trace_provider().shutdown()
    traces = captured.traces()
    return {
        "endings": [[f"{o.type} {o.name} {o.status}" for o in trace.observations] for trace in traces],
        "leaks": "s3cret" in json.dumps([trace.model_dump(mode="json") for trace in traces]),
        "dropped": captured.report().dropped if hasattr(captured, "report") else fluxloop.report().dropped,
    }


def main(url: str) -> None:
    """Fork a process for each name, which prints its outcome."""
    warnings.simplefilter("ignore")
    import agents  # noqa: F401 - all that it imports is shared by the processes

    import fluxloop.bridge
    import fluxloop.testing

    for name in [name for name in sys.modules if name.partition(".")[0] == "agents"]:
        del sys.modules[name]
    os.environ["OPENAI_API_KEY"] = "key"
    sys.meta_path.insert(0, Finder())
    for rename in json.load(sys.stdin):
        if os.fork():
            os.wait()
            continue
        Renaming.changes = [*rename.get("changes", ()), (re.escape(ENDPOINT), f"{url}/{rename['name']}")]
        Renaming.local = rename.get("local")
        try:
            outcome = asyncio.run(scenario(rename.get("keep_exporter", False)))
        except BaseException as exc:
            outcome = {"error": repr(exc)}
        outcome["missing"] = fluxloop.bridge.missing()
        sys.stdout.write(json.dumps({"name": rename["name"], **outcome}) + "\n")
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
