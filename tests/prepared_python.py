"""
Run modules in copies of one Python process that has loaded their imports: each starts in milliseconds.

A copy has its own arguments, environment, working directory, streams and exit code, as after ``python -m module``.
Other variables than ``PYTHONIOENCODING`` that Python reads when it starts are those of the first process, so tests of
these, and of what is loaded when, start Python themselves.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, NamedTuple

import offline


class Done(NamedTuple):
    """The exit code and the output of a run."""

    code: int
    out: str
    err: str


class Started:
    """A run that was started: wait for its end, once."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server
        self.pid = self._answer()

    def wait(self, timeout: float) -> int:
        """Return the exit code, or the number of the signal, negative; kill it after *timeout* seconds."""
        assert self._server.stdout
        is_late = not select.select([self._server.stdout], [], [], timeout)[0]
        if is_late:
            os.kill(self.pid, signal.SIGKILL)
        code = self._answer()
        if is_late:
            raise TimeoutError(f"the run was killed after {timeout} s")
        return code

    def _answer(self) -> int:
        assert self._server.stdout
        line = self._server.stdout.readline()
        assert line, "the prepared process has ended"
        return int(line)


class PreparedPython:
    """A process that has imported *modules*, and runs others on request, one at a time."""

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._server: subprocess.Popen[bytes] | None = None

    @classmethod
    def end_all(cls) -> None:
        """End the processes, so that each has written its coverage."""
        for server in cls.started:
            server.communicate()
        cls.started.clear()

    def start(
        self, module: str, *arguments: object, environment: Mapping[str, str], files: Sequence[str], folder: Path
    ) -> Started:
        """Run *module* in *folder*; *files* are the paths of its standard input, output and error output."""
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__, *self._modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=offline.environment(is_measured=True),
                cwd=Path(__file__).parent,
            )
            self.started.append(self._server)
        request = {
            "module": module,
            "arguments": [*map(str, arguments)],
            "environment": dict(environment),
            "files": files,
            "folder": str(folder),
        }
        assert self._server.stdin
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        return Started(self._server)

    def run(
        self,
        module: str,
        *arguments: object,
        environment: Mapping[str, str],
        folder: Path | None = None,
        timeout: float = 120,
    ) -> Done:
        """Run *module* to its end, and return its exit code and output."""
        with TemporaryDirectory() as outputs:
            files = (os.devnull, f"{outputs}/out", f"{outputs}/err")
            started = self.start(module, *arguments, environment=environment, files=files, folder=folder or Path.cwd())
            code = started.wait(timeout)
            return Done(code, *(Path(file).read_text("utf-8", "surrogateescape") for file in files[1:]))


WITH_FRAMEWORKS = PreparedPython(
    *("agents", "chatkit.server", "langchain.agents", "langgraph.graph", "openai", "anthropic", "google.genai.types"),
    *("fluxloop.client", "fluxloop.reading.lazy", "fluxloop.replay.cassette_files", "fluxloop.testing"),
)
"""Has loaded the frameworks, for programs that each use some."""


def serve(modules: Sequence[str]) -> dict[str, Any]:
    """Import *modules* and answer requests until there are no more; return a request in the copy that is to run it."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    for module in modules:
        with contextlib.suppress(ModuleNotFoundError):  # a framework that is not installed
            importlib.import_module(module)
    gc.freeze()  # a copy shares this memory as long as its collections do not write to it
    for line in requests:
        request: dict[str, Any] = json.loads(line)
        modes = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
        files = [os.open(file, mode | os.O_NOCTTY) for file, mode in zip(request["files"], modes, strict=True)]
        pid = os.fork()
        if pid == 0:
            requests.close()
            answers.close()
            become(request, files)
            return request
        for file in files:
            os.close(file)
        answers.write(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        answers.write(b"%d\n" % os.waitstatus_to_exitcode(status))
    sys.exit()


def become(request: Mapping[str, Any], files: Sequence[int]) -> None:
    """Make this process the one that is requested: session, folder, environment, arguments and *files*."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    sys.argv = [request["module"], *request["arguments"]]
    encoding = request["environment"].get("PYTHONIOENCODING", "utf-8")
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding=encoding, closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, encoding, "backslashreplace", closefd=False)


if __name__ == "__main__":
    requested = serve(sys.argv[1:])
    runpy.run_module(requested["module"], run_name="__main__", alter_sys=True)
