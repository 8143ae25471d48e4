"""
Threads that continue the trace in which they are started: on request, and a report of calls that were lost otherwise.

A new thread starts outside any trace, as Python gives it an empty context. `ContextThreadPoolExecutor` and
`copy_context` carry the trace into one thread or pool; `install_threads` does it for all.
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
    from .calls import Spec

_originals: dict[str, Any] = {}
_replaced: dict[str, Any] = {}
_submitting = threading.local()
_installing = threading.Lock()


def install_threads() -> None:
    """
    Let threads and thread pools continue the trace in which a thread is started or a job is submitted.

    Replaces `threading.Thread.start` and `concurrent.futures.ThreadPoolExecutor.submit`, and nothing else, until
    `uninstall_threads`. Threads and jobs that are started outside a trace run as before.
    """
    with _installing:
        if not _originals:
            _originals.update(start=threading.Thread.start, submit=ThreadPoolExecutor.submit)
            _replaced.update(start=_starting(threading.Thread.start), submit=_carrying(ThreadPoolExecutor.submit))
            threading.Thread.start = _replaced["start"]  # type: ignore[method-assign]
            ThreadPoolExecutor.submit = _replaced["submit"]  # type: ignore[method-assign]


def uninstall_threads() -> None:
    """Undo `install_threads`; a method that other code has replaced since is left as it is, and calls the original."""
    with _installing:
        if _originals:
            if threading.Thread.start is _replaced["start"]:
                threading.Thread.start = _originals["start"]  # type: ignore[method-assign]
            if ThreadPoolExecutor.submit is _replaced["submit"]:
                ThreadPoolExecutor.submit = _originals["submit"]  # type: ignore[method-assign]
            _originals.clear()


def _starting(original: Any) -> Any:
    @wraps(original)
    def start(self: threading.Thread) -> None:
        # A pool's worker outlives the trace of its first job; its jobs bring their own contexts.
        if _originals and _current.get() is not None and not getattr(_submitting, "is_submitting", False):
            self.run = partial(contextvars.copy_context().run, self.run)  # type: ignore[method-assign]
        original(self)

    return start


def _carrying(original: Any) -> Any:
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
"""The thread in which a call outside a trace is not suspicious."""


def report_untraced(spec: Spec) -> None:
    """Count a call in another thread that no trace has, if a trace is open elsewhere in the process."""
    tracer = spec.tracer
    if tracer.has_open_observations():
        tracer.count_untraced(
            f"{spec.name!r} ran in a thread without a trace while a trace was open, and was not recorded. "
            "If the thread belongs to the trace, use ContextThreadPoolExecutor, copy_context or install_threads."
        )


def _forked() -> None:
    global main_thread
    main_thread = threading.get_ident()


after_fork(_forked)
