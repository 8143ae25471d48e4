"""
Points in time, recorded as EVENT.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .kinds import ObservationLevel, ObservationType
from .lines import label_of
from .observations import OpenObservation
from .recorder import NOTHING

label_known = lru_cache(maxsize=1_000)(label_of)
"""`label_of`, for names of which a program has few."""


def happened(
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
        event.happened(output if recorder.captures_output else NOTHING)
    except Exception as exc:
        recorder.broke("noting an event", exc)
