"""Each adapter without its framework: one exception class and one sentence, with the command to install it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fluxloop.bridge import require

ADAPTERS = {
    "fluxloop_langchain": ("langchain_core", "langchain_core", "langchain"),
    "fluxloop_langgraph": ("langgraph", "langgraph.graph", "langgraph"),
    "fluxloop_langgraph ": (
        "langgraph.graph",
        "langgraph.graph",
        "langgraph",
    ),  # other distributions share the namespace
    "fluxloop_custom.openai_agents": ("agents", "agents", "openai-agents"),
    "fluxloop_custom.testing": ("agents", "agents", "openai-agents"),
    "fluxloop_custom.chatkit": ("chatkit", "chatkit", "chatkit"),
}
"""By adapter: the module that is missing, the module that the message names, and the extra."""


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_without_its_framework_names_the_extra(adapter):
    """The last two lines of the traceback are the module and the command."""
    absent, module, extra = ADAPTERS[adapter]
    code = f"import sys; sys.modules[{absent!r}] = None; import {adapter}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stderr.splitlines()[-2:] == [
        f"ModuleNotFoundError: {adapter.strip()} needs '{module}', which is not installed.",
        f"    pip install 'fluxloop[{extra}]'",
    ]


def test_the_failed_import_of_an_installed_framework_is_not_a_missing_extra(tmp_path, monkeypatch):
    """A package whose own dependency is missing raises the exception of that import."""
    (tmp_path / "half_installed").mkdir()
    (tmp_path / "half_installed" / "__init__.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("half_installed.part", extra="x", by="fluxloop_x")
