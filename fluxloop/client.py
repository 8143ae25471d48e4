"""
A set-up of its own: settings, storage, and the decorators that record into it.

The functions of the package belong to one client that is made for you, `default`. Those of a client
you make yourself record into its storage alone, so that two projects in one process stay apart.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from .decorators import Instruments
from .forks import importing
from .report import Report, log
from .storage.contract import SupportsFlush
from .tracing.propagation import needs_lookup
from .tracing.recorder import Recorder

if TYPE_CHECKING:
    from .settings.layers import Configuration
    from .settings.options import SettingOptions
    from .settings.schema import Settings
    from .storage import Storage


class FluxLoopClient(Instruments):
    """
    An isolated set-up, with every decorator and scope of the package as its methods.

    Args:
        settings: As `configure` takes them.

    Raises:
        ConfigError: If a setting is unknown or not acceptable.

    What its decorators record goes into its own traces: inside a trace of another client they see
    none, and open or ignore accordingly. The package's own decorators join whatever trace is open.
    """

    def __init__(self, **settings: Unpack[SettingOptions]) -> None:
        super().__init__()
        if settings:
            self.configure(**settings)

    @cached_property
    def configuration(self) -> Configuration:
        """The settings' layers."""
        with importing():  # not before a setting is read or something is recorded
            from .settings.layers import Configuration

        return Configuration(source="configure()" if self.is_default else f"{type(self).__name__}()")

    def _first_recorder(self) -> Recorder:
        from .storage.event_loops import unguarded

        return unguarded(self._recorder_by_settings)

    def _recorder_by_settings(self) -> Recorder:
        with self._lock, importing():
            return self._recorder or self._use(self.configuration.settings())

    def configure(self, **settings: Unpack[SettingOptions]) -> Settings:
        """
        Change settings, at once and all together or not at all, and return those now in force.

        A trace that is open stays with the storage it began in; ``enabled`` counts for it too.

        Raises:
            ConfigError: If a setting is unknown or not acceptable; nothing is changed then.
        """
        return self._apply(lambda: self.configuration.configure(**settings))

    def get_config(self) -> Settings:
        """Return the settings in force."""
        return self.recorder.settings

    def reset_config(self) -> Settings:
        """Forget everything given to `configure`, read the other layers afresh, and return what is then in force."""

        def read() -> Settings:
            self.configuration.reset()
            return self.configuration.settings()

        return self._apply(read)

    def refresh(self) -> Settings:
        """Read environment and files afresh, keeping what was given to `configure`; return what is in force."""
        return self._apply(lambda: self.configuration.settings())

    def _apply(self, read: Callable[[], Settings]) -> Settings:
        """Record new traces by the settings that *read* returns, and return them."""
        from .storage.event_loops import unguarded

        def apply() -> Settings:
            with self._lock, importing():
                return self._use(read()).settings

        return unguarded(apply)

    def _use(self, settings: Settings) -> Recorder:
        """Record new traces by *settings*."""
        recorder = self.assemble(settings)
        self._put_in_charge(recorder)
        return recorder

    def assemble(self, settings: Settings, **clock: Any) -> Recorder:
        """
        Return a recorder by *settings*; the one place where one is put together.

        Args:
            settings: As the loader made them.
            clock: ``now``, ``tick`` and ``new_id``, where they are not to be the real ones.
        """
        # All that recording needs is imported here: a forked child must not import while it records.
        from .encoding.encoder import Encoder, Limits
        from .redaction import Redactor, Rules
        from .tracing.stream_items import StreamItems

        redactor = None
        if settings.redact:
            rules = Rules(settings.redact_keys, settings.redact_patterns, settings.redact_hook)
            redactor = Redactor(rules, on_trouble=lambda message: self._counts.troubles.say(message, message))
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
    def recording_by(self, recorder: Recorder) -> Iterator[None]:
        """Record new traces by *recorder* for a block, and afterwards as before."""
        before = self.recorder
        self._put_in_charge(recorder)
        try:
            yield
        finally:
            self._put_in_charge(before)

    def _put_in_charge(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.switch.on = recorder.settings.enabled
        (needs_lookup.add if recorder.debug else needs_lookup.discard)(self)
        _show_debug_lines(recorder.debug)

    def _storage_for(self, settings: Settings) -> Storage:
        """Return the storage *settings* ask for: the one in use where they still ask for the same."""
        before = self._recorder
        if before is not None:
            was = before.settings
            if (was.storage, was.base_path, was.journal) == (settings.storage, settings.base_path, settings.journal):
                return before.storage
        from .storage import open_storage

        return open_storage(settings.storage, settings)

    def report(self) -> Report:
        """Return what became of the records so far: counts, and what went wrong in words."""
        return self._counts.report()

    def flush(self, timeout: float | None = None) -> bool:
        """
        Wait until everything recorded so far has left the process; True if it has.

        Files are written through, so that there is nothing to wait for. A storage that buffers (`SupportsFlush`)
        is given *timeout* seconds.
        """
        storage = self.recorder.storage
        return storage.flush(timeout) if isinstance(storage, SupportsFlush) else True

    def shutdown(self, timeout: float | None = None) -> bool:
        """Flush, and close files and connections; what is recorded later opens them again."""
        if self._recorder is None:
            return True
        flushed = self.flush(timeout)
        self._recorder.storage.close()
        return flushed

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: what is copied with all that it holds goes on recording here."""
        return self

    def close(self) -> None:
        """As `shutdown`, without waiting longer than the storage does by itself."""
        self.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


_handler: logging.Handler | None = None
"""FluxLoop's handler on its own logger, while debug lines are wanted and no other handler shows them."""


def _show_debug_lines(wanted: bool) -> None:
    global _handler
    if wanted:
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


class _DefaultClient(FluxLoopClient):
    """The one behind the functions of the package; its decorators join whatever trace is open."""

    is_default = True

    def __reduce__(self) -> str:
        """Copied or pickled, it is the one of the process it comes to; this is the name it has there."""
        return "default"


default = _DefaultClient()
"""What ``fluxloop.configure``, ``fluxloop.agent`` and their siblings belong to."""
