"""
The demo of the collector: start one, send the runs of two agent processes to it, and show how to ask for them.

The store is in a temporary folder; the collector stops with Ctrl-C.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "demo.py"
FLUXLOOP = [sys.executable, "-m", "fluxloop"]


def main(stop_at_once: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = [*FLUXLOOP, "serve", "--port", "0", "--store", f"{folder}/collector.sqlite"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            url = address_of(server)
            print(f"The collector listens on {url}. Two agents run and send to it.", flush=True)
            settings = {"FLUXLOOP_STORAGE": "http", "FLUXLOOP_COLLECTOR_URL": url, "FLUXLOOP_SHUTDOWN_TIMEOUT": "30"}
            environment = {**os.environ, **settings}  # 30 s: all records arrive on a busy machine, too
            agents = [
                subprocess.Popen([sys.executable, DEMO], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
                for _ in range(2)
            ]
            codes = [agent.wait() for agent in agents]
            if any(codes):
                print(f"an agent failed: exit codes {codes}", file=sys.stderr)
                return 1
            subprocess.run([*FLUXLOOP, "list", url], check=True)
            command_name = "fluxloop" if shutil.which("fluxloop") else f"{sys.executable} -m fluxloop"
            print(f"\nAsk with:\n  {command_name} list {url}\n  {command_name} view {url}")
            print(f"  curl '{url}/api/v1/totals?by=name'", flush=True)
            if not stop_at_once:
                print("\nCtrl-C stops the collector.", flush=True)
                server.communicate()
        except KeyboardInterrupt:
            pass
        finally:
            server.terminate()
            server.communicate()
    return 0


def address_of(server: subprocess.Popen[str]) -> str:
    """Return the address that the collector writes to its log when it listens."""
    for line in server.stderr or ():
        if found := re.search(r"running on (http://\S+)", line):
            return found[1]
    raise SystemExit("the collector did not start")


if __name__ == "__main__":
    sys.exit(main("--stop" in sys.argv))
