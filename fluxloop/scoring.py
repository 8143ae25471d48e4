"""
Record scores of traces: the feedback of users, the results of checks.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from numbers import Real
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .report import warn_user
from .storage.contract import Record

if TYPE_CHECKING:
    from .tracing.recorder import Recorder


class _Marks:
    """Counts what was masked and truncated in a score."""

    redacted = truncated = 0


def record_score(recorder: Recorder, trace_id: object, name: object, value: object, comment: object) -> None:
    """Record a score with *recorder*; warn, and record nothing, if an argument is not valid."""
    of_trace = _id_in(trace_id)
    number = _value_of(value)
    if of_trace is None:
        warn_user(f"score() needs the id of a trace as text or UUID, or the trace, got {trace_id!r:.100}")
    elif not isinstance(name, str) or not name.strip():
        warn_user(f"score() needs a name as text, got {name!r:.100}")
    elif number is None:
        warn_user(f"the value of score {name!r:.100} must be a finite number, a flag or text, got {value!r:.100}")
    elif comment is not None and not isinstance(comment, str):
        warn_user(f"the comment of score {name!r:.100} must be text, got {comment!r:.100}")
    else:
        now = datetime.fromtimestamp(recorder.now() / 1e9, UTC)
        recorder.write_score(Record("score", f"{now:%Y%m%d}", _line(recorder, of_trace, name, number, comment, now)))


def _line(
    recorder: Recorder, trace_id: str, name: str, value: float | str, comment: str | None, now: datetime
) -> bytes:
    marks = _Marks()
    fields: dict[str, Any] = {
        "id": recorder.new_id(),
        "trace_id": recorder.id_of(trace_id),
        "record": "score",
        "name": name,
        "value": value,
        "comment": comment,
        "time": f"{now:%Y-%m-%dT%H:%M:%S.%f}Z",
    }
    members = [
        b'"%b":%b' % (key.encode(), recorder.encode(field, marks)) for key, field in fields.items() if field is not None
    ]
    for count in ("redacted", "truncated"):
        if number := getattr(marks, count):
            recorder.counts.add(count, number)
            members.append(b'"%b":%d' % (count.encode(), number))
    return b"{%b}\n" % b",".join(members)


def _id_in(given: object) -> str | None:
    """Return the id of a trace that was given as such, or as the trace; None if there is none."""
    found = getattr(given, "trace_id", given)
    return str(found) if isinstance(found, str | UUID) and str(found).strip() else None


def _value_of(given: object) -> float | str | None:
    """Return a value as plain data; None if it is not valid. Numbers of other libraries become a float."""
    if isinstance(given, bool | str | int):
        return given
    try:
        number = float(given) if isinstance(given, Real) or hasattr(given, "__float__") else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
