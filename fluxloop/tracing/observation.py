"""
Open observations.

The first half of a record, with the snapshot of the input, is encoded when an observation starts, and written to the
journal. The second half is encoded when it ends. Nothing here raises into the program.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .. import forks
from ..encoding.record_text import UncheckedLabel, end_members, head_of, label_of, members
from ..encoding.vectors import shortened
from ..enums import ObservationType, Status
from ..interruptions import was_raised_from_outside
from ..report import log
from .node import Node
from .outcomes import ERROR_DETAILS, error_state, outcome_of
from .recorder import NOTHING, Recorder
from .tool_matching import merged

if TYPE_CHECKING:
    from ..encoding.encoder import Reader
    from .tool_matching import ClaimedResult, ToolMatcher
    from .trace import OpenTrace


def _status_members(status: Status, level: str) -> str:
    return f',"status":"{status.value}","level":"{level}"'


_STATUS_MEMBERS = {s: _status_members(s, "ERROR" if s is Status.ERROR else "INFO") for s in Status}
"""The members ``status`` and ``level`` of a record, by status."""

WITHHELD = "[withheld]"
"""Replaces the text of an error that must not be recorded."""

label_known = lru_cache(maxsize=1_000)(label_of)
"""A cached `label_of`, for names that occur often."""


on_start: list[Callable[[OpenObservation], None]] = []
"""Called with each observation that starts; usually empty, for replay."""


class OpenObservation(Node):
    """An observation that has started and not ended."""

    __slots__ = (
        "claimed_result",
        "deferred_input",
        "fields",
        "head",
        "input",
        "label",
        "level",
        "metadata",
        "number",
        "read",
        "redacted",
        "slot",
        "start_ns",
        "started",
        "tool_matcher",
        "truncated",
    )

    if TYPE_CHECKING:
        level: str | None
        metadata: dict[str, Any] | None
        fields: dict[str, Any] | None
        tool_matcher: ToolMatcher | None
        """Set on a framework's tool event: recognises the function of the same call."""
        claimed_result: ClaimedResult | None
        """The result of that function."""
        deferred_input: object
        """An input that is known only at the end; encoded together with the output."""

    if TYPE_CHECKING:

        def __init__(self) -> None:
            """Create it; then `start` it. An interruption between the two can discard it."""
    else:
        __init__ = object.__init__

    def start(
        self,
        trace: OpenTrace,
        parent: Node | None,
        label: str,
        given: object = NOTHING,
        read: Reader | None = None,
        own_id: str | None = None,
        start_ns: int | None = None,
    ) -> None:
        """
        Start the observation.

        Args:
            trace: Its trace.
            parent: Its parent; None for the root.
            label: Its type and name as JSON members; see `label_of`.
            given: The input to capture.
            read: Converts the input and the output before encoding; see `Encoder.encode`.
            own_id: Its id, escaped for a JSON string; a new id by default.
            start_ns: Its start in nanoseconds since 1970; now by default.
        """
        recorder = trace.recorder
        # Python 3.11 reads a function that is an attribute of an object faster than it calls it there.
        new_id, encode, tick = recorder.new_id, recorder.encode, recorder.tick
        # What `Node.__init__` does, without the call.
        self.trace, self.parent = trace, parent
        self.id = own_id = own_id or new_id()
        self.closed = self.usage_counted = False
        self.forks = forks.fork_count
        self.owner = self.previous = None
        self.slot = -1
        self.read = read
        self.redacted = self.truncated = 0
        self.level = self.metadata = self.fields = self.tool_matcher = self.claimed_result = None
        self.deferred_input = NOTHING
        self.number = number = next(trace.numbers)
        self.input = rest = b',"input":' + encode(given, self, read) if given is not NOTHING else b""
        # The clock is read after encoding the input, so that the duration excludes the cost of recording.
        if parent is None:
            trace.begin(self)
            self.started = started = trace.start_tick
            parent_id = None
        else:
            self.started = started = tick()
            parent_id = parent.id
        if start_ns is None:
            start_ns = trace.origin_ns + started
        self.start_ns = start_ns
        self.label = label
        if type(label) is UncheckedLabel:
            self.head = head = self._head(label)
        else:
            self.head = head = head_of(own_id, trace.quoted_id, parent_id, label, number, start_ns)
        journal = recorder.journal
        if journal is not None:
            self.slot = journal.put(head if parent is not None else head + trace.journal_members(), rest)
        if on_start:
            for note in on_start:
                note(self)

    def _head(self, label: str) -> bytes:
        if type(label) is UncheckedLabel and (redactor := self.trace.recorder.redactor) is not None:
            checked = label.masked(redactor)
            self.redacted += checked not in (label, self.label)
            label = checked
        self.label = label
        parent_id = self.parent.id if self.parent is not None else None
        return head_of(self.id, self.trace.quoted_id, parent_id, label, self.number, self.start_ns)

    def set_fields(self, **fields: Any) -> None:
        """Set top-level fields of the record, such as ``model`` and ``usage``. None leaves a field unchanged."""
        known = {name: value for name, value in fields.items() if value is not None}
        if known:
            self.fields = {**(self.fields or {}), **known}

    def add_metadata(self, **metadata: Any) -> None:
        """Add *metadata* to the record."""
        self.metadata = {**(self.metadata or {}), **metadata}

    def take_over(self, label: str | None, given: object) -> None:
        """Use the label and input of the instrumented function of the same call; see `tool_matching`."""
        if self.tool_matcher is not None and not self.tool_matcher.packages:
            self.tool_matcher = None  # otherwise every later TOOL would match too
        if self.claimed_result is not None:  # another attempt: for example, a retry decorator calls the function again
            self.claimed_result = None
            for name in ERROR_DETAILS & (self.metadata or {}).keys():
                del self.metadata[name]  # type: ignore[union-attr]
        if given is not NOTHING:
            self.set_input(given)
        self.head = self._head(label or self.label)

    def set_input(self, given: object) -> None:
        """Capture *given* as the input, after the start."""
        self.input = b',"input":' + self.trace.recorder.encode(given, self, self.read)

    def drop_input(self) -> None:
        """Discard the input, also in the journal."""
        self.input = b""
        journal = self.trace.recorder.journal
        if journal is not None and self.slot >= 0:
            old_slot = self.slot
            self.slot = journal.put(self.head + (self.trace.journal_members() if self.parent is None else b""))
            journal.free(old_slot)

    def drop_captured(self) -> None:
        """Discard the input, output, error text and traceback, but keep the status."""
        self.drop_input()
        if self.claimed_result is not None:
            status, _, error = self.claimed_result
            self.claimed_result = status, NOTHING, error and WITHHELD
        if self.metadata is not None:
            self.metadata.pop("traceback", None)
            (self.metadata.get("replay") or {}).pop("error", None)

    def backdate(self, started: int) -> None:
        """Set the start to *started*, an earlier reading of `Recorder.tick`."""
        self.start_ns -= self.started - started
        self.started = started
        self.head = self._head(self.label)

    def fail(self, exc: BaseException, output: object = NOTHING, status: Status | None = None) -> None:
        """
        End the observation with the outcome of *exc*.

        Args:
            exc: The exception.
            output: The output so far.
            status: The status; by default decided by `outcomes.status_of`.
        """
        outcome = outcome_of(exc, status)
        self.add_error(exc, outcome.details)
        self.end(outcome.status, output, outcome.error)

    def add_error(self, exc: BaseException, details: dict[str, Any]) -> None:
        """Add the *details* of *exc* to the metadata; with ``replayable=True``, also its arguments and attributes."""
        if details:
            recorder = self.trace.recorder
            if recorder.settings.replayable and recorder.captures_output and (state := error_state(exc)) is not None:
                details = {**details, "replay": {**((self.metadata or {}).get("replay") or {}), "error": state}}
            self.add_metadata(**details)

    def discard(self) -> None:
        """Close the observation without a record, as if it had not started."""
        self.closed = True
        if self.slot >= 0 and self.trace.recorder.journal is not None:
            self.trace.recorder.journal.free(self.slot)

    def end_at_start(self, output: object = NOTHING) -> None:
        """End the observation with a duration of zero."""
        self.closed = True
        self._write(self.trace.recorder, self.start_ns, Status.SUCCESS, output, None)

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """
        End the observation and write its record. If it is the root, write the record of the trace too.

        Only the first call has an effect. The only exceptions that it raises come from outside, such as from a signal
        handler; the record is written in that case too.
        """
        recorder = self.trace.recorder
        tick = recorder.tick
        ended = tick()
        if self.closed:
            return
        self.closed = True
        if self.forks != forks.fork_count:  # started in the parent process, before a fork; that process ends it
            return
        if self.claimed_result is not None:
            status, output, error = merged(self.claimed_result, status, output, error)
        end_ns = self.start_ns + ended - self.started
        try:
            self._write(recorder, end_ns, status, output, error)
        except BaseException as exc:
            if not was_raised_from_outside(exc):
                recorder.record_failure("ending it", exc)
            else:
                if self.slot != WRITTEN:
                    self._write(recorder, end_ns, status, output, error)
                raise
        self.metadata = None  # child nodes may keep this object alive longer than its metadata is needed

    def _write(self, recorder: Recorder, end_ns: int, status: Status, output: object, error: str | None) -> None:
        """Write the record, and for a root that of the trace, and free the slot in the journal."""
        trace = self.trace
        following = _STATUS_MEMBERS[status] if self.level is None else _status_members(status, self.level)
        span = end_members(end_ns, end_ns - self.start_ns, following)
        if type(self.label) is not str and recorder.shortens_vectors and self.label.startswith(_EMBEDDING):
            output = shortened(output)
        if error is None and not (self.metadata or self.fields) and self.deferred_input is NOTHING:
            encode = recorder.encode
            result = b',"output":' + encode(output, self, self.read) if output is not NOTHING else b""
            rest = b""
        else:
            result, rest = self._result(recorder, output, error)
        closing = trace.close(self.input, end_ns, status, result, self) if self.parent is None else None
        if self.redacted or self.truncated:
            rest += self._count_members(recorder)
        line = b"".join((self.head, self.input, span, result, rest, b"}\n"))
        recorded = recorder.write_line(trace.day, line, closing)
        slot, self.slot = self.slot, WRITTEN
        if slot >= 0 and recorder.journal is not None:
            recorder.journal.free(slot, recorded)
        if recorder.debug:
            log.debug("captured {%s} %s in trace %s", self.label, status.value, trace.id)

    def _result(self, recorder: Recorder, output: object, error: str | None) -> tuple[bytes, bytes]:
        """Return the members that the record of the trace repeats, output and error, and those of this record only."""
        fields, metadata = self.fields, self.metadata
        if fields and "usage" in fields:
            self.trace.count_usage(self, fields["usage"])
        deferred = self.deferred_input
        if error is None and output is not NOTHING and (metadata or fields) and self.parent is not None:
            # Small values are encoded together, since one search for secrets is faster than several.
            together = {"output": output} if deferred is NOTHING else {"input": deferred, "output": output}
            if fields:
                together |= fields
            if metadata:
                together["metadata"] = metadata
            quick = recorder.quick(together, self.read)
            if quick is not None:
                if deferred is not NOTHING:
                    self.input = b""
                return b"", b"," + quick[1:-1]
        if deferred is not NOTHING:
            self.set_input(deferred)
        encode = recorder.encode
        result = b',"output":' + encode(output, self, self.read) if output is not NOTHING else b""
        if error is not None:
            result += b',"error":' + encode(error, self)
        if fields:
            return result, members(encode({**fields, "metadata": metadata} if metadata else fields, self))
        return result, b',"metadata":' + encode(metadata, self) if metadata else b""

    def _count_members(self, recorder: Recorder) -> bytes:
        """Return the members ``redacted`` and ``truncated``, and add the counts to the report."""
        members = b""
        if self.redacted:
            recorder.counts.add("redacted", self.redacted)
            members += b',"redacted":%d' % self.redacted
        if self.truncated:
            recorder.counts.add("truncated", self.truncated)
            members += b',"truncated":%d' % self.truncated
        return members


_EMBEDDING = label_of(ObservationType.EMBEDDING, "").partition(",")[0]
"""How the label of an EMBEDDING starts."""

WRITTEN = -2
"""The slot of an observation whose record is written."""
