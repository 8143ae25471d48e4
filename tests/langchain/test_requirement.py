"""
The adapter requires langchain-core only, and reports it if that is missing.
"""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_without_langchain_core_the_error_has_the_install_command():
    """
    The message of the error has the name of the extra.
    """
    done = run("import sys; sys.modules['langchain_core'] = None; import fluxloop_langchain")

    assert done.stderr.splitlines()[-2:] == [
        "ModuleNotFoundError: fluxloop_langchain needs 'langchain_core', which is not installed.",
        "    pip install 'fluxloop[langchain]'",
    ]


def test_the_adapter_imports_neither_langchain_nor_langgraph():
    """
    LangGraph's exceptions are registered if the program imports LangGraph.
    """
    done = run(
        "import sys, fluxloop_langchain; fluxloop_langchain.install()\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "import fluxloop; fluxloop.configure(storage='memory')\n"
        "RunnableLambda(abs).invoke(-1)\n"
        "print([name for name in ('langgraph', 'langchain') if name in sys.modules])"
    )

    assert done.stdout == "[]\n", done.stderr


def test_importing_the_adapter_records_nothing():
    """
    Runs are recorded if a handler is passed or installed.
    """
    done = run(
        "import fluxloop, fluxloop_langchain, os\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "RunnableLambda(abs).invoke(-1)\n"
        "print(fluxloop.report().written)"
    )

    assert done.stdout == "0\n", done.stderr


def test_a_trace_policy_of_langgraph_is_respected_without_the_other_adapter():
    """
    The handler receives the values that the policy of a node leaves for tracers, although the graph is not wrapped.
    """
    types = pytest.importorskip("langgraph.types")
    if not hasattr(types, "TracePolicy"):
        pytest.skip("this LangGraph has no TracePolicy")
    done = run(
        "import fluxloop, fluxloop_langchain\n"
        "from langgraph.graph import START, StateGraph\n"
        "from langgraph.types import TracePolicy, omit_payload\n"
        "policy = TracePolicy(process_inputs=omit_payload, process_outputs=lambda output: {'n': 'hidden'})\n"
        "builder = StateGraph(dict).add_node('node', lambda state: {'n': 5}, trace_policy=policy)\n"
        "graph = builder.add_edge(START, 'node').compile()\n"
        "with fluxloop.testing.capture() as captured:\n"
        "    graph.invoke({'n': 'secret'}, {'callbacks': [fluxloop_langchain.FluxLoopCallbackHandler()]})\n"
        "node = captured.traces()[0].observations[1]\n"
        "print(node.name, node.input, node.output)"
    )

    assert done.stdout == "node {} {'n': 'hidden'}\n", done.stderr
