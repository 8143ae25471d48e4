"""
Every part of langchain-core and LangGraph that this adapter reads and that is not public API.

Private names, stack frames, code flags, marker values and object identity are used here and nowhere else. Each
docstring states what is lost when a release changes them. A missing part is reported once, and only ever costs detail.
"""

from __future__ import annotations

from .callbacks import DONE, RaiseError, attach_everywhere, inline_callback, register_as_tracer, running_config
from .langgraph import (
    command_of,
    interrupt_with,
    interrupts_in,
    is_command,
    is_interrupt_id,
    is_resume,
    register_langgraph_outcomes,
)
from .models import running_manager, running_managers, uses_answered_client
from .parts import optional
from .starting_runs import RunInline, runner_of, tool_functions, tool_in
from .values import error_key, is_cached, is_inherited, is_streamed_input

__all__ = [
    "DONE",
    "RaiseError",
    "RunInline",
    "attach_everywhere",
    "command_of",
    "error_key",
    "inline_callback",
    "interrupt_with",
    "interrupts_in",
    "is_cached",
    "is_command",
    "is_inherited",
    "is_interrupt_id",
    "is_resume",
    "is_streamed_input",
    "optional",
    "register_as_tracer",
    "register_langgraph_outcomes",
    "runner_of",
    "running_config",
    "running_manager",
    "running_managers",
    "tool_functions",
    "tool_in",
    "uses_answered_client",
]
