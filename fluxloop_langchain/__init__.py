"""
Record LangChain runs: attach one handler, or install it for every run, and see the right tree.

    from fluxloop_langchain import FluxLoopCallbackHandler

    chain.invoke(question, config={"callbacks": [FluxLoopCallbackHandler()]})
"""

from __future__ import annotations

try:
    import langchain_core as _langchain_core  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name != "langchain_core":
        raise
    raise ModuleNotFoundError(
        "fluxloop_langchain needs 'langchain_core', which is not installed.\n    pip install 'fluxloop[langchain]'",
        name=missing.name,
    ) from None

from .handler import FluxLoopCallbackHandler
from .hook import install, uninstall

__all__ = ["FluxLoopCallbackHandler", "install", "uninstall"]
