"""
Attach a handler to every run of the process.

langchain-core attaches the value of a context variable, which would be empty in existing threads and contexts; an
object with the same value everywhere replaces it. It cannot be removed again: after `uninstall`, its value is None.
"""

from __future__ import annotations

from typing import Any

from .handler import FluxLoopCallbackHandler
from .internals import attach_everywhere


class _Everywhere:
    """A substitute for a context variable with the same value in all contexts; None attaches nothing."""

    is_registered = False
    handler: FluxLoopCallbackHandler | None = None

    def get(self) -> FluxLoopCallbackHandler | None:
        """Return the handler to attach to a run."""
        handler = self.handler
        return handler if handler is not None and handler.client.switch.on else None


_everywhere = _Everywhere()


def install(handler: FluxLoopCallbackHandler | None = None, **options: Any) -> FluxLoopCallbackHandler:
    """
    Record every LangChain run of this process, without changes to the code that starts them.

    A run opens a trace if none is open. A run that has a FluxLoop handler, or inherits one, gets no second one.
    Installing again replaces the handler.

    Args:
        handler: The handler to attach; by default one made with *options*.
        options: The options of `FluxLoopCallbackHandler`.

    Returns:
        The attached handler.
    """
    _everywhere.handler = handler = handler or FluxLoopCallbackHandler(**options)
    if not _everywhere.is_registered:
        _everywhere.is_registered = True
        attach_everywhere(_everywhere, FluxLoopCallbackHandler)
    return handler


def uninstall() -> None:
    """Attach no handler to runs that start from now on; open runs are recorded to their end."""
    _everywhere.handler = None


def is_installed() -> bool:
    """Whether a handler is attached to every run."""
    return _everywhere.handler is not None
