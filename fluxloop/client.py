"""
The client: settings, a storage, and the decorators that record into it.

The functions of the ``fluxloop`` package are methods of the client `default`. Create more clients to record parts of
one process separately, each with its own settings and storage.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from .decorators import Instruments
from .forks import importing
from .report import Delivery, Report, log
from .storage.contract import SupportsFlush, deliveries_of
from .tracing.propagation import add_lookup, remove_lookup
from .tracing.recorder import Recorder

if TYPE_CHECKING:
    from uuid import UUID

    from .models import TraceData
    from .settings.layers import Configuration
    from .settings.options import SettingOptions
    from .settings.schema import Settings
    from .storage import Storage


class FluxLoopClient(Instruments):
    """
    An independent configuration of FluxLoop. Its methods are the decorators and scopes of the package.

    Args:
        settings: The same as for `configure`.

    Raises:
        ConfigError: If a setting is unknown or its value is invalid.

    A client records only into its own traces: inside a trace of another client it acts as if no trace were open. The
    decorators of the package join the open trace of any client.
    """

    def __init__(self, **settings: Unpack[SettingOptions]) -> None:
        super().__init__()
        self._deliveries: dict[Delivery, None] = {}
        """The counts of all storages so far that send records, in order."""
        self._overrides: list[_Override] = []
        """The open blocks of `using_recorder`, in the order in which they were entered."""
        if settings:
            self.configure(**settings)

    @cached_property
    def configuration(self) -> Configuration:
        """The settings and the layers that they come from."""
        with importing():  # deferred, so that `import fluxloop` stays fast
            from .settings.layers import Configuration

        return Configuration(source="configure()" if self.is_default else f"{type(self).__name__}()")

    def _first_recorder(self) -> Recorder:
        from .storage.event_loops import unguarded

        return unguarded(self._make_first_recorder)

    def _make_first_recorder(self) -> Recorder:
        with self._lock, importing():
            return self._recorder or self._use(self.configuration.settings())

    def configure(self, **settings: Unpack[SettingOptions]) -> Settings:
        """
        Change settings, with immediate effect, and return all settings.

        Open traces keep the storage they started with; ``enabled`` applies to them too.

        Raises:
            ConfigError: If a setting is unknown or its value is invalid. No setting is changed in that case.
        """
        return self._apply(lambda: self.configuration.configure(**settings))

    def get_config(self) -> Settings:
        """Return the current settings."""
        return self.recorder.settings

    def reset_config(self) -> Settings:
        """Discard all values given to `configure`, read the other layers again, and return the new settings."""

        def read() -> Settings:
            self.configuration.reset()
            return self.configuration.settings()

        return self._apply(read)

    def refresh(self) -> Settings:
        """Read the environment and the files again, keep the values given to `configure`, and return the settings."""
        return self._apply(lambda: self.configuration.settings())

    def _apply(self, read: Callable[[], Settings]) -> Settings:
        """Use the settings that *read* returns for new traces, and return them."""
        from .storage.event_loops import unguarded

        def apply() -> Settings:
            with self._lock, importing():
                return self._use(read()).settings

        return unguarded(apply)

    def _use(self, settings: Settings) -> Recorder:
        """Use *settings* for new traces."""
        recorder = self.make_recorder(settings)
        self._activate(recorder)
        return recorder

    def make_recorder(self, settings: Settings, **clock: Any) -> Recorder:
        """
        Return a recorder for *settings*.

        Args:
            settings: The settings, checked by the loader.
            clock: Replacements for ``now``, ``tick`` and ``new_id`` of `Recorder`, for tests.
        """
        # Every module that recording needs is imported here: a forked child must not import while it records.
        from .encoding.encoder import Encoder, Limits
        from .redaction import Redactor, Rules
        from .tracing.stream_items import StreamItems

        if settings.replayable:
            from .tracing.whole import keeping_whole

            settings = keeping_whole(settings)
        redactor = None
        if settings.redact:
            rules = Rules(settings.redact_keys, settings.redact_patterns, settings.redact_hook)
            redactor = Redactor(rules, on_problem=lambda message: self._counts.problems.log_once(message, message))
        limits = Limits(settings.max_leaf_bytes, settings.max_value_bytes, settings.max_depth)
        return Recorder(
            settings,
            self._storage_for(settings),
            Encoder(limits, redactor),
            redactor,
            counts=self._counts,
            switch=self.switch,
            stream_items=StreamItems,
            **clock,
        )

    @contextmanager
    def using_recorder(self, recorder: Recorder) -> Iterator[None]:
        """
        Record new traces with *recorder* inside a block, then restore the previous recorder.

        Blocks of several threads or tasks may end in any order: the last one that is open has effect.
        """
        block = _Override(self.recorder)
        try:
            with self._lock:
                self._overrides.append(block)
                self._activate(recorder)
            yield
        finally:
            with self._lock:
                self._end_override(block)

    def _end_override(self, block: _Override) -> None:
        if block not in self._overrides:  # a signal handler raised before it had effect
            return
        index = self._overrides.index(block)
        later = self._overrides[index + 1 :]
        self._overrides.remove(block)
        if later:  # a block that was entered later is still open, and restores the recorder of this one
            later[0].before = block.before
        else:
            self._activate(block.before)

    def _activate(self, recorder: Recorder) -> None:
        settings = recorder.settings
        if settings.record_args or (self._recorder is not None and self._recorder.settings.record_args):
            from .recording.recorder import use

            use(self, settings)
        if settings.replayable or (self._recorder is not None and self._recorder.settings.replayable):
            from .tracing.whole import keep_answers_of

            keep_answers_of(self, settings.replayable)
        self._deliveries.update(dict.fromkeys(deliveries_of(recorder.storage)))
        self._recorder = recorder
        self.switch.on = recorder.settings.enabled
        (add_lookup if recorder.debug else remove_lookup)(self)
        _show_debug_lines(recorder.debug)

    def _storage_for(self, settings: Settings) -> Storage:
        """Return the storage for *settings*: the current one if the settings of the storage are unchanged."""
        current = self._recorder
        if current is not None:
            old = current.settings
            sends = settings.storage == "http" or (isinstance(settings.storage, tuple) and "http" in settings.storage)
            names = (*_STORAGE_SETTINGS, *_HTTP_SETTINGS) if sends else _STORAGE_SETTINGS
            if all(getattr(old, name) == getattr(settings, name) for name in names):
                return current.storage
        from .storage import open_storage

        return open_storage(settings.storage, settings)

    def report(self) -> Report:
        """Return the counts of written, sent, lost, truncated and redacted data, and the problems so far."""
        report = self._counts.report()
        if not self._deliveries:
            return report
        return replace(
            report,
            sent=sum(delivery.sent for delivery in self._deliveries),
            retried=sum(delivery.retried for delivery in self._deliveries),
            spooled=sum(delivery.spooled for delivery in self._deliveries),
            dropped=report.dropped + sum(delivery.dropped for delivery in self._deliveries),
            problems=(*report.problems, *(text for delivery in self._deliveries for text in delivery.problems.own())),
        )

    def score(
        self, trace_id: str | UUID | TraceData, name: str, value: float | str | bool, comment: str | None = None
    ) -> None:
        """
        Record a score of a trace, such as the feedback of a user.

        The trace may have ended days ago, in another process.

        Args:
            trace_id: The id of the trace, or the trace.
            name: What is scored, as in ``"helpful"``.
            value: A number, a flag or a text.
            comment: The reason, in words.
        """
        if not self.recorder.settings.enabled:
            return
        from .scoring import record_score

        record_score(self.recorder, trace_id, name, value, comment)

    def flush(self, timeout: float | None = None) -> bool:
        """
        Wait until the storage has stored all records; return whether it has.

        Only a storage that buffers records (`SupportsFlush`) waits, for *timeout* seconds at most. File storage does
        not buffer.
        """
        storage = self.recorder.storage
        return storage.flush(timeout) if isinstance(storage, SupportsFlush) else True

    def shutdown(self, timeout: float | None = None) -> bool:
        """Flush, then close files and connections. Later records open them again."""
        if self._recorder is None:
            return True
        flushed = self.flush(timeout)
        self._recorder.storage.close()
        return flushed

    def __deepcopy__(self, memo: object) -> Self:
        """Return the client itself, so that a deep copy of an object that holds it records into the same storage."""
        return self

    def close(self) -> None:
        """Call `shutdown` without a timeout."""
        self.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, cls: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


_STORAGE_SETTINGS = ("storage", "base_path", "journal", "compact_histories")
"""The settings that a storage opened by name is made from; without a change of these, it stays the same object."""

_HTTP_SETTINGS = (
    "collector_url",
    "api_key",
    "collector_protocol",
    "use_collector",
    "auto_flush",
    "flush_interval",
    "buffer_size",
    "timeout",
    "shutdown_timeout",
    "service_name",
    "environment",
)
"""The same, for HTTP storage."""

_handler: logging.Handler | None = None
"""The handler that `debug=True` adds to the logger of FluxLoop if no other handler would print the lines."""


def _show_debug_lines(enabled: bool) -> None:
    global _handler
    if enabled:
        log.setLevel(logging.DEBUG)
        if not log.hasHandlers():
            _handler = logging.StreamHandler(sys.stderr)
            _handler.setFormatter(logging.Formatter("fluxloop: %(message)s"))
            log.addHandler(_handler)
    elif _handler is not None or log.level == logging.DEBUG:
        log.setLevel(logging.NOTSET)
        if _handler is not None:
            log.removeHandler(_handler)
            _handler = None


class _Override:
    """A block that records with another recorder, and the recorder to restore at its end."""

    def __init__(self, before: Recorder) -> None:
        self.before = before


class _DefaultClient(FluxLoopClient):
    """The client of the functions of the package. Its decorators join the open trace of any client."""

    is_default = True

    def __reduce__(self) -> str:
        """Pickle a reference to `default`: unpickling returns the default client of the process that unpickles it."""
        return "default"


default = _DefaultClient()
"""The client whose methods are ``fluxloop.configure``, ``fluxloop.agent`` and the other functions of the package."""
