"""Three services in three processes send a trace each to one collector, which has them as one session."""

import os
import re
import subprocess
import sys
import tempfile

import fluxloop
from fluxloop.testing import outline

ANSWERS = {"stock": "3 left", "prices": "12 EUR", "shipping": "2 days"}


@fluxloop.tool
def look_up(item: str) -> str:
    return f"{item}: {ANSWERS[sys.argv[1]]}"


if sys.argv[1:]:  # this process is one of the services
    with fluxloop.instrument(sys.argv[1], session_id="order-7"):
        look_up("teapot")
    sys.exit()

with tempfile.TemporaryDirectory() as folder:
    serve = [sys.executable, "-m", "fluxloop", "serve", "--port", "0", "--store", f"{folder}/store.sqlite"]
    collector = subprocess.Popen(serve, stderr=subprocess.PIPE, text=True)
    try:
        said = ""
        while not (found := re.search(r"running on (http://\S+)", said)):
            said += collector.stderr.readline() or sys.exit(f"the collector did not start: {said}")
        url = found[1]
        settings = {"FLUXLOOP_STORAGE": "http", "FLUXLOOP_COLLECTOR_URL": url, "FLUXLOOP_SHUTDOWN_TIMEOUT": "30"}
        services = [subprocess.Popen([sys.executable, __file__, name], env=os.environ | settings) for name in ANSWERS]
        print("exit codes:", [service.wait() for service in services])
        print("\n".join(sorted(outline(trace) for trace in fluxloop.read_traces(url, session="order-7"))))
    finally:
        collector.terminate()
        collector.communicate()

# prints:
# exit codes: [0, 0, 0]
# SPAN prices
#   TOOL look_up -> 'teapot: 12 EUR'
# SPAN shipping
#   TOOL look_up -> 'teapot: 2 days'
# SPAN stock
#   TOOL look_up -> 'teapot: 3 left'
