"""
Observations between their beginning and their end.

The first half of a record is encoded when an observation begins - that is the snapshot of its input, and what
the in-flight journal keeps - the second half when it ends. Nothing here raises into the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..encoding import ids
from ..encoding.record_text import UncheckedLabel, label_of, members, ms_text, utc_text
from ..enums import ObservationLevel, ObservationType, Status
from ..report import log
from .outcomes import error_details, message_of, status_of
from .recorder import NOTHING, Recorder

if TYPE_CHECKING:
    from ..encoding.encoder import Reader
    from .tool_matching import ToolMatcher
    from .trace import OpenTrace


def ending_of(status: Status, level: str) -> str:
    """Return the members that say how an observation ended."""
    return f',"status":"{status.value}","level":"{level}"'


_ENDINGS = {status.value: ending_of(status, "ERROR" if status is Status.ERROR else "INFO") for status in Status}
"""The members that say how an observation ended, by the status."""


WITHHELD = "[withheld]"
"""Stands where an error's text was not to be kept."""

SUPPRESSED = object()
"""Stands in a verdict for an output that is not to be captured, not from the framework either."""


class OpenObservation:
    """One observation between its beginning and its end."""

    __slots__ = (
        "__weakref__",
        "claimed_result",
        "closed",
        "deferred_input",
        "fields",
        "fork_count",
        "has_counted_inside",
        "head",
        "id",
        "input",
        "label",
        "level",
        "metadata",
        "number",
        "owner",
        "parent",
        "previous",
        "read",
        "redacted",
        "slot",
        "start_ns",
        "started",
        "tool_matcher",
        "trace",
        "truncated",
    )

    def __init__(
        self,
        trace: OpenTrace,
        parent: OpenObservation | None,
        label: str,
        given: object = NOTHING,
        *,
        read: Reader | None = None,
        own_id: str | None = None,
        start_ns: int | None = None,
    ) -> None:
        """
        Begin an observation.

        Args:
            trace: The trace it belongs to.
            parent: Under which it nests; None for the root.
            label: Its type and name as JSON members, see `label_of`.
            given: The value to capture as its input.
            read: Reads what is given and what comes of it, see `Encoder.encode`.
            own_id: Its id, where it has one already, as the inside of a JSON string.
            start_ns: When it began, where that was not just now; nanoseconds since 1970.
        """
        recorder = trace.recorder
        self._init_node(trace, parent, own_id or recorder.new_id(), read)
        self.number = next(trace.numbers)
        if start_ns is None:
            start_ns = recorder.now() if parent is not None else trace.start_ns
        self.start_ns = start_ns
        self.head = self._head(label)
        self.input = b',"input":' + recorder.encode(given, self, read) if given is not NOTHING else b""
        if parent is None:
            trace.root = self
        if recorder.journal is not None:
            head = self.head if parent is not None else self.head + trace.journal_members()
            self.slot = recorder.journal.put(head, self.input)
        self.started = recorder.tick()

    def _init_node(
        self, trace: OpenTrace, parent: OpenObservation | None, own_id: str, read: Reader | None = None
    ) -> None:
        """Take a place in the tree; nothing has begun, and nothing is said about it yet."""
        self.trace = trace
        self.parent = parent
        self.id = own_id
        self.fork_count = ids.fork_count
        self.read = read
        self.closed = False
        self.slot = -1
        self.redacted = 0
        self.truncated = 0
        self.level: str | None = None
        self.metadata: dict[str, Any] | None = None
        self.fields: dict[str, Any] | None = None
        self.has_counted_inside = False
        # Who entered it as a scope or pushed it, and what was current before; see `fluxloop.context`.
        self.owner: tuple[int, object] | None = None
        self.previous: OpenObservation | None = None
        # A claimable one stands for a framework's tool event, and waits for the instrumented function inside
        # the same call to take it over: one call, one observation.
        self.tool_matcher: ToolMatcher | None = None
        self.claimed_result: tuple[Status, object, str | None] | None = None
        # An input that came to be known only at the end; until then it is not encoded.
        self.deferred_input: object = NOTHING

    def _head(self, label: str) -> bytes:
        if type(label) is UncheckedLabel and (redactor := self.trace.recorder.redactor) is not None:
            checked = label.masked(redactor)
            self.redacted += checked not in (label, getattr(self, "label", None))
            label = checked
        self.label = label
        parent = self.parent
        above = "null" if parent is None else f'"{parent.id}"'
        return (
            f'{{"id":"{self.id}","trace_id":{self.trace.quoted_id},"parent_id":{above},{label},'
            f'"seq":{self.number},"start_time":"{utc_text(self.start_ns)}"'
        ).encode()

    def set_fields(self, **fields: Any) -> None:
        """Set top-level fields of the record, such as ``model`` and ``usage``; None leaves one as it is."""
        known = {name: value for name, value in fields.items() if value is not None}
        if known:
            self.fields = {**(self.fields or {}), **known}

    def take_over(self, label: str | None, given: object) -> None:
        """Let the instrumented function inside say what this is; see `fluxloop.tracing.tool_matching`."""
        self.tool_matcher = None
        if given is not NOTHING:
            self.set_input(given)
        self.head = self._head(label or self.label)

    def set_input(self, given: object) -> None:
        """Capture *given* as the input, where it became known only after the beginning."""
        self.input = b',"input":' + self.trace.recorder.encode(given, self, self.read)

    def drop_input(self) -> None:
        """Let what it was given be told nowhere, in the journal neither."""
        self.input = b""
        journal = self.trace.recorder.journal
        if journal is not None and self.slot >= 0:
            told, self.slot = (
                self.slot,
                journal.put(self.head + (self.trace.journal_members() if self.parent is None else b"")),
            )
            journal.free(told)

    def drop_captured(self) -> None:
        """Forget what was captured: input, output, error text and traceback; how it ended stays known."""
        self.drop_input()
        if self.claimed_result is not None:
            status, _, error = self.claimed_result
            self.claimed_result = status, NOTHING, error and WITHHELD
        if self.metadata is not None:
            self.metadata.pop("traceback", None)

    def backdate(self, started: int) -> None:
        """Let it have begun at *started*, by the recorder's `tick`, which was before it was made."""
        self.start_ns -= self.started - started
        self.started = started
        self.head = self._head(self.label)

    def add_metadata(self, **metadata: Any) -> None:
        """Add to the record's metadata."""
        self.metadata = {**(self.metadata or {}), **metadata}

    def fail(self, exc: BaseException, output: object = NOTHING) -> None:
        """End it with the status of *exc* (see `outcomes.status_of`); *output* is the output so far."""
        status = status_of(exc)
        if status is Status.ERROR:
            self.add_metadata(**error_details(exc))
            self.end(status, output, message_of(exc))
        else:
            self.end(status, output)

    def discard(self) -> None:
        """Let it never have begun: no record of it is written."""
        self.closed = True
        if self.slot >= 0 and self.trace.recorder.journal is not None:
            self.trace.recorder.journal.free(self.slot)

    def record_event(self, output: object = NOTHING) -> None:
        """End it where it began: a point in time."""
        self.closed = True
        self._write(self.trace.recorder, self.start_ns, Status.SUCCESS, output, None)

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """
        End the observation and write its record, and the trace's where it is the root.

        Only the first call does anything. Never raises.
        """
        recorder = self.trace.recorder
        ended = recorder.tick()
        if self.closed:
            return
        self.closed = True
        if self.fork_count != ids.fork_count:  # begun by the parent of a fork, and the parent will end it
            return
        if self.claimed_result is not None:
            status, output, error = _judged(self.claimed_result, status, output, error)
        try:
            self._write(recorder, self.start_ns + ended - self.started, status, output, error)
        except Exception as exc:
            recorder.record_failure("ending it", exc)
        self.metadata = None  # what is below may outlive it, and what it was told need not

    def _write(self, recorder: Recorder, end_ns: int, status: Status, output: object, error: str | None) -> None:
        """Write the line - and the trace's after it where this is the root - and free the slot."""
        trace = self.trace
        parts, result = self._parts(recorder, end_ns, status, output, error)
        closing = trace.close(self, end_ns, status, result) if self.parent is None else None
        if self.redacted or self.truncated:
            parts.append(self._marks(recorder))
        parts.append(b"}\n")
        recorder.write_line(trace.day, b"".join(parts), closing)
        if self.slot >= 0 and recorder.journal is not None:
            recorder.journal.free(self.slot)
        if recorder.debug:
            log.debug("captured {%s} %s in trace %s", self.label, status.value, trace.id)

    def _parts(
        self, recorder: Recorder, end_ns: int, status: Status, output: object, error: str | None
    ) -> tuple[list[bytes], bytes]:
        """Return the pieces of the line but for its end, and of these what the trace shares: output and error."""
        ending = _ENDINGS[status._value_] if self.level is None else ending_of(status, self.level)
        span = f',"end_time":"{utc_text(end_ns)}","duration_ms":{ms_text(end_ns - self.start_ns)}{ending}'.encode()
        fields, metadata = self.fields, self.metadata
        if fields and "usage" in fields:
            self.trace.count_usage(self, fields["usage"])
        deferred_input = self.deferred_input
        if error is None and output is not NOTHING and (metadata or fields) and self.parent is not None:
            # Looking for what is to be masked is cheapest once; each value is measured by itself where they are large.
            all_of_it = {"output": output} if deferred_input is NOTHING else {"input": deferred_input, "output": output}
            if fields:
                all_of_it |= fields
            if metadata:
                all_of_it["metadata"] = metadata
            quick = recorder.quick(all_of_it)
            if quick is not None:
                return [self.head, self.input if deferred_input is NOTHING else b"", span, b",", quick[1:-1]], b""
        if deferred_input is not NOTHING:
            self.set_input(deferred_input)
        encode = recorder.encode
        result = b',"output":' + encode(output, self, self.read) if output is not NOTHING else b""
        if error is not None:
            result += b',"error":' + encode(error, self)
        parts = [self.head, self.input, span, result]
        if fields:
            parts.append(members(encode({**fields, "metadata": metadata} if metadata else fields, self)))
        elif metadata:
            parts += (b',"metadata":', encode(metadata, self))
        return parts, result

    def _marks(self, recorder: Recorder) -> bytes:
        """Return the members that say how much was masked or cut, having counted it."""
        marks = b""
        if self.redacted:
            recorder.counts.add("redacted", self.redacted)
            marks += b',"redacted":%d' % self.redacted
        if self.truncated:
            recorder.counts.add("truncated", self.truncated)
            marks += b',"truncated":%d' % self.truncated
        return marks


