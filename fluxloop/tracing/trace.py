"""
An open trace: the data and state that all its observations share.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from ..encoding import ids
from ..encoding.record_text import datetime_of, end_members, members, quoted, utc_text
from ..enums import SCHEMA_VERSION, Status
from ..forks import after_fork, importing
from ..storage import Record
from .node import Node
from .propagation import open_traces, reasons, strand_id
from .recorder import Recorder

if TYPE_CHECKING:
    from ..encoding.encoder import Marks
    from ..models import TraceData


class OpenTrace:
    """A trace whose root has not ended."""

    _root: ReferenceType[Node] | None = None

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
        # Removed by a callback in C when the trace is collected: an exception of a signal handler in a finalizer
        # written in Python would be lost.
        reasons.add(ref(self, reasons.discard))
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
        if not is_sampled:
            self._read_clocks()
        self.numbers = count()
        self.usage: dict[str, int] = {}
        self.pushed: dict[str, Node] = {}
        """The observations that were pushed and not popped, by id, in push order."""

    @classmethod
    def unrecorded(cls, recorder: Recorder, name: str) -> OpenTrace:
        """Return a trace that records nothing."""
        return cls(recorder, name, is_sampled=False)

    def begin(self, root: Node) -> None:
        """Set the *root*, and the start of the trace to the start of the root."""
        self._root, self._root_id = ref(root), root.id
        self._read_clocks()
        self._open = ref(self, open_traces.discard)
        open_traces.add(self._open)

    @property
    def root(self) -> Node | None:
        """The root, or if it has ended and nothing is inside it, a node with its id; None before the start."""
        # A strong reference would be a cycle, and keep ended traces until a garbage collection.
        root = self._root() if self._root is not None else None
        return Node(self, None, self._root_id) if root is None and self._root is not None else root

    def _read_clocks(self) -> None:
        """Read the time of day once. All later times are offsets from it, so clock changes have no effect."""
        recorder = self.recorder
        self.start_ns, self.start_tick = recorder.now(), recorder.tick()
        self.origin_ns = self.start_ns - self.start_tick
        """The time of day at which `Recorder.tick` was 0."""
        self.day = utc_text(self.start_ns)[:10].replace("-", "")

    @property
    def is_recording(self) -> bool:
        """Whether an observation that starts now would be recorded."""
        return self.is_sampled and self.recorder.switch.on

    def add_tags(self, tags: Iterable[str]) -> None:
        """Add *tags* in order, without duplicates."""
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
        """Set session, user and tags from a scope inside the trace. Its metadata belongs to its own observation."""
        if session_id is not None:
            self.session_id, self.is_session_named = str(session_id), True
        if user_id is not None:
            self.user_id = user_id
        self.add_tags(tags)

    def count_usage(self, node: Node, usage: dict[str, int]) -> None:
        """Add *usage* to the usage of the trace, unless the usage of a descendant of *node* was added before."""
        with _usage_lock:
            if not node.usage_counted:
                for field, tokens in usage.items():
                    self.usage[field] = self.usage.get(field, 0) + tokens
            ancestor = node.parent
            while ancestor is not None and not ancestor.usage_counted:  # its own ancestors are marked already
                ancestor.usage_counted = True
                ancestor = ancestor.parent

    def close(self, root_input: bytes, end_ns: int, status: Status, result: bytes, marks: Marks) -> Record:
        """
        End the observations that this strand pushed and did not pop, and return the record of the trace.

        Args:
            root_input: The member ``input`` of the root's record.
            end_ns: The end of the root.
            status: The status of the root.
            result: The members ``output`` and ``error`` of the root's record.
            marks: Counts masked secrets and truncations in the fields of the trace.
        """
        strand = strand_id() if self.pushed else None
        for left_open in [node for node in self.pushed.values() if node.owner == strand]:
            left_open.end(Status.ABANDONED)
        self.is_closed = True
        open_traces.discard(self._open)
        summary = {**self._known(), "usage": self.usage or None}
        line = b"".join(
            (
                f'{{"trace_id":{self.quoted_id}'.encode(),
                members(self.recorder.encode(summary, marks)),
                f',"start_time":"{utc_text(self.start_ns)}"'.encode(),
                end_members(end_ns, end_ns - self.start_ns, f',"status":"{status.value}"'),
                root_input,
                result,
                f',"schema":{SCHEMA_VERSION}}}\n'.encode(),
            )
        )
        return Record("trace", self.day, line)

    def journal_members(self) -> bytes:
        """Return the data of the trace for the journal, so that a crashed trace can be read with its own fields."""
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
        """Return the data so far. Its metadata and tags are those of the open trace, not copies."""
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
    """Discards the counts of masked secrets and truncations, which are counted elsewhere."""

    redacted = 0
    truncated = 0


def name_session(trace: OpenTrace, session_id: str | None) -> None:
    """Set *session_id*, a framework's conversation, on *trace*, unless the program set a session."""
    if session_id is not None and not trace.is_session_named:
        trace.adopt(session_id=session_id)


_SERVERS = frozenset(
    {
        *("uvicorn.protocols.http", "hypercorn.asyncio", "gunicorn.arbiter", "granian.server", "daphne.server"),
        *("waitress.server", "werkzeug.serving", "aiohttp.web_runner", "tornado.httpserver", "django.core.handlers"),
        *("celery.worker", "rq.worker", "dramatiq.worker", "arq.worker", "langgraph_api.server"),
        *("functions_framework", "awslambdaric"),
    }
)
"""Modules that web servers and task workers load when they run. Such a process serves several users."""


def default_session(trace_id: str) -> str:
    """Return the session of a trace without one: that of the process, or in a server a session of its own."""
    global _checked
    modules = sys.modules
    if _checked != len(modules):  # a look-up of each name takes longer than the rest of opening a trace
        if not modules.keys().isdisjoint(_SERVERS):
            return trace_id
        _checked = len(modules)
    return ids.session_id()


_checked = 0
"""The number of modules that were loaded when none of them was found to be of a server."""


_usage_lock = threading.RLock()
"""Protects the usage of traces. Re-entrant, because a stream that is garbage-collected may end an observation."""


def _renew_lock() -> None:
    global _usage_lock
    _usage_lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_lock)
