"""
What the recording path asks of the set-up it records for.

A `Tracer` has the recorder in force, opens traces, and counts failures. A client is a tracer that adds settings,
reports and decorators; nothing in this package imports it.
"""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from typing import Any
from weakref import WeakSet
from zlib import crc32

from ..forks import after_fork
from ..report import log
from .node import Node
from .propagation import current
from .recorder import Counts, Recorder, Switch
from .trace import OpenTrace

_dice = random.Random()
"""Decides sampling; the program's own generator would give it another sequence."""

after_fork(_dice.seed)


class Tracer(ABC):
    """One set-up as the recording path sees it."""

    is_default = False
    """Whether it joins a trace of any other set-up; other tracers see only traces of their own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._counts = Counts()
        self._recorder: Recorder | None = None
        self.switch = Switch()
        _tracers.add(self)

    @property
    def recorder(self) -> Recorder:
        """What new traces are recorded with; made by the settings in force when it is first needed."""
        return self._recorder or self._first_recorder()

    @abstractmethod
    def _first_recorder(self) -> Recorder:
        """Make the recorder by the settings in force, unless another thread has just done so."""

    @property
    def is_debugging(self) -> bool:
        """Whether each observation, captured or ignored, is to be logged."""
        return self.recorder.debug

    def open_trace(self, name: str, *, outer: Node | None = None, **options: Any) -> OpenTrace | None:
        """
        Open a trace; None where tracing is off.

        Args:
            name: Its name.
            outer: The current node of an enclosing trace.
            options: As `OpenTrace` takes them. A trace that sampling leaves out is opened and not recorded.
        """
        recorder = self.recorder
        if not self.switch.on:
            if recorder.debug:
                log.debug("ignored trace %r: tracing is off", name)
            return None
        is_sampled = _is_sampled(recorder.settings.sample_rate, options.get("session_id") or recorder.session_id)
        if not is_sampled:
            self._counts.add("sampled_out")
            if recorder.debug:
                log.debug("ignored trace %r: left out by sample_rate=%s", name, recorder.settings.sample_rate)
        return OpenTrace(recorder, name, outer=outer, is_sampled=is_sampled, **options)

    def own_innermost(self, here: Node | None) -> Node | None:
        """Return the innermost node of this tracer's own traces, from *here* outwards."""
        while here is not None and here.trace.recorder.switch is not self.switch:
            here = here.trace.outer
        return here

    def current_node(self) -> Node | None:
        """Return the current node as this tracer sees it: its own, or any for the default tracer."""
        return current() if self.is_default else self.own_innermost(current())

    def recording_here(self) -> Node | None:
        """Return the current node, where an observation that begins now would be recorded under it."""
        here = self.current_node()
        return here if here is not None and here.trace.is_recording else None

    def report_problem(self, message: str) -> None:
        """Log *message* as a warning, once, and list it in `report`."""
        self._counts.troubles.say(message, message)

    def record_failure(self, doing: str, exc: BaseException) -> None:
        """Count an observation lost to a failure of FluxLoop's own; the program goes on."""
        self._counts.failed(doing, exc)


def _is_sampled(rate: float, session_id: object) -> bool:
    """Decide whether a trace is recorded: all traces of a named session, or none."""
    if rate >= 1:
        return True
    if session_id is None:
        return _dice.random() < rate
    # Multiplying spreads ids that differ in their last digit only; the same session gets the same answer anywhere.
    return crc32(str(session_id).encode(errors="replace")) * 2_654_435_761 % 2**32 < rate * 2**32


_tracers: WeakSet[Tracer] = WeakSet()


def _renew_locks() -> None:
    for tracer in list(_tracers):
        tracer._lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_locks)
