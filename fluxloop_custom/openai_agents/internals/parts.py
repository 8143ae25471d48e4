"""
The parts of the Agents SDK: which are its own, and which the installed release lacks.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import agents

from fluxloop.bridge import note_missing

missing = partial(note_missing, "fluxloop_custom.openai_agents")
"""Report a part that the installed release lacks, with what is lost."""


def in_sdk(value: Any) -> bool:
    """Whether *value*, a class or a function, is the SDK's."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == agents.__name__


def is_called_by_sdk(depth: int) -> bool:
    """
    Whether the function *depth* frames above is called by code of the SDK, other than special methods of its classes.

    Without it, the SDK's calls of a tool look like the program's own, and run in a replay.
    """
    caller = sys._getframe(depth + 1)
    package = str(caller.f_globals.get("__name__", "")).partition(".")[0]
    return package == agents.__name__ and not caller.f_code.co_name.startswith("__")
