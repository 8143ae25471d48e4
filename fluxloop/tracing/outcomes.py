"""
How an exception ends an observation.

`status_of` is the one place that decides between error, cancelled, abandoned and, for frameworks whose exceptions
are control flow, the status their adapter registered with `register_ending`.
"""

from __future__ import annotations

from collections.abc import Iterator
from traceback import FrameSummary, TracebackException, extract_tb, format_list
from typing import Any, NamedTuple

from ..enums import Status
from ..interruptions import OUR_FOLDERS, was_raised_from_outside

MOST_FRAMES = 300
"""Frames of a traceback that are recorded, outermost first: an exception that is raised again collects ever more."""

_registered: dict[type[BaseException], Status] = {KeyboardInterrupt: Status.CANCELLED, SystemExit: Status.CANCELLED}

_CANCELLATIONS = {("asyncio.exceptions", "CancelledError"), ("trio", "Cancelled")}
"""Cancellations of event loops, by name: neither library is imported for them."""


ERROR_DETAILS = frozenset({"error_type", "traceback"})
"""Metadata about the exception that ended an observation."""


class Outcome(NamedTuple):
    """The ending of an observation that an exception left."""

    status: Status
    error: str | None
    details: dict[str, Any]
    """For the metadata: the exception's class, and for an error its traceback."""


def register_ending(kind: type[BaseException], status: Status) -> None:
    """Let exceptions of *kind*, subclasses included, end observations as *status* instead of ``error``."""
    _registered[kind] = status


def status_of(exc: BaseException) -> Status:
    """
    Return how an observation ends that *exc* left.

    Exceptions are errors, those that derive from ``BaseException`` alone too (a Rust panic, ``pytest.fail``). Not
    errors are ``KeyboardInterrupt``, ``SystemExit`` and the cancellations of asyncio and trio (cancelled),
    ``GeneratorExit`` (abandoned), and what an adapter registered. A group is an error if one of its members is.
    """
    if isinstance(exc, BaseExceptionGroup):
        statuses = {status_of(member) for member in exc.exceptions}
        return next(iter(statuses)) if len(statuses) == 1 else _most_severe(statuses)
    for kind in type(exc).__mro__:
        if kind in _registered:
            return _registered[kind]
        if kind is GeneratorExit:
            return Status.ABANDONED
        if (kind.__module__.removesuffix("._core._exceptions"), kind.__name__) in _CANCELLATIONS:
            return Status.CANCELLED
    return Status.ERROR


def _most_severe(statuses: set[Status]) -> Status:
    return next(s for s in (Status.ERROR, Status.INTERRUPTED, Status.CANCELLED, Status.ABANDONED) if s in statuses)


def outcome_of(exc: BaseException, status: Status | None = None) -> Outcome:
    """
    Return the ending of an observation that *exc* left.

    Args:
        exc: The exception.
        status: The status, where the caller knows better than `status_of`.

    An error has its message, class and traceback; a cancellation its class, and its message where it has one.
    """
    status = status or status_of(exc)
    if status is Status.ERROR:
        return Outcome(status, message_of(exc), error_details(exc))
    if status is Status.CANCELLED:
        return Outcome(status, _text_of(exc) or None, {"error_type": type(exc).__name__})
    return Outcome(status, None, {})


def message_of(exc: BaseException) -> str:
    """Return the text of *exc*; its class name where it has none or its ``__str__`` fails."""
    return _text_of(exc) or type(exc).__name__


def _text_of(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as exc:  # the user's __str__ failed; the class name has to do
        if was_raised_from_outside(exc):
            raise
        return ""


def error_details(exc: BaseException) -> dict[str, Any]:
    """Return the metadata of an error: its class, and its traceback without FluxLoop's frames."""
    return {"error_type": type(exc).__name__, "traceback": _traceback_text(exc)}


def _traceback_text(exc: BaseException) -> str:
    """Return the traceback of *exc*; where an inner observation formatted it already, only the new frames are added."""
    global _formatted
    try:
        depth, key = _position(exc)
        last = _formatted
        if last is not None and last.key == key and last.depth <= depth:
            text, at = last.text, last.frames_at
            if depth <= MOST_FRAMES:
                text = text[:at] + _frames_text(exc, depth - last.depth) + text[at:]
            elif not text.endswith(_TRUNCATED):
                text += _TRUNCATED
        else:
            text = _format(exc)
        header_at = text.rfind(_HEADER)
        if header_at >= 0 and not isinstance(exc, BaseExceptionGroup):
            _formatted = _Formatted(key, min(depth, MOST_FRAMES), header_at + len(_HEADER), text)
        return text
    except Exception as exc:  # exceptions with hostile attributes exist; the message alone then has to do
        if was_raised_from_outside(exc):
            raise
        return type(exc).__name__


class _Formatted(NamedTuple):
    """The traceback that was formatted last: an error passes many nested observations, each a few frames longer."""

    key: tuple[object, ...]
    depth: int
    frames_at: int
    text: str


_formatted: _Formatted | None = None
_TRUNCATED = f"(traceback truncated to {MOST_FRAMES} frames)\n"
_HEADER = "Traceback (most recent call last):\n"


def _position(exc: BaseException) -> tuple[int, tuple[object, ...]]:
    """Return the length of the traceback, and what identifies the exception without a reference to it."""
    depth, last = 0, None
    traceback = exc.__traceback__
    while traceback is not None:
        depth, last, traceback = depth + 1, traceback, traceback.tb_next
    place = (id(last.tb_frame.f_code), last.tb_lasti) if last is not None else ()
    return depth, (id(exc), type(exc), _text_of(exc), place, id(exc.__cause__), id(exc.__context__))


def _frames_text(exc: BaseException, count: int) -> str:
    """Return the outermost *count* frames of the traceback as text, without FluxLoop's."""
    frames = extract_tb(exc.__traceback__, limit=count) if count else []
    return "".join(format_list(_shown(frames)))


def _shown(frames: list[FrameSummary]) -> list[FrameSummary]:
    """
    Return *frames* without FluxLoop's and without the columns of the expressions.

    To underline an expression, Python parses its source and ignores every exception meanwhile, also one that a signal
    handler raises.
    """
    return [
        FrameSummary(frame.filename, frame.lineno, frame.name, lookup_line=False, line=frame.line)
        for frame in frames
        if not frame.filename.startswith(OUR_FOLDERS)
    ]


def _format(exc: BaseException) -> str:
    summary = TracebackException.from_exception(exc, compact=True, limit=MOST_FRAMES)
    is_truncated = False
    for part in _parts_of(summary):
        is_truncated = is_truncated or len(part.stack) == MOST_FRAMES
        part.stack[:] = _shown(part.stack)
    text = "".join(summary.format())
    return text + _TRUNCATED if is_truncated else text


def _parts_of(summary: TracebackException) -> Iterator[TracebackException]:
    """Yield *summary* and those of its causes, contexts and group members."""
    pending = [summary]
    while pending:
        part = pending.pop()
        yield part
        pending += [e for e in (part.__cause__, part.__context__, *(part.exceptions or ())) if e]