def _judged(
    claimed_result: tuple[Status, object, str | None], status: Status, output: object, error: str | None
) -> tuple[Status, object, str | None]:
    """
    Return the ending of a framework's observation that the instrumented function inside it claimed.

    The function saw the value and the exception themselves, where the framework may tell of a text made
    of either; what went wrong after it returned, only the framework knows.
    """
    inner_status, inner_output, inner_error = claimed_result
    result = inner_output if inner_output is not NOTHING else output
    if result is SUPPRESSED:
        result = NOTHING
    if inner_status is Status.SUCCESS and status is not Status.SUCCESS:
        return status, result, error
    return inner_status, result, inner_error


label_known = lru_cache(maxsize=1_000)(label_of)
"""`label_of`, for names of which a program has few."""


def record_event(
    under: OpenObservation,
    name: str,
    *,
    input: object = NOTHING,
    output: object = NOTHING,
    metadata: Mapping[str, Any] | None = None,
    level: ObservationLevel | str = ObservationLevel.INFO,
) -> None:
    """Record a point in time under *under*, as EVENT, where that is recorded; never raises."""
    recorder = under.trace.recorder
    if not under.trace.is_recording:
        return
    try:
        label = label_known(ObservationType.EVENT, name)
        event = OpenObservation(under.trace, under, label, input if recorder.captures_input else NOTHING)
        event.level = ObservationLevel(level).name
        if metadata:
            event.metadata = dict(metadata)
        event.record_event(output if recorder.captures_output else NOTHING)
    except Exception as exc:
        recorder.record_failure("noting an event", exc)
