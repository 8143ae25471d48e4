"""
What makes a run irreproducible: a program with every kind of cause, and one without.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxloop.errors import ReplayError
from fluxloop.replay.diagnosis import Diagnosis, diagnose
from fluxloop.testing import capture

PROGRAM = """
import asyncio, os, random, uuid
from datetime import date, datetime
import fluxloop

TAGS = {"alpha", "beta", "gamma", "delta", "epsilon"}
STARTED = date.today()

@fluxloop.prompt
def ask(text):
    return "ok"

@fluxloop.tool
async def look(number):
    await asyncio.sleep(0)
    return f"result {number}"

async def all_results():
    found = []
    async def one(number):
        found.append(await look(number))
    await asyncio.gather(*map(one, range(4)))
    return found

@fluxloop.agent
def shaky():
    ask(f"today is {datetime.now():%A}")
    ask(f"started in {STARTED:%B}")
    ask(random.choice("abcdefghijklmnop"))
    ask(uuid.uuid4().hex[:6])
    ask(", ".join(TAGS))
    ask(" ".join(os.listdir("data")))
    ask(os.environ["SHOP"])
    ask(f"request {uuid.uuid4()} at {datetime.now().isoformat()}")
    ask(str(asyncio.run(all_results())))

@fluxloop.agent
def steady(question="hi"):
    ask(f"request {uuid.uuid4()} at {datetime.now().isoformat()}")
    ask(question)

@fluxloop.agent
def silent():
    return 1
"""

CAUSES = {
    ("clock", "today is {datetime.now():%A}"),
    ("clock", "STARTED = date.today()"),
    ("random numbers", "random.choice("),
    ("ids", "uuid.uuid4().hex[:6]"),
    ("set order", '", ".join(TAGS)'),
    ("directory order", "os.listdir("),
    ("environment", 'os.environ["SHOP"]'),
    ("concurrency", "asyncio.gather("),
}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program, in the current folder."""
    (tmp_path / "restless.py").write_text(PROGRAM)
    (tmp_path / "data").mkdir()
    for name in "cab":
        (tmp_path / "data" / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP", "north")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "restless.py"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_kind_of_cause_is_found_at_its_line(program):
    """
    A whole id and a time in ISO format are not reported: matching normalises them.
    """
    found = diagnose("restless:shaky", runs=2)

    named = {
        (kind, text) for kind, text in CAUSES for one in found.causes if one.kind == kind and text in str(one.places)
    }
    assert named == CAUSES
    assert len(found.causes) == len(CAUSES)
    assert all(one.difference for one in found.causes)
    assert found.differing == ("GENERATION ask in doctor > shaky",)
    assert not found.errors


def test_a_steady_program_is_reproducible(program):
    """
    Ids and times in its requests are normalised.
    """
    found = diagnose("restless:steady", runs=2)

    assert found == Diagnosis("restless:steady", 2, (), (), ())
    assert found.is_reproducible


def test_the_input_comes_from_a_trace(program):
    """
    The calls are answered from it, and the program runs with the recorded arguments.
    """
    import restless

    with capture() as captured:
        restless.steady("how are you?")

    assert diagnose("restless:steady", captured.trace, runs=2).is_reproducible


@pytest.mark.parametrize(
    ("target", "runs", "message"),
    [
        ("restless:silent", 2, "made no recorded call"),
        ("restless:steady", 1, "runs must be at least 2"),
        ("restless:nothing", 2, "has no 'nothing'"),
        ("restless:ask", 2, "cannot be run without arguments"),
    ],
)
def test_what_cannot_be_diagnosed_is_an_error(program, target, runs, message):
    """
    One message, without a traceback of the process that ran it.
    """
    with pytest.raises(ReplayError, match=message):
        diagnose(target, runs=runs)


SOURCES = {
    "numpy.random.rand()": "random numbers",
    "numpy.random.default_rng().integers(10**9)": "random numbers",
    "numpy.random.Generator(numpy.random.PCG64()).random()": "random numbers",
    "random.Random().random()": "random numbers",
    "random.SystemRandom().random()": "random numbers",
    "secrets.token_hex(4)": "ids",
    "os.urandom(4).hex()": "ids",
    "uuid.uuid1().hex[:8]": "ids",
    "time.monotonic()": "clock",
    "time.perf_counter_ns()": "clock",
    "datetime.datetime.now().hour": "clock",
    "glob.glob('data/*')": "directory order",
    "[str(one) for one in pathlib.Path('data').iterdir()]": "directory order",
    "os.getenv('SHOP')": "environment",
    "list(dict.fromkeys({'a', 'b', 'c', 'd', 'e'}))": "set order",
    "hash('a text')": "set order",
    "in_order_of_their_ends()": "concurrency",
}
QUIET = [
    "numpy.random.default_rng(7).random()",
    "random.Random(7).random()",
    "sorted({'a', 'b'})",
    "sorted(glob.glob('data/*'))",
]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_each_source_is_found_at_its_own_line(program):
    """
    One prompt per source, whose line is the only one named for it; seeded and sorted values are not named.
    """
    lines = [f"    ask(str({source}))" for source in [*SOURCES, *QUIET]]
    text = """
import asyncio, datetime, glob, os, pathlib, random, secrets, time, uuid
import numpy
import fluxloop

@fluxloop.tool
async def look(number):
    await asyncio.sleep(0)
    return number

def in_order_of_their_ends():
    async def run():
        found = []
        async def one(number):
            found.append(await look(number))
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(one(number))
        return found
    return asyncio.run(run())

@fluxloop.prompt
def ask(text):
    return "ok"

@fluxloop.agent
def shaky():
"""
    (program.parent / "sources.py").write_text(text + "\n".join(lines))

    found = diagnose("sources:shaky", runs=2)

    for source, kind in SOURCES.items():
        line = source if source != "in_order_of_their_ends()" else "group.create_task(one(number))"
        causes = [one for one in found.causes if any(line in place for place in one.places)]
        assert [one.kind for one in causes] == [kind], (source, causes)
    named = {place.partition(": ")[2] for one in found.causes for place in one.places}
    assert not [source for source in QUIET for place in named if source in place and source != QUIET[2]]
    assert not found.errors


def test_numpy_is_not_imported_for_a_program_without_it(program):
    """
    The probes wait for the program to import it.
    """
    import subprocess
    import sys

    code = "import sys; from fluxloop.replay.probes import Probes; Probes().install(); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
