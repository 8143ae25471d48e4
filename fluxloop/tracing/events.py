"""
Events: observations of a point in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..enums import ObservationLevel, ObservationType
from ..interruptions import was_raised_from_outside
from .node import Node
from .observation import OpenObservation, label_known
from .recorder import NOTHING


def record_event(
    parent: Node,
    name: str,
    *,
    input: object = NOTHING,
    output: object = NOTHING,
    metadata: Mapping[str, Any] | None = None,
    level: ObservationLevel | str = ObservationLevel.INFO,
) -> None:
    """Record a point in time as EVENT, as a child of *parent*, if that is recorded. Never raises."""
    recorder = parent.trace.recorder
    if not parent.trace.is_recording:
        return
    try:
        label = label_known(ObservationType.EVENT, name if type(name) is str else str(name))
        event = OpenObservation()
        event.start(parent.trace, parent, label, input if recorder.captures_input else NOTHING)
        event.level = ObservationLevel(level).name
        if metadata:
            event.metadata = dict(metadata)
        event.end_at_start(output if recorder.captures_output else NOTHING)
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
        recorder.record_failure("recording an event", exc)
