"""
The report of a replay.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What happened in a replay."""

    hits: int
    """Calls that were answered from the recording."""
    live: int
    """Calls that ran for real, as ``live`` asked for."""
    misses: tuple[str, ...]
    """The messages of the calls without an answer."""
    unused: tuple[str, ...]
    """The recorded calls that nothing asked for."""
    masked: tuple[str, ...]
    """The answers with masked secrets, which differ from what the recorded program received."""
    first_divergence: str | None
    """The first miss, or the first recorded call that was not made; None if the run went as recorded."""
    digest: str
    """A hash of all calls and answers; two identical replays have the same."""
    forked_at: str | None = None
    """The step that a fork changed; None without a fork, and until the run reaches it."""

    @property
    def is_same(self) -> bool:
        """Whether every call was answered, and every recorded call was made."""
        return self.first_divergence is None
