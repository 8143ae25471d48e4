"""A copy of a prepared process runs a module as a Python that has just started does."""

from __future__ import annotations

import signal
from pathlib import Path

import offline
import pytest
from prepared_python import PreparedPython

PROGRAM = """
import atexit, json, os, sys
atexit.register(print, "bye")
print(json.dumps([__name__, sys.argv[1:], os.environ["SHOP"], os.getcwd(), sys.stdout.encoding, sys.stdin.read()]))
print("héllo".encode(sys.stdout.encoding, "replace").decode(), file=sys.stderr)
exec(sys.argv[1])
"""


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedPython:
    """A process with a module of the standard library, and the program in the working directory."""
    (tmp_path / "program.py").write_text(PROGRAM)
    return PreparedPython("json", "no_such_module")


@pytest.mark.parametrize(
    ("end", "code", "last"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('sorry')", 1, "sorry"),
        ("raise ValueError('no')", 1, "ValueError: no"),
        ("os.kill(os.getpid(), 15)", -signal.SIGTERM, ""),
        ("os._exit(7)", 7, ""),
        ("pass", 0, ""),
    ],
)
def test_a_run_has_its_own_arguments_streams_and_exit_code(prepared, tmp_path, end, code, last):
    """Also the folder, the environment, and what is registered for the end; two runs of one process do not mix."""
    for shop in ("a", "b"):
        environment = offline.environment(SHOP=shop, PYTHONIOENCODING="ascii")
        done = prepared.run("program", end, environment=environment)
        ends_in_order = code >= 0 and code != 7

        expected = f'["__main__", ["{end}"], "{shop}", "{tmp_path}", "ascii", ""]\n'
        assert (done.code, done.out) == (code, expected + "bye\n" if ends_in_order else done.out)
        assert done.err.startswith("h?llo\n")
        assert done.err.rstrip().endswith(last)


def test_a_run_that_takes_too_long_is_killed(prepared):
    """The process answers further requests."""
    environment = offline.environment(SHOP="a")

    with pytest.raises(TimeoutError, match="killed after"):
        prepared.run("program", "import time; time.sleep(60)", environment=environment, timeout=0.1)
    assert prepared.run("program", "pass", environment=environment).code == 0
