"""
The part of a client that the recording path uses.

A `Tracer` has the current recorder, opens traces and counts failures. `FluxLoopClient` derives from it, and adds
settings, reports and decorators. This package does not import the client.
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

_random = random.Random()
"""Decides sampling. A separate generator, so that the program's random numbers do not change."""

after_fork(_random.seed)


class Tracer(ABC):
    """Opens traces with the current recorder, and finds the current node."""

    is_default = False
    """Whether it joins traces of all tracers; other tracers join only their own traces."""

    def __init__(self) -> None:
        self.is_default = self.is_default  # found faster on the instance than on its class
        self._lock = threading.RLock()
        self._counts = Counts()
        self._recorder: Recorder | None = None
        self.switch = Switch()
        _tracers.add(self)

    @property
    def recorder(self) -> Recorder:
        """The recorder for new traces, created on first use."""
        return self._recorder or self._first_recorder()

    @abstractmethod
    def _first_recorder(self) -> Recorder:
        """Create the recorder from the current settings, unless another thread has just done so."""

    @property
    def is_debugging(self) -> bool:
        """Whether to log each observation, captured or ignored."""
        return self.recorder.debug

    def open_trace(self, name: str, *, outer: Node | None = None, **options: Any) -> OpenTrace | None:
        """
        Open a trace, or return None if recording is off. A trace that sampling leaves out is opened but not recorded.

        Args:
            name: The name of the trace.
            outer: The current node of an enclosing trace.
            options: Other arguments of `OpenTrace`.
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
        """Return the first node from *here* outwards that belongs to a trace of this tracer."""
        while here is not None and here.trace.recorder.switch is not self.switch:
            here = here.trace.outer
        return here

    def current_node(self) -> Node | None:
        """Return the current node of this tracer's traces; for the default tracer, of any trace."""
        return current() if self.is_default else self.own_innermost(current())

    def recording_here(self) -> Node | None:
        """Return the current node if an observation that starts now would be recorded, else None."""
        here = self.current_node()
        return here if here is not None and here.trace.is_recording else None

    def has_open_observations(self) -> bool:
        """Return whether the journal lists an open observation in any thread of the process."""
        recorder = self._recorder
        return recorder is not None and recorder.journal is not None and bool(recorder.journal.has_open)

    def count_untraced(self, name: str, message: str) -> None:
        """Count a call of *name* that is not recorded because its thread has no trace; report the first one."""
        if self.switch.on:
            self._counts.add("untraced")
            is_first = self._counts.problems.log_once(message, message)
            folder = getattr(self.recorder.journal, "folder", None)  # that of a storage in memory has none
            if is_first and folder is not None:
                from ..storage.untraced import note_untraced

                note_untraced(folder, name)

    def report_problem(self, message: str) -> None:
        """Log *message* as a warning, once, and list it in `report`."""
        self._counts.problems.log_once(message, message)

    def record_failure(self, doing: str, exc: BaseException) -> None:
        """Count an observation that was lost because FluxLoop failed while *doing* something."""
        self._counts.add_dropped(doing, exc)


def _is_sampled(rate: float, session_id: object) -> bool:
    """Decide whether a trace is recorded. All traces of a named session get the same decision."""
    if rate >= 1:
        return True
    if session_id is None:
        return _random.random() < rate
    # A hash gives the same decision in every process. The multiplication spreads ids that differ in one digit only.
    return crc32(str(session_id).encode(errors="replace")) * 2_654_435_761 % 2**32 < rate * 2**32


_tracers: WeakSet[Tracer] = WeakSet()


def _renew_locks() -> None:
    for tracer in list(_tracers):
        tracer._lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_locks)
