"""
FluxLoop for tools and agents of any framework, which keep their types.

    from fluxloop_custom import instrument_tool, observe_tool, register_framework, traced_tool

`fluxloop_custom.openai_agents` and `fluxloop_custom.chatkit` are the adapters for these two; nothing here imports
a framework.
"""

from .tools import instrument_tool, instrumenter, observe_tool, of_class, register_framework, traced_tool

__all__ = ["instrument_tool", "instrumenter", "observe_tool", "of_class", "register_framework", "traced_tool"]
