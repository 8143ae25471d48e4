"""
Record every run of the OpenAI Agents SDK as a trace, or as part of the trace that is open.

    from fluxloop_custom import openai_agents

    openai_agents.install()
"""

from __future__ import annotations

from fluxloop.bridge import require

require("agents", extra="openai-agents", by=__name__)

from . import replaying  # noqa: E402, F401 - registers what a replay needs
from .installation import install, uninstall  # noqa: E402 - after the requirement
from .processor import FluxLoopTracingProcessor  # noqa: E402

__all__ = ["FluxLoopTracingProcessor", "install", "uninstall"]
