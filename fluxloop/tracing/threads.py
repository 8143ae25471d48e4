"""
Continue traces in new threads, and count calls that are not recorded because their thread has no trace.

Python starts a thread with an empty context, and so outside any trace. `ContextThreadPoolExecutor` and `copy_context`
copy the context into one pool or thread; `install_threads` does it for all.
"""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from ..forks import after_fork
from .propagation import ContextThreadPoolExecutor, _current

if TYPE_CHECKING:
    from .tracer import Tracer

_originals: dict[str, Any] = {}
_replaced: dict[str, Any] = {}
_submitting = threading.local()
_install_lock = threading.Lock()


def install_threads() -> None:
    """
    Run new threads, and the jobs of thread pools, inside the trace in which they are started or submitted.

    Replaces `threading.Thread.start` and `concurrent.futures.ThreadPoolExecutor.submit`, and nothing else, until
    `uninstall_threads`. Threads and jobs that are started outside a trace run as before. The others get a copy of the
    whole context, as from `asyncio.to_thread`, with the context variables of the program and of other libraries.
    """
    with _install_lock:
        if not _originals:
            _originals.update(start=threading.Thread.start, submit=ThreadPoolExecutor.submit)
            _replaced.update(
                start=_start_wrapper(threading.Thread.start), submit=_submit_wrapper(ThreadPoolExecutor.submit)
            )
            threading.Thread.start = _replaced["start"]  # type: ignore[method-assign]
            ThreadPoolExecutor.submit = _replaced["submit"]  # type: ignore[method-assign]


def uninstall_threads() -> None:
    """Undo `install_threads`. A method that other code has replaced since is not restored, but has no effect."""
    with _install_lock:
        if _originals:
            if threading.Thread.start is _replaced["start"]:
                threading.Thread.start = _originals["start"]  # type: ignore[method-assign]
            if ThreadPoolExecutor.submit is _replaced["submit"]:
                ThreadPoolExecutor.submit = _originals["submit"]  # type: ignore[method-assign]
            _originals.clear()


def _start_wrapper(original: Any) -> Any:
    @wraps(original)
    def start(self: threading.Thread) -> None:
        # The worker of a pool outlives the trace of its first job; each job has its own context.
        if _originals and _current.get() is not None and not getattr(_submitting, "is_submitting", False):
            self.run = partial(contextvars.copy_context().run, self.run)  # type: ignore[method-assign]
        original(self)

    return start


def _submit_wrapper(original: Any) -> Any:
    @wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if _originals and _current.get() is not None and not isinstance(self, ContextThreadPoolExecutor):
            args, fn = (fn, *args), contextvars.copy_context().run
        before = getattr(_submitting, "is_submitting", False)
        _submitting.is_submitting = True
        try:
            return original(self, fn, *args, **kwargs)  # type: ignore[no-any-return]
        finally:
            _submitting.is_submitting = before

    return submit


main_thread = threading.main_thread().ident
"""The id of the main thread, whose calls outside a trace are not counted."""


def report_untraced(tracer: Tracer, name: str) -> None:
    """Count a call outside a trace in another thread than the main one, if a trace is open in the process."""
    if tracer.has_open_observations():
        tracer.count_untraced(
            name,
            f"{name!r} ran in a thread without a trace while a trace was open, and was not recorded. "
            "If the thread belongs to the trace, use ContextThreadPoolExecutor, copy_context or install_threads.",
        )


def _forked() -> None:
    global main_thread
    main_thread = threading.get_ident()


after_fork(_forked)
