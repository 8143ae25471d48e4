"""
The outcome of an observation that an exception ends: its status, message and details.

`status_of` maps exceptions to statuses. An adapter registers the status of exceptions that its framework uses for
control flow with `register_ending`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from traceback import FrameSummary, TracebackException, extract_tb, format_list
from types import TracebackType
from typing import Any, NamedTuple

from ..encoding.introspection import bases, full_name, has_plain_hash, short_name
from ..enums import Status
from ..interruptions import OUR_FOLDERS, was_raised_by_a_value

MAX_FRAMES = 300
"""The limit of recorded frames of a traceback, outermost first. Re-raising an exception adds frames."""

_registered: dict[type[BaseException], Status] = {KeyboardInterrupt: Status.CANCELLED, SystemExit: Status.CANCELLED}

_CANCELLATIONS = {"asyncio.exceptions.CancelledError", "trio.Cancelled", "trio._core._exceptions.Cancelled"}
"""The cancellation exceptions of event loops. They are compared by name, to avoid importing the libraries."""

ERROR_DETAILS = frozenset({"error_type", "traceback"})
"""Metadata about the exception that ended an observation."""


class Outcome(NamedTuple):
    """The status, message and details of an observation that an exception ended."""

    status: Status
    error: str | None
    details: dict[str, Any]
    """Metadata: the class of the exception, and for an error its traceback."""


def register_ending(exception_type: type[BaseException], status: Status) -> None:
    """Let exceptions of *exception_type*, subclasses included, end observations as *status* instead of ``error``."""
    _registered[exception_type] = status


def status_of(exc: BaseException) -> Status:
    """
    Return the status of an observation that *exc* ended.

    ``KeyboardInterrupt``, ``SystemExit`` and the cancellations of asyncio and trio mean cancelled; ``GeneratorExit``
    means abandoned; adapters can register other statuses. All other exceptions mean error, including those that derive
    directly from ``BaseException`` (a Rust panic, ``pytest.fail``). A group is an error if one of its members is.

    No code of the exception's class runs.
    """
    if issubclass(type(exc), BaseExceptionGroup):
        statuses = {status_of(member) for member in _members_of(exc)}
        return next(iter(statuses)) if len(statuses) == 1 else _most_severe(statuses)
    for cls in bases(type(exc)):
        if has_plain_hash(cls) and cls in _registered:
            return _registered[cls]
        if cls is GeneratorExit:
            return Status.ABANDONED
        if full_name(cls) in _CANCELLATIONS:
            return Status.CANCELLED
    return Status.ERROR


_members_of: Callable[[BaseException], tuple[BaseException, ...]] = BaseExceptionGroup.__dict__["exceptions"].__get__
_traceback_of: Callable[[BaseException], TracebackType | None] = BaseException.__dict__["__traceback__"].__get__
_cause_of: Callable[[BaseException], object] = BaseException.__dict__["__cause__"].__get__
_context_of: Callable[[BaseException], object] = BaseException.__dict__["__context__"].__get__
"""Read the attributes of an exception where it stores them: its class may have properties of these names."""


def _most_severe(statuses: set[Status]) -> Status:
    return next(s for s in (Status.ERROR, Status.INTERRUPTED, Status.CANCELLED, Status.ABANDONED) if s in statuses)


def outcome_of(exc: BaseException, status: Status | None = None) -> Outcome:
    """
    Return the outcome of an observation that *exc* ended.

    Args:
        exc: The exception.
        status: The status; by default decided by `status_of`.

    An error has a message, a class and a traceback; a cancellation has a class, and a message if it is not empty.
    """
    status = status or status_of(exc)
    if status is Status.ERROR:
        return Outcome(status, message_of(exc), error_details(exc))
    if status is Status.CANCELLED:
        return Outcome(status, _text_of(exc) or None, {"error_type": short_name(type(exc))})
    return Outcome(status, None, {})


def message_of(exc: BaseException) -> str:
    """Return the text of *exc*; its class name if the text is empty or ``__str__`` fails."""
    return _text_of(exc) or short_name(type(exc))


def _text_of(exc: BaseException) -> str:
    try:
        return str(exc)
    except BaseException as problem:  # the user's __str__ failed; it may also raise SystemExit
        if not was_raised_by_a_value(problem):
            raise
        return ""


def error_details(exc: BaseException) -> dict[str, Any]:
    """Return the metadata of an error: its class, and its traceback without FluxLoop's frames."""
    return {"error_type": short_name(type(exc)), "traceback": _traceback_text(exc)}


