"""
FluxLoop for tools and agents of any framework, which keep their types.

    from fluxloop_custom import instrument_tool, observe_tool, register_framework, traced_tool
    from fluxloop_custom import instrument_anthropic, instrument_google_genai, instrument_openai

`fluxloop_custom.openai_agents` and `fluxloop_custom.chatkit` are the adapters for these two. Importing this package
imports no framework and no SDK.
"""

from .clients import (
    instrument_anthropic,
    instrument_google_genai,
    instrument_openai,
    uninstrument_anthropic,
    uninstrument_google_genai,
    uninstrument_openai,
)
from .tools import instrument_tool, instrumenter, observe_tool, of_class, register_framework, traced_tool

__all__ = [
    "instrument_anthropic",
    "instrument_google_genai",
    "instrument_openai",
    "instrument_tool",
    "instrumenter",
    "observe_tool",
    "of_class",
    "register_framework",
    "traced_tool",
    "uninstrument_anthropic",
    "uninstrument_google_genai",
    "uninstrument_openai",
]
