"""
Run a recorded trace again, offline: its model and tool calls are answered from the recording.

    with fluxloop.replay("traces", trace_id="4f0c…") as replay:
        my_agent("What is the weather in Rome?")

    replay.report()
"""

from __future__ import annotations

import sys
from types import ModuleType

from ..errors import ReplayedError, ReplayError, ReplayMismatch
from .blaming import Blame, BlamedStep, blame
from .block import Replay, replay
from .reports import ReplayReport

__all__ = [
    "Blame",
    "BlamedStep",
    "Replay",
    "ReplayError",
    "ReplayMismatch",
    "ReplayReport",
    "ReplayedError",
    "blame",
    "replay",
]


class _CallableModule(ModuleType):
    """This package: ``fluxloop.replay`` is both the function and, once it was imported, the package."""

    __call__ = staticmethod(replay)


sys.modules[__name__].__class__ = _CallableModule
