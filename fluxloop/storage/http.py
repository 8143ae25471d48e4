"""
Send records to a collector, without ever making the program wait for it.

A record is written to a file, the spool, before `HTTPStorage.write` returns, with the code of `FileStorage`. A thread
sends what is in the spool and removes it. What could not be sent when the process ends, even by ``kill -9``, is sent by
the next process that uses the same spool, or by ``fluxloop upload``.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

from ..errors import ConfigError, WriteError
from ..forks import after_fork, at_the_end_of_a_worker
from ..report import Delivery
from .address import checked_key, checked_url, folder_name, is_exposed
from .clock import seconds
from .contract import Record
from .event_loops import unguarded
from .journal import Journal
from .segment import remove_sent
from .sender import Sender
from .spool import REFUSED, SPOOL, Spool
from .uploader import Uploader
from .wire import Link

MIN_STALL_S = 0.1
"""The shortest wait of `flush` without a timeout, where the exit must not be delayed at all."""

MAX_MEMORY_BYTES = 16_000_000
"""The limit of records in memory while the spool cannot be written to."""


class HTTPStorage:
    """
    Sends records to a collector, in batches, from a thread.

    Args:
        collector_url: The URL of the collector.
        api_key: The key for it. It appears in no message and in no record.
        spool: The folder for records that wait to be sent, by default one for this collector in ``./traces/.spool``.
            Several processes may share it.
        protocol: ``upstream`` for a collector of FluxLoop 0.1, which receives each record in a request of its own.
        use_collector: False to send nothing: the records stay in the spool.
        auto_flush: False to send on `flush` and at exit only.
        flush_interval: The longest wait before a record is sent, in seconds.
        buffer_size: The number of records that are sent without that wait.
        timeout: The longest wait for the collector to connect or answer, in seconds.
        shutdown_timeout: The longest delay of the exit in seconds, if there is something to send.
        service_name: Sent as the header ``X-Service-Name``.
        environment: Sent as the header ``X-Environment``.
        journal: Whether to keep a journal of open observations in the spool, so that those of a killed process are sent
            as ``crashed`` by the next one. Not with ``upstream``, whose collectors would take it for the real end.

    Raises:
        ConfigError: If the URL or the key is not valid.
    """

    def __init__(
        self,
        collector_url: str = "http://localhost:8000",
        *,
        api_key: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        protocol: Literal["fluxloop", "upstream"] = "fluxloop",
        use_collector: bool = True,
        auto_flush: bool = True,
        flush_interval: float = 1.0,
        buffer_size: int = 100,
        timeout: float = 10.0,
        shutdown_timeout: float = 2.0,
        service_name: str | None = None,
        environment: str | None = None,
        journal: bool = True,
    ) -> None:
        headers = {"X-Service-Name": service_name, "X-Environment": environment}
        self._link = Link(
            _checked("collector_url", checked_url, collector_url),
            None if api_key is None else _checked("api_key", checked_key, api_key),
            timeout,
            protocol,
            {name: _header(value) for name, value in headers.items() if value},
        )
        self.delivery = Delivery()
        self.shutdown_timeout = shutdown_timeout
        self._sends = use_collector
        self._auto_flush = auto_flush and use_collector
        self._flush_interval = flush_interval
        self._buffer_size = buffer_size
        self._spool = Spool(Path("traces", SPOOL, folder_name(self._link.url)) if spool is None else spool)
        self.journal = Journal(self._spool.base_path) if journal and protocol == "fluxloop" else None
        self._sender = self._new_sender()
        self._is_used = False
        _storages.add(self)

    def __repr__(self) -> str:
        return f"HTTPStorage({self.collector_url!r}, spool={str(self.spool)!r})"

    @property
    def collector_url(self) -> str:
        """The URL of the collector."""
        return self._link.url

    @property
    def api_key(self) -> str | None:
        """The key for the collector, for readers of what was sent there."""
        return self._link.api_key

    @property
    def spool(self) -> Path:
        """The folder for records that wait to be sent."""
        return self._spool.base_path

    def write(self, records: Sequence[Record]) -> None:
        """
        Append *records* to the spool, and let the thread send them.

        Raises:
            WriteError: If some records could neither be written to the spool nor be kept in memory.
        """
        failure: WriteError | None = None
        written = self.delivery.written.increment
        write_line = self._spool.write_line
        for kind, _, line in records:
            try:
                write_line(line, is_last=kind == "trace")
            except WriteError as exc:
                if not self._kept_in_memory(line, exc):
                    if failure is not None:
                        exc.lost += failure.lost
                    failure = exc
                    continue
            written()
        if not self._is_used:
            self._begin()
        sender = self._sender
        if sender.owner is None and self._sends:
            sender.owner = self
        sender.waiting += len(records)
        if sender.waiting >= sender.wake_at:
            sender.wake()
        if failure is not None:
            raise failure

    def flush(self, timeout: float | None = None) -> bool:
        """
        Send all records, and return whether the collector has stored them.

        Args:
            timeout: The limit in seconds. With None, the first attempt that fails ends the wait, or a collector that
                stores nothing for `shutdown_timeout` seconds.
        """
        self._spool.flush()
        if not unguarded(self._sender.has_waiting):
            return True
        return self._sends and self._sender.flush(
            timeout,
            is_patient=timeout is not None,
            stall_s=max(self.shutdown_timeout, MIN_STALL_S) if timeout is None else inf,
        )

    def close(self) -> None:
        """End the thread and close the spool, which keeps what was not sent. A later `write` begins again."""
        self._sender.stop()
        if self.journal is not None:
            unguarded(self.journal.close)
        try:
            if self._is_used:
                own = self._spool.own()
                self._spool.close()
                self._save_memory()
                unguarded(remove_sent, own)
        finally:
            self._is_used = False
            self._sender = self._new_sender()

    def unsent(self) -> Iterator[dict[str, Any]]:
        """Yield the records in the spool: those that wait to be sent, and some that were just sent."""
        return self._spool.read()

    def check(self) -> list[str]:
        """Return a message for each problem with the spool. Changes nothing."""
        problem = self.journal.problem if self.journal is not None else None
        return [*self._spool.check(), *([problem] if problem else [])]

    def _new_sender(self) -> Sender:
        return Sender(
            self._spool,
            Uploader(self._link, self.delivery, self.spool / REFUSED),
            auto_flush=self._auto_flush,
            flush_interval=self._flush_interval,
            buffer_size=self._buffer_size,
        )

    def _begin(self) -> None:
        self._is_used = True
        at_the_end_of_a_worker(_exiting)
        if self._sends and not self._auto_flush:
            self._sender.prepare()
        if self._link.api_key is not None and is_exposed(self._link.url):
            message = f"the key is sent unencrypted to {self._link.url}: use https"
            self.delivery.problems.log_once(message, message)

    def _kept_in_memory(self, line: bytes, exc: WriteError) -> bool:
        """Keep *line*, which could not be written to the spool; return whether there is space for it."""
        memory = self._sender.memory
        if not self._sends or memory.size_bytes + len(line) > MAX_MEMORY_BYTES:
            return False
        message = f"records are kept in memory until they are sent: {exc}"
        self.delivery.problems.log_once("spool", message)
        memory.append(line)
        return True

    def _save_memory(self) -> None:
        """Write records that are still in memory to the spool, if that is possible by now."""
        lines = self._sender.memory.take_all()
        if not lines:
            return
        lost = 0
        for line in lines:
            try:
                self._spool.write_line(line, is_last=True)
            except WriteError:
                lost += 1
        self._spool.close()
        if lost:
            self.delivery.settle(dropped=lost)
            self.delivery.problems.log_once("memory", f"{lost} records could neither be sent nor written to the spool")

    def _exit(self, end: float) -> None:
        """Send what can be sent until *end*, then remove the spool if it is empty."""
        if not self._is_used:
            return
        if self._sends and self._sender.has_waiting():
            is_sent = self._sender.flush(max(0.0, end - seconds()), is_patient=False)
            if not is_sent and not self._sender.has_logged_failure:
                message = (
                    f"the program ended before all records were sent to {self._link.url}: {self.delivery.spooled} "
                    f"wait in {self.spool}. The next program with this spool sends them, or fluxloop upload"
                )
                self.delivery.problems.log_once("exit", message)
        self.close()

    def _forked(self) -> None:
        self._sender.forked()
        self.delivery.forget_waiting()
        self._is_used = False
        self._sender = self._new_sender()

    def __del__(self) -> None:
        with suppress(Exception):  # at interpreter shutdown, or after a failed __init__
            if self._is_used:
                self.close()
            self._sender.stop()


def _checked(name: str, check: Callable[[str], str], value: str) -> str:
    """Return a checked argument of `HTTPStorage`."""
    try:
        return check(value)
    except ValueError as error:
        what = "an http or https URL, such as http://localhost:8000" if name == "collector_url" else "printable ASCII"
        raise ConfigError(f"{name} must be {what}" + "".join(f": {reason}" for reason in error.args)) from None


def _header(value: str) -> str:
    """Return *value* as a header: other characters than printable ASCII are percent-encoded."""
    from urllib.parse import quote

    return quote(value, safe=" !#$&'()*+,/:;=?@[]~")


_storages: WeakSet[HTTPStorage] = WeakSet()


@atexit.register
def _exiting() -> None:
    storages = list(_storages)
    end = seconds() + max((storage.shutdown_timeout for storage in storages), default=0.0)
    for storage in storages:
        try:
            storage._exit(end)
        except KeyboardInterrupt:
            return  # the spool has what was not sent
        except Exception as exc:
            storage.delivery.problems.log_once("exit", f"the last records could not be sent: {exc}")


def _forked() -> None:
    for storage in list(_storages):
        storage._forked()


after_fork(_forked)
