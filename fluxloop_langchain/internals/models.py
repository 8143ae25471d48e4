"""
The run of a LangChain model that is open where the request of its client is sent.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

MAX_FRAMES = 40
"""Frames between a request of a model's client and LangChain's method of the model; about ten, more with LiteLLM."""


def running_manager() -> Any:
    """
    Return the manager that LangChain gave to the method whose code runs here, such as ``_generate`` of a model.

    Without it, a request that a LangChain model sends by an instrumented client is recorded beside the model's run.
    """
    return _variable("run_manager")


def running_managers() -> list[Any]:
    """Return the managers of the prompts that a completion model answers in one call; without them, of one only."""
    found = _variable("run_managers")
    return found if isinstance(found, list) else []


def _variable(name: str) -> Any:
    frame: FrameType | None = sys._getframe(2)
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        if name in frame.f_code.co_varnames and (found := frame.f_locals.get(name)) is not None:
            return found
        frame = frame.f_back
    return None


def uses_answered_client(model: Any) -> bool:
    """Whether *model* is a class of an integration, such as ``langchain_openai``, whose SDK is instrumented."""
    clients = sys.modules.get("fluxloop_custom.clients")
    if clients is None:
        return False
    packages = {each.__module__.partition(".")[0] for each in type(model).__mro__}
    return any(clients.is_instrumented(sdk) for package, sdk in _SDKS.items() if package in packages)


_SDKS = {
    "langchain_openai": "openai",
    "langchain_anthropic": "anthropic",
    "langchain_google_genai": "google.genai",
    "langchain_deepseek": "openai",
    "langchain_xai": "openai",
}
"""The SDK that an integration sends its requests with."""
