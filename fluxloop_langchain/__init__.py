"""
Record LangChain runs: attach one handler, or install it for every run, and see the right tree.

    from fluxloop_langchain import FluxLoopCallbackHandler

    chain.invoke(question, config={"callbacks": [FluxLoopCallbackHandler()]})
"""

from __future__ import annotations

from fluxloop.bridge import require

require("langchain_core", extra="langchain", by=__name__)

from . import replaying  # noqa: E402, F401 - registers what a replay needs
from .handler import FluxLoopCallbackHandler  # noqa: E402 - after the requirement
from .hook import install, uninstall  # noqa: E402

__all__ = ["FluxLoopCallbackHandler", "install", "uninstall"]
