"""
An open trace: one run being recorded, and what all its observations share.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any

from ..encoding import ids
from ..encoding.record_text import datetime_of, members, ms_text, quoted, utc_text
from ..enums import SCHEMA_VERSION, Status
from ..forks import after_fork, importing
from ..storage import Record
from .propagation import strand_id
from .recorder import Recorder

if TYPE_CHECKING:
    from ..encoding.encoder import Marks
    from ..models import TraceData
    from .node import Node


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
        outer: Node | None = None,
    ) -> None:
        self.recorder = recorder
        self.id = recorder.id_of(trace_id) if trace_id is not None else recorder.new_id()
        self.quoted_id = quoted(self.id) if trace_id is not None else f'"{self.id}"'
        self.name = name
        self.is_session_named = session_id is not None
        self.session_id = str(session_id or recorder.session_id or default_session(self.id))
        self.user_id = user_id
        self.tags: list[str] = []
        if tags:
            self.add_tags(tags)
        self.metadata = {**recorder.trace_metadata, **(metadata or {})}
        self.is_sampled = is_sampled
        self.is_closed = False
        self.outer = outer
        self.root: Node | None = None
        self._read_clocks()
        self.numbers = count()
        self.usage: dict[str, int] = {}
        self.by_hand: dict[str, Node] = {}
        """What was pushed and not popped yet, by id, in the order of pushing."""

    @classmethod
    def unrecorded(cls, recorder: Recorder, name: str) -> OpenTrace:
        """Return a trace that accepts everything and records nothing."""
        return cls(recorder, name, is_sampled=False)

    def begin(self, root: Node) -> None:
        """Begin the trace, as its *root* does."""
        self.root = root
        self._read_clocks()

    def _read_clocks(self) -> None:
        """Read the time of day once: all later times of the trace are offsets from it, so clock steps do not matter."""
        recorder = self.recorder
        self.start_ns, self.start_tick = recorder.now(), recorder.tick()
        self.day = utc_text(self.start_ns)[:10].replace("-", "")

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
        """Take session, user and tags from a scope inside the trace; the scope's metadata is its observation's."""
        if session_id is not None:
            self.session_id, self.is_session_named = str(session_id), True
        if user_id is not None:
            self.user_id = user_id
        self.add_tags(tags)

    def count_usage(self, node: Node, usage: dict[str, int]) -> None:
        """Add *usage* to the trace's, unless the usage of a node below *node* was counted already."""
        with _counting:
            if not node.usage_counted:
                for field, tokens in usage.items():
                    self.usage[field] = self.usage.get(field, 0) + tokens
            above = node.parent
            while above is not None and not above.usage_counted:  # what is further up was marked with it
                above.usage_counted = True
                above = above.parent

    def close(self, root_input: bytes, end_ns: int, status: Status, result: bytes, marks: Marks) -> Record:
        """
        End what was left open by hand in this strand, and return the trace's own record.

        Args:
            root_input: The member ``input`` of the root's line.
            end_ns: When the root ended.
            status: How it ended.
            result: The members ``output`` and ``error`` of the root's line.
            marks: Counts what is masked and truncated in the trace's own fields.
        """
        strand = strand_id() if self.by_hand else None
        for forgotten in [node for node in self.by_hand.values() if node.owner == strand]:
            forgotten.end(Status.ABANDONED)
        self.is_closed = True
        summary = {**self._known(), "usage": self.usage or None}
        line = b"".join(
            (
                f'{{"trace_id":{self.quoted_id}'.encode(),
                members(self.recorder.encode(summary, marks)),
                f',"start_time":"{utc_text(self.start_ns)}","end_time":"{utc_text(end_ns)}",'
                f'"duration_ms":{ms_text(end_ns - self.start_ns)},"status":"{status.value}"'.encode(),
                root_input,
                result,
                f',"schema":{SCHEMA_VERSION}}}\n'.encode(),
            )
        )
        return Record("trace", self.day, line)

    def journal_members(self) -> bytes:
        """Return what the journal keeps of it, so that a crashed trace is more than its observations."""
        return b',"trace":' + self.recorder.encode(self._known(), UncountedMarks())

    def _known(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "session_id": self.session_id,
            "user_id": self.user_id,
            "metadata": self.metadata,
            "tags": self.tags,
        }

    def data(self) -> TraceData:
        """Return what is known so far, with the live metadata and tags."""
        with importing():
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


class UncountedMarks:
    """Counts places masked and truncated that are counted elsewhere, or nowhere."""

    redacted = 0
    truncated = 0


def name_session(trace: OpenTrace, session_id: str | None) -> None:
    """Set the framework's conversation *session_id* on *trace*, unless the program named its session."""
    if session_id is not None and not trace.is_session_named:
        trace.adopt(session_id=session_id)


_SERVERS = frozenset(
    {
        *("uvicorn", "hypercorn", "gunicorn", "granian", "daphne", "waitress", "werkzeug.serving", "aiohttp.web"),
        *("tornado.httpserver", "django.core.handlers", "celery.worker", "rq.worker", "dramatiq.worker", "arq.worker"),
        *("langgraph_api", "functions_framework", "awslambdaric"),
    }
)
"""Modules of web servers and task workers: a process that has one of them serves more than one user."""


def default_session(trace_id: str) -> str:
    """Return the session of a trace without one: the process's, or its own in a process that serves requests."""
    return ids.session_id() if _SERVERS.isdisjoint(sys.modules) else trace_id


_counting = threading.RLock()
"""Held while usage is added. Re-entrant: a stream collected meanwhile may end an observation."""


def _renew_lock() -> None:
    global _counting
    _counting = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_lock)