def error_state(exc: BaseException) -> dict[str, Any] | None:
    """Return the class, arguments and attributes of *exc*, for an exact replay; None if they are not data."""
    from ..encoding.typed_errors import typed_error  # only with replayable=True, whose recorder has loaded it

    try:
        return typed_error(exc)
    except BaseException as problem:  # an argument that is not data, or code of its class
        if not was_raised_by_a_value(problem):
            raise
        return None


def _traceback_text(exc: BaseException) -> str:
    """Return the traceback of *exc*. If an inner observation formatted it before, add only the new frames."""
    global _formatted
    try:
        depth, key = _position(exc)
        last = _formatted
        if last is not None and last.key == key and last.depth <= depth:
            text, at = last.text, last.frames_at
            if depth <= MAX_FRAMES:
                text = text[:at] + _frames_text(exc, depth - last.depth) + text[at:]
            elif not text.endswith(_TRUNCATED):
                text += _TRUNCATED
        else:
            text = _format(exc)
        header_at = text.rfind(_HEADER)
        if header_at >= 0 and not issubclass(type(exc), BaseExceptionGroup):
            _formatted = _Formatted(key, min(depth, MAX_FRAMES), header_at + len(_HEADER), text)
        return text
    except BaseException as problem:  # attributes of the user's exception can raise
        if not was_raised_by_a_value(problem):
            raise
        return short_name(type(exc))


class _Formatted(NamedTuple):
    """The last formatted traceback. An error ends several nested observations, each with a few more frames."""

    key: tuple[object, ...]
    depth: int
    frames_at: int
    text: str


_formatted: _Formatted | None = None
_TRUNCATED = f"(traceback truncated to {MAX_FRAMES} frames)\n"
_HEADER = "Traceback (most recent call last):\n"


def _position(exc: BaseException) -> tuple[int, tuple[object, ...]]:
    """Return the length of the traceback, and a key of the exception that does not reference it."""
    depth, last = 0, None
    traceback = _traceback_of(exc)
    while traceback is not None:
        depth, last, traceback = depth + 1, traceback, traceback.tb_next
    place = (id(last.tb_frame.f_code), last.tb_lasti) if last is not None else ()
    return depth, (id(exc), type(exc), _text_of(exc), place, id(_cause_of(exc)), id(_context_of(exc)))


def _frames_text(exc: BaseException, count: int) -> str:
    """Return the outermost *count* frames of the traceback as text, without FluxLoop's frames."""
    frames = extract_tb(_traceback_of(exc), limit=count) if count else []
    return "".join(format_list(_without_own_frames(frames)))


def _without_own_frames(frames: list[FrameSummary]) -> list[FrameSummary]:
    """
    Return *frames* without FluxLoop's frames and without column numbers.

    With column numbers, Python underlines expressions. To do so it parses source code and suppresses every exception
    meanwhile, including one raised by a signal handler.
    """
    return [
        FrameSummary(frame.filename, frame.lineno, frame.name, lookup_line=False, line=frame.line)
        for frame in frames
        if not frame.filename.startswith(OUR_FOLDERS)
    ]


def _format(exc: BaseException) -> str:
    summary = TracebackException.from_exception(exc, compact=True, limit=MAX_FRAMES)
    is_truncated = False
    for part in _parts_of(summary):
        is_truncated = is_truncated or len(part.stack) == MAX_FRAMES
        part.stack[:] = _without_own_frames(part.stack)
    text = "".join(summary.format())
    return text + _TRUNCATED if is_truncated else text


def _parts_of(summary: TracebackException) -> Iterator[TracebackException]:
    """Yield *summary* and the summaries of its causes, contexts and group members."""
    pending = [summary]
    while pending:
        part = pending.pop()
        yield part
        pending += [e for e in (part.__cause__, part.__context__, *(part.exceptions or ())) if e]
