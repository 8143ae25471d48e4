"""
Counters of a collector, in the text format of Prometheus.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "fluxloop_requests_total": ("counter", "Requests by route, method and status."),
    "fluxloop_request_seconds_total": ("counter", "Time spent on requests by route."),
    "fluxloop_records_total": ("counter", "Records by result: accepted, duplicate or rejected."),
    "fluxloop_received_bytes_total": ("counter", "Bytes of record lines received, decompressed."),
    "fluxloop_waiting_bytes": ("gauge", "Bytes of bodies that are being received or written."),
    "fluxloop_store_traces": ("gauge", "Traces in the store."),
    "fluxloop_store_observations": ("gauge", "Observations in the store."),
    "fluxloop_store_bytes": ("gauge", "Size of the store, about."),
    "fluxloop_store_unindexed": ("gauge", "Observations that are not in the index of texts yet, about."),
    "fluxloop_store_up": ("gauge", "Whether the store answers."),
}


class Metrics:
    """The counters."""

    def __init__(self) -> None:
        self._counters: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add *amount* to a counter."""
        self._counters[name, tuple(labels.items())] += amount

    def text(self, gauges: Mapping[str, float]) -> str:
        """Return all counters, and *gauges*, as text."""
        samples: dict[str, list[str]] = {}
        for (name, labels), value in sorted(self._counters.items()):
            shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
            samples.setdefault(name, []).append(f"{name}{{{shown}}} {value:.17g}" if shown else f"{name} {value:.17g}")
        for name, value in gauges.items():
            samples.setdefault(name, []).append(f"{name} {value:.17g}")
        lines = []
        for name, of_name in samples.items():
            kind, meaning = _HELP[name]
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *of_name]
        return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
