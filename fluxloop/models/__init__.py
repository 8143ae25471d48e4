"""
Records as Python objects: `ObservationData`, `TraceData`, `Usage`, `Score`, and the tree `Trace`.

Users create `ObservationData` for manual instrumentation, and `fluxloop.read_traces` returns `Trace` objects. The
recording path writes the same fields without creating these objects.
"""

from __future__ import annotations

from ..enums import SCHEMA_VERSION, ObservationLevel, ObservationType, Status
from .observation import ObservationData
from .trace import Score, Trace, TraceData
from .values import Usage

__all__ = [
    "SCHEMA_VERSION",
    "ObservationData",
    "ObservationLevel",
    "ObservationType",
    "Score",
    "Status",
    "Trace",
    "TraceData",
    "Usage",
]
