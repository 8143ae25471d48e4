"""
Attach a handler to every run of the process, by langchain-core's own configure hook.

The hook wants a context variable. A real one would be empty in threads and contexts that were there before, so it
is given something that answers the same everywhere. Hooks cannot be taken back: ours stays, and answers None.
"""

from __future__ import annotations

from typing import Any

from langchain_core.tracers.context import register_configure_hook

from .handler import FluxLoopCallbackHandler


class _Everywhere:
    """Stands in for the context variable; None means that nothing is attached."""

    is_registered = False
    handler: FluxLoopCallbackHandler | None = None

    def get(self) -> FluxLoopCallbackHandler | None:
        """Return the handler each run is to have."""
        handler = self.handler
        return handler if handler is not None and handler.is_wanted else None


_everywhere = _Everywhere()


def install(handler: FluxLoopCallbackHandler | None = None, **options: Any) -> FluxLoopCallbackHandler:
    """
    Record every LangChain run of this process, without touching the code that starts them.

    Opens a trace where none is open. A run that was given a handler of ours, or inherited one, gets no second.
    Installing again puts the new handler in the place of the old one.

    Args:
        handler: The handler to attach; by default one made with *options*.
        options: As `FluxLoopCallbackHandler` takes them.

    Returns:
        The handler in force.
    """
    handler = handler or FluxLoopCallbackHandler(**options)
    _everywhere.handler = handler
    if not _everywhere.is_registered:
        _everywhere.is_registered = True
        # With the class, langchain-core looks whether one of ours is there already.
        register_configure_hook(_everywhere, inheritable=True, handle_class=FluxLoopCallbackHandler)  # type: ignore[arg-type]
    return handler


def uninstall() -> None:
    """Attach nothing to runs that begin from now on; those that are open are recorded to their end."""
    _everywhere.handler = None
