"""Settings stay consistent across threads and forks, and load quickly."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fluxloop.settings.layers import Configuration

ROOT = Path(__file__).parent.parent.parent


def test_concurrent_configure_calls_all_take_effect() -> None:
    """Calls of `configure` from several threads at once all take effect."""
    layers = Configuration(isolated=True)
    values = {"debug": True, "redact": False, "enabled": False, "max_depth": 3, "sample_rate": 0.5, "session_id": "s"}
    together = threading.Barrier(len(values))

    def set_one(name: str) -> None:
        together.wait()
        layers.configure(**{name: values[name]})

    threads = [threading.Thread(target=set_one, args=[name]) for name in values]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert {name: getattr(layers.settings(), name) for name in values} == values


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_during_a_change_can_still_configure() -> None:
    """The child does not inherit a lock that another thread held at the fork."""
    program = """if True:
        import os, threading
        from fluxloop.settings import dotenv, layers
        held, done = threading.Event(), threading.Event()
        def hold():
            with dotenv.settings_lock:
                held.set()
                done.wait()
        threading.Thread(target=hold).start()
        held.wait()
        child = os.fork()
        if child == 0:
            os._exit(7 if layers.Configuration().configure(max_depth=7).max_depth == 7 else 1)
        done.set()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=20
    )

    assert answer.stdout == "7\n"


def test_importing_loads_nothing_heavy() -> None:
    """Importing the settings loads no heavy module."""
    program = """if True:
        import sys, types
        package = types.ModuleType("fluxloop")
        package.__path__ = [sys.argv[1]]
        sys.modules["fluxloop"] = package
        import fluxloop.settings.layers
        heavy = ["pydantic", "pydantic_settings", "dotenv", "tomllib", "asyncio", "difflib"]
        print([name for name in heavy if name in sys.modules])
    """
    answer = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "fluxloop")], capture_output=True, text=True, timeout=20
    )

    assert answer.stdout == "[]\n"
