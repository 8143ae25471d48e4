"""
``fluxloop trace``: a program runs as under ``python``, and is recorded.

Each test runs the same program with both, and compares.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import offline
import pytest

import fluxloop
from fluxloop import Status
from fluxloop.models import Trace
from fluxloop_custom.installing import ADAPTERS

SHOW = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv[1:], "argv0": os.path.basename(sys.argv[0]), "path0": sys.path[0], "name": __name__,
    "file": __file__, "package": __package__, "spec": getattr(__spec__, "name", None),
    "main": sys.modules["__main__"].__dict__ is globals(), "annotations": "__annotations__" in globals(),
}))
x: int = 1
"""


class Done(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def ran(*command: object, **environment: str) -> Done:
    """Run ``python`` with *command* to its end."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=60,
        env=offline.environment(is_measured=True, **environment),
    )
    return Done(done.returncode, done.stdout, done.stderr)


def traced(*arguments: object, **environment: str) -> Done:
    """Run ``fluxloop trace`` with *arguments*, without frameworks, whose imports take most of the time."""
    hidden = " ".join(adapter.framework for adapter in ADAPTERS.values())
    return ran("-m", "fluxloop", "trace", *arguments, **{offline.HIDDEN: hidden}, **environment)


def script(source: str, name: str = "program.py") -> Path:
    """Write *source* to a file in the working directory."""
    path = Path(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(textwrap.dedent(source))
    return path


def recorded() -> Trace:
    """Return the only trace."""
    [trace] = fluxloop.read_traces("traces")
    return trace


def test_a_script_is_the_root_of_one_trace():
    """
    What it calls is inside, its arguments are the input; one line on stderr says how to view the trace.
    """
    path = script(
        """
        import fluxloop, sys

        @fluxloop.tool
        def search(query):
            return [query]

        print(search(sys.argv[1]))
        """
    )

    done = traced(path, "Rome")

    trace = recorded()
    root, tool = trace.observations
    assert (done.code, done.out) == (0, "['Rome']\n")
    assert (root.type.name, root.name, root.status, root.input) == (
        "AGENT",
        "program",
        Status.SUCCESS,
        {"arguments": ["Rome"]},
    )
    assert (tool.name, tool.parent_id, tool.output) == ("search", root.id, ["Rome"])
    folder = Path("traces").absolute()
    assert done.err == f"fluxloop: trace recorded in {folder}: fluxloop view {folder} --trace {trace.trace_id}\n"


@pytest.mark.parametrize("arguments", [(), ("a", "--session", "-m", "--", "x y"), ("--", "-h")])
def test_a_script_sees_what_it_sees_under_python(arguments):
    """
    Arguments, ``__main__``, ``__file__`` and ``sys.path``; options after the script are its own.
    """
    path = script(SHOW, "folder/program.py")

    assert json.loads(traced(path, *arguments).out) == json.loads(ran(path, *arguments).out)


@pytest.mark.parametrize("target", ["pkg.part", "pkg"])
def test_a_module_sees_what_it_sees_under_python(target):
    """
    A module, and a package with ``__main__``.
    """
    script("", "pkg/__init__.py")
    script(SHOW, "pkg/part.py")
    script(SHOW, "pkg/__main__.py")

    assert json.loads(traced("-m", target, "a", "-m").out) == json.loads(ran("-m", target, "a", "-m").out)
    assert recorded().name == target


@pytest.mark.parametrize("target", ["app", "app.zip"])
def test_a_folder_and_an_archive_see_what_they_see_under_python(target):
    """
    A folder or a ZIP archive with ``__main__.py`` runs; imports find the modules beside it.
    """
    script(f"import beside{SHOW}", "app/__main__.py")
    script("", "app/beside.py")
    shutil.make_archive("app", "zip", "app")

    under_python, under_trace = ran(target, "a"), traced(target, "a")

    assert (under_trace.code, under_trace.out) == (0, under_python.out)
    assert recorded().name == "app"


def test_a_folder_without_a_program_is_one_line():
    """
    It ends as under ``python``.
    """
    Path("empty").mkdir()

    done = traced("empty")

    assert (done.code, done.err) == (1, "fluxloop trace: can't find '__main__' module in 'empty'\n")


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("sys.exit()", Status.SUCCESS, None),
        ("sys.exit(0)", Status.SUCCESS, None),
        ("sys.exit(3)", Status.ERROR, "exit code 3"),
        ("sys.exit('sorry')", Status.ERROR, "sorry"),
        ("raise ValueError('no')", Status.ERROR, "no"),
        ("1 +", Status.ERROR, "invalid syntax (program.py, line 3)"),
        ("raise KeyboardInterrupt", Status.CANCELLED, None),
        ("raise GeneratorExit", Status.ABANDONED, None),
    ],
)
def test_a_program_ends_as_under_python(end, status, error):
    """
    The same exit code, or signal, and the same output and traceback; the trace has the outcome.
    """
    path = script(f"import sys, atexit; atexit.register(print, 'bye')\nprint('hi')\n{end}\n")

    expected, done = ran(path), traced(path)

    assert (done.code, done.out) == (expected.code, expected.out)
    ours = [line for line in done.err.splitlines() if line.startswith("fluxloop: ")]
    assert len(ours) == 1
    assert [line for line in done.err.splitlines() if line not in ours] == expected.err.splitlines()
    assert (recorded().status, recorded().error) == (status, error)


def test_an_excepthook_of_the_program_is_called():
    """
    It gets the exception with the frames of the program alone.
    """
    path = script(
        """
        import sys, traceback
        sys.excepthook = lambda kind, exc, tb: print(kind.__name__, [f.name for f in traceback.extract_tb(tb)])
        def inner():
            raise ValueError
        inner()
        """
    )

    assert traced(path).out == ran(path).out == "ValueError ['<module>', 'inner']\n"


def test_ctrl_c_and_termination_end_the_process_by_the_signal():
    """
    SIGINT is an interrupted trace; SIGTERM, which the program does not handle, a crashed one.
    """
    path = script("import os, signal, sys, time\nos.kill(os.getpid(), int(sys.argv[1]))\ntime.sleep(20)\n")

    for number, status in ((signal.SIGINT, Status.CANCELLED), (signal.SIGTERM, Status.CRASHED)):
        done = traced("--path", f"{number:d}", path, int(number))
        [trace] = fluxloop.read_traces(f"{number:d}")
        assert (done.code, trace.status) == (-number, status)


def test_threads_of_the_program_and_pickled_classes_work():
    """
    The program stays ``__main__`` until the process ends.
    """
    path = script(
        """
        import atexit, pickle, threading, time

        class Item:
            pass

        def late():
            time.sleep(0.05)
            print(type(pickle.loads(pickle.dumps(Item()))).__module__)

        threading.Thread(target=late).start()
        atexit.register(lambda: print(pickle.loads(pickle.dumps(Item())).__class__ is Item))
        """
    )

    assert traced(path).out == ran(path).out == "__main__\nTrue\n"


def test_options_choose_folder_and_session():
    """
    ``--path`` and ``--session`` stand before the script.
    """
    path = script("print('hi')")

    done = traced("--path", "elsewhere", "--session", "chat-7", path)

    [trace] = fluxloop.read_traces("elsewhere")
    assert (done.out, trace.session_id) == ("hi\n", "chat-7")


def test_a_program_s_model_calls_are_recorded_without_a_change_to_it():
    """
    With every adapter that is installed.
    """
    path = script(
        """
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer
        import openai

        ANSWER = (
            b'{"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5", "choices": '
            b'[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris"}}]}'
        )

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(ANSWER)

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with openai.OpenAI(api_key="-", base_url=f"http://127.0.0.1:{server.server_port}") as client:
            ask = [{"role": "user", "content": "Capital?"}]
            print(client.chat.completions.create(model="gpt-5", messages=ask).choices[0].message.content)
        """
    )

    done = ran("-m", "fluxloop", "trace", path)

    assert done.out == "Paris\n", done.err
    assert [(each.type.name, each.output) for each in recorded().observations] == [
        ("AGENT", None),
        ("GENERATION", "Paris"),
    ]


def test_a_program_that_does_not_exist_is_one_line():
    """
    With the exit codes of ``python``: 2 for a file, 1 for a module.
    """
    for arguments in (("nowhere.py",), ("-m", "nowhere"), ("-m", "no.where")):
        done = traced(*arguments)
        assert done.code == ran(*arguments).code
        assert done.err.startswith("fluxloop trace: ")
        assert len(done.err.splitlines()) == 1
    assert not Path("traces").exists()


def test_a_folder_that_cannot_be_written_is_no_trace():
    """
    The program runs, and the last line does not claim that there is a trace.
    """
    Path("taken").touch()
    done = traced("--path", "taken", script("print('hi')"))

    assert (done.code, done.out) == (0, "hi\n")
    assert done.err.splitlines()[-1] == (
        "fluxloop: nothing was recorded, as none of 2 records could be stored in " + str(Path("taken").absolute())
    )


def test_with_tracing_off_the_program_runs_unrecorded():
    """
    The line on stderr says that nothing was recorded.
    """
    done = traced(script("print('hi')"), FLUXLOOP_ENABLED="0")

    assert done.out == "hi\n"
    assert done.err == "fluxloop: nothing was recorded, as tracing is off or sampling left the trace out\n"
    assert not Path("traces").exists()
