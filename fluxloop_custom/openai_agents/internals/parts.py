"""
The parts of the Agents SDK: which are its own, and which the installed release lacks.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import agents

from fluxloop.bridge import note_missing

missing = partial(note_missing, "fluxloop_custom.openai_agents")
"""Report a part that the installed release lacks, with what is lost."""


def in_sdk(value: Any) -> bool:
    """Whether *value*, a class or a function, is the SDK's."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == agents.__name__
