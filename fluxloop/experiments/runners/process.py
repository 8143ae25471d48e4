"""
Run an agent in a process of its own, which reads and writes JSON lines.

It receives ``{"type": "input", "input": ..., "context": {...}}`` on stdin for each turn, and writes to stdout any
number of ``{"type": "delta", "text": ...}``, then ``{"type": "final", "output": ...}`` or
``{"type": "error", "message": ...}``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..agents import Agent
from ..binding import Offer
from ..configuration.models import ProcessRunner
from ..inputs import PlannedRun
from ..stream_text import value_at

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes of one line of output."""

GRACE_S = 2.0
"""Seconds for the process to end by itself when its stdin is closed."""

MAX_ERROR_LINES = 5
"""Lines of stderr that an error message contains."""


class AgentProcessError(RuntimeError):
    """The process ended, reported an error, or wrote something that is not the protocol."""


class ProcessSource:
    """
    Starts a process for each run.

    Args:
        config: The command.
        base: The folder that a relative ``cwd`` starts from.
    """

    def __init__(self, config: ProcessRunner, base: Path) -> None:
        self.command = shlex.split(config.command) if isinstance(config.command, str) else config.command
        self.name = " ".join(self.command)
        self.config = config
        self.folder = (base / config.cwd) if config.cwd else base

    def agent(self, planned: PlannedRun) -> Agent:
        """Return the agent of one run."""
        return _ProcessAgent(self)

    async def close(self) -> None:
        """Do nothing: each run ends its own process."""


class _ProcessAgent:
    def __init__(self, source: ProcessSource) -> None:
        self._source = source
        self._process: asyncio.subprocess.Process | None = None
        self._errors: list[str] = []
        self._reader: asyncio.Task[None] | None = None

    async def answer(self, offer: Offer) -> Any:
        async with asyncio.timeout(self._source.config.timeout):
            process = self._process or await self._start()
            assert process.stdin is not None
            context = {
                "run": offer.run,
                "iteration": offer.iteration,
                "persona": offer.persona.model_dump() if offer.persona else None,
                "session_id": offer.session_id,
                "metadata": dict(offer.metadata),
                "messages": offer.messages,
            }
            line = json.dumps({"type": "input", "input": offer.value, "context": context}, default=str) + "\n"
            with suppress(BrokenPipeError, ConnectionResetError):  # the process has ended, which its output shows
                process.stdin.write(line.encode())
                await process.stdin.drain()
            return await self._read(process)

    async def _start(self) -> asyncio.subprocess.Process:
        source = self._source
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *source.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=source.folder,
                env={**os.environ, **source.config.env},
                limit=LINE_LIMIT,
                start_new_session=True,  # Ctrl-C reaches the experiment, which ends the process
            )
        except OSError as exc:
            raise AgentProcessError(f"cannot start {source.name}: {exc.strerror}") from None
        self._reader = asyncio.create_task(self._read_errors(process), name="fluxloop-stderr")
        if source.config.ready_pattern:
            assert process.stdout is not None
            ready = re.compile(source.config.ready_pattern)
            while not ready.search((line := await self._line(process.stdout)).decode(errors="replace")):
                if not line:
                    raise await self._ended(process)
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> Any:
        """Return the output of one turn. Lines that are not JSON objects are log lines, and skipped."""
        assert process.stdout is not None
        parts: list[str] = []
        while line := await self._line(process.stdout):
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue
            kind = message.get("type") if isinstance(message, dict) else None
            if kind == "delta":
                text = next(
                    (t for path in ("text", "delta", "content") if isinstance(t := value_at(message, path), str)), ""
                )
                parts.append(text)
            elif kind == "final":
                output = message.get("output", message.get("text"))
                return "".join(parts) if output is None else output
            elif kind == "error":
                error = message.get("message") or message.get("error") or "unknown error"
                raise AgentProcessError(str(error))
        raise await self._ended(process)

    async def _line(self, output: asyncio.StreamReader) -> bytes:
        await asyncio.sleep(0)  # reading what has arrived already does not let timeouts and other runs go on
        try:
            return await output.readline()
        except ValueError:
            limit = f"{LINE_LIMIT >> 20} MB"
            raise AgentProcessError(f"{self._source.name} wrote a line that is longer than {limit}") from None

    async def _ended(self, process: asyncio.subprocess.Process) -> AgentProcessError:
        code = await process.wait()
        if self._reader is not None:
            await self._reader
        stderr = " | ".join(self._errors[-MAX_ERROR_LINES:])
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return AgentProcessError(f"{self._source.name} {how} before it answered{f': {stderr}' if stderr else ''}")

    async def _read_errors(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while True:
            await asyncio.sleep(0)
            try:
                line = await process.stderr.readline()
            except ValueError:  # longer than the limit: it is left out
                continue
            if not line:
                return
            self._errors = [*self._errors, line.decode(errors="replace").rstrip()][-MAX_ERROR_LINES:]

    async def close(self) -> None:
        """End the process, and the processes that it started."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        rest = [asyncio.create_task(_drained(each)) for each in (process.stdout, process.stderr) if each is not None]
        try:
            async with asyncio.timeout(GRACE_S):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            _kill(process)
        await process.wait()
        await asyncio.wait(rest)


async def _drained(output: asyncio.StreamReader) -> None:
    """Read *output* to its end: as long as something waits to be read, asyncio does not see that a process ended."""
    with suppress(OSError):
        while await output.read(1 << 16):
            pass


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
