"""
The adapter says what it needs, and needs no more than langchain-core.
"""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_without_langchain_core_it_says_how_to_get_it():
    """
    A missing extra explains itself.
    """
    done = run("import sys; sys.modules['langchain_core'] = None; import fluxloop_langchain")

    assert done.stderr.splitlines()[-2:] == [
        "ModuleNotFoundError: fluxloop_langchain needs 'langchain_core', which is not installed.",
        "    pip install 'fluxloop[langchain]'",
    ]


def test_it_loads_neither_langchain_nor_langgraph():
    """
    LangGraph's exceptions are known where the program uses LangGraph, and not imported for their sake.
    """
    done = run(
        "import sys, fluxloop_langchain; fluxloop_langchain.install()\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "import fluxloop; fluxloop.configure(storage='memory')\n"
        "RunnableLambda(abs).invoke(-1)\n"
        "print([name for name in ('langgraph', 'langchain') if name in sys.modules])"
    )

    assert done.stdout == "[]\n", done.stderr


def test_importing_it_attaches_nothing():
    """
    Import is quiet: runs are recorded when a handler is passed or installed, not before.
    """
    done = run(
        "import fluxloop, fluxloop_langchain, os\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "RunnableLambda(abs).invoke(-1)\n"
        "print(fluxloop.report().written)"
    )

    assert done.stdout == "0\n", done.stderr
