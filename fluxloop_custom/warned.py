"""
Warnings of which the first of each kind is enough.
"""

from __future__ import annotations

from fluxloop.bridge import log

_said: set[str] = set()


def warn_once(cause: str, message: str, *args: object) -> None:
    """Log *message* with *args* as a warning of FluxLoop's, unless that was done for the same *cause* before."""
    if cause not in _said:
        _said.add(cause)
        log.warning(message, *args)
