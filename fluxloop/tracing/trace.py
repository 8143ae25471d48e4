"""
An open trace: one run being recorded, and what all its observations share.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any

from ..context import FluxLoopContext
from ..encoding import ids
from ..encoding.record_text import datetime_of, members, ms_text, quoted, utc_text
from ..enums import SCHEMA_VERSION, Status
from ..storage import Record
from .propagation import strand_id
from .recorder import Recorder

if TYPE_CHECKING:
    from ..models import ObservationData, TraceData
    from .manual import ManualObservation
    from .observation import OpenObservation


class OpenTrace:
    """One run being recorded: what all its observations share, until its root ends."""

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        *,
        trace_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        tags: Iterable[str] = (),
        metadata: dict[str, Any] | None = None,
        is_sampled: bool = True,
        outer: OpenObservation | None = None,
    ) -> None:
        self.recorder = recorder
        self.id = str(trace_id) if trace_id is not None else recorder.new_id()
        self.quoted_id = quoted(self.id) if trace_id is not None else f'"{self.id}"'
        self.name = name
        self.session_id = str(session_id or recorder.session_id or ids.session_id())
        self.user_id = user_id
        self.tags: list[str] = []
        if tags:
            self.add_tags(tags)
        self.metadata = {**recorder.trace_metadata, **(metadata or {})}
        self.is_sampled = is_sampled
        self.is_closed = False
        self.outer = outer
        self.root: OpenObservation | None = None
        self.start_ns = recorder.now()
        self.day = utc_text(self.start_ns)[:10].replace("-", "")
        self.numbers = count()
        self.usage: dict[str, int] = {}
        self.lock = threading.RLock()  # what is collected in the middle may end an observation
        self.by_hand: dict[str, ManualObservation] = {}
        self.context = FluxLoopContext(self)

    @classmethod
    def unrecorded(cls, recorder: Recorder, name: str) -> OpenTrace:
        """Return a trace that takes everything and keeps nothing."""
        return cls(recorder, name, is_sampled=False)

    @property
    def is_recording(self) -> bool:
        """Whether an observation that begins now would be recorded."""
        return self.is_sampled and self.recorder.switch.on

    def add_tags(self, tags: Iterable[str]) -> None:
        """Add *tags* in their order, each once."""
        self.tags += [tag for tag in dict.fromkeys(map(str, tags)) if tag not in self.tags]

    def adopt(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        tags: Iterable[str] = (),
        trace_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Take over what a scope inside the trace says about it; its metadata is its own observation's."""
        if session_id is not None:
            self.session_id = str(session_id)
        if user_id is not None:
            self.user_id = user_id
        self.add_tags(tags)

    def push(self, observation: ObservationData) -> None:
        """Begin *observation*, built by hand, under what is current here."""
        from .manual import push

        push(self, observation)

    def pop(self) -> ObservationData | None:
        """End the observation pushed last from here."""
        from .manual import pop

        return pop(self)

    def count_usage(self, observation: OpenObservation, usage: dict[str, int]) -> None:
        """Add *usage* to the trace's, unless something inside *observation* was counted already."""
        with self.lock:
            if not observation.has_counted_inside:
                for field, tokens in usage.items():
                    self.usage[field] = self.usage.get(field, 0) + tokens
            above = observation.parent
            while above is not None and not above.has_counted_inside:  # what is further up was told with it
                above.has_counted_inside = True
                above = above.parent

    def close(self, root: OpenObservation, end_ns: int, status: Status, result: bytes) -> Record:
        """Close what was left open by hand in this strand, and return the trace's own record."""
        strand = strand_id() if self.by_hand else None
        for forgotten in [o for o in self.by_hand.values() if o.owner == strand]:
            forgotten.end(Status.ABANDONED)
        self.is_closed = True
        summary = {
            "name": self.name,
            "session_id": self.session_id,
            "user_id": self.user_id,
            "metadata": self.metadata,
            "tags": self.tags,
            "usage": self.usage or None,
        }
        line = b"".join(
            (
                f'{{"trace_id":{self.quoted_id}'.encode(),
                members(self.recorder.encode(summary, root)),
                f',"start_time":"{utc_text(root.start_ns)}","end_time":"{utc_text(end_ns)}",'
                f'"duration_ms":{ms_text(end_ns - root.start_ns)},"status":"{status.value}"'.encode(),
                root.input,
                result,
                f',"schema":{SCHEMA_VERSION}}}\n'.encode(),
            )
        )
        return Record("trace", self.day, line)

    def journal_members(self) -> bytes:
        """Return what the journal keeps of it, so that a crashed one is more than its observations."""
        known = {"name": self.name, "session_id": self.session_id, "user_id": self.user_id}
        note = {**known, "metadata": self.metadata, "tags": self.tags}
        return b',"trace":' + self.recorder.encode(note, Unmarked())

    def data(self) -> TraceData:
        """Return what is known so far, with the live metadata and tags."""
        from ..models import TraceData, Usage

        data = TraceData(
            trace_id=self.id,
            name=self.name,
            session_id=self.session_id,
            user_id=self.user_id,
            start_time=datetime_of(self.start_ns),
            usage=Usage(**self.usage) if self.usage else None,
        )
        data.metadata, data.tags = self.metadata, self.tags
        return data


class Unmarked:
    """Takes the marks of what is encoded a second time, and would be counted twice."""

    redacted = 0
    truncated = 0


def name_session(trace: OpenTrace, session_id: str | None) -> None:
    """Let *trace* belong to the framework's conversation *session_id*, unless the program named its session."""
    if session_id is not None and trace.session_id == (trace.recorder.session_id or ids.session_id()):
        trace.adopt(session_id=session_id)
