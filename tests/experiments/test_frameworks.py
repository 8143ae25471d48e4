"""
Agents of frameworks as targets: they are recorded without a line of FluxLoop in the project.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import packages_distributions, version
from types import ModuleType

import pytest
from experiments.projects import fluxloop_in, newest, project, rows

import fluxloop
from fluxloop.experiments import provenance

GRAPH = """
from langchain.agents import create_agent
from langchain_core.tools import tool
from scripted_models import ScriptedModel, calls

@tool
def weather(city: str) -> str:
    "Return the weather."
    return f"sunny in {city}"

def agent(question):
    model = ScriptedModel(replies=[calls("weather", {"city": "Rome"}), "It is sunny."])
    graph = create_agent(model, [weather])
    return graph.invoke({"messages": [("user", question)]})["messages"][-1].content
"""


@pytest.mark.skipif(importlib.util.find_spec("langchain") is None, reason="needs langchain")
def test_an_agent_of_langchain_is_recorded_as_it_is(tmp_path):
    """
    The command switches on the adapter of a framework that the target imports: its tools are in the trace and the row.
    """
    project(tmp_path, GRAPH, "base_inputs: [How is Rome?]")

    done = fluxloop_in(tmp_path, "run", "experiment")

    assert done.code == 0, done.err
    (row,) = rows(tmp_path)
    assert row["output"] == "It is sunny."
    assert row["token_usage"]["prompt_tokens"] > 0
    assert "tool:weather" in row["conversation"][1]["metadata"]["actions"]
    (trace,) = fluxloop.read_traces(newest(tmp_path) / "artifacts")
    types = [observation.type.name for observation in trace.observations]
    assert types.count("GENERATION") == 2
    assert types.count("TOOL") == 1


CHATKIT = """
from types import SimpleNamespace as Event
import fluxloop

@fluxloop.tool
async def cancel_trip():
    return "cancelled"

@fluxloop.agent
async def agent(message):
    await cancel_trip()
    for text in ("Your trip ", "is cancelled."):
        yield Event(type="thread.item.updated", item_id="m", update=Event(type="delta", delta=text))
    content = [Event(text="Your trip is cancelled.")]
    yield Event(type="thread.item.done", item=Event(id="m", content=content))
"""


def test_a_stream_of_events_gives_its_text_once_and_its_tools(tmp_path):
    """
    The deltas of an item are its text; its final event adds nothing. The tool that ran inside is an action of the run.
    """
    project(tmp_path, CHATKIT, "base_inputs: [Cancel it]")

    assert fluxloop_in(tmp_path, "run", "experiment").code == 0

    (row,) = rows(tmp_path)
    assert row["output"] == "Your trip is cancelled."
    assert row["conversation"][1]["metadata"]["actions"] == ["agent:agent", "tool:cancel_trip"]


def test_the_version_of_each_imported_framework_is_noted(monkeypatch):
    """
    It is that of the framework, also where several distributions have modules in its package.
    """
    owners = packages_distributions()
    installed = {
        module: name
        for module, name in provenance.FRAMEWORKS.items()
        if name in owners.get(module.partition(".")[0], ())
    }
    for module in provenance.FRAMEWORKS:
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert set(provenance.versions()) == {"python", "fluxloop"}

    for module in installed:
        monkeypatch.setitem(sys.modules, module, ModuleType(module))

    assert {"langgraph", "google-genai", "openai-agents"} <= set(installed.values())
    assert provenance.versions().items() >= {name: version(name) for name in installed.values()}.items()
