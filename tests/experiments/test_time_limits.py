"""
Evaluators that never return: each is an error of that evaluator, and the command ends.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from textwrap import dedent

import orjson
import pytest
from experiments.evaluation_aids import experiment, lines_of
from experiments.projects import fluxloop_in

from fluxloop import experiments
from fluxloop.errors import ConfigError
from fluxloop.experiments.evaluation.time_limits import SIGNAL, EvaluatorTimeoutError, TimeLimit

EVALUATORS = """
    import asyncio, ctypes, itertools, os, re, signal, threading, time

    def good(output): return True

    def sleeps(output): time.sleep(600)

    def spins(output):
        while True:
            try:
                pass
            except Exception:
                pass

    def matches(output): return re.match("(a+)+$", "a" * 60 + "b")

    async def waits(output): await asyncio.sleep(600)

    async def blocks(output): time.sleep(600)

    async def ignores(output):
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass

    def catches(output):
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass

    def computes(output): return sum(itertools.count())

    def exits(output): os._exit(0)

    def exits_in_a_thread(output):
        threading.Thread(target=os._exit, args=(0,)).start()
        time.sleep(600)
"""


def evaluated(folder, name, *options):
    """Run ``fluxloop evaluate`` on six runs with the evaluators ``good`` and *name*, each limited to 0.2 s."""
    experiment(folder / "demo", [f"city {number}" for number in range(6)])
    (folder / "evals.py").write_text(dedent(EVALUATORS))
    entries = [{"name": each, "target": f"evals:{each}"} for each in ("good", name)]
    config = {"evaluators": entries, "limits": {"evaluator_timeout_seconds": 0.2}}
    (folder / "evaluation.yaml").write_text(json.dumps(config))
    return fluxloop_in(folder, "evaluate", "experiment", "demo", *options)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("blocks", "ignores")]


@pytest.mark.parametrize("name", ["sleeps", "spins", "matches", "waits", *SLOW])
def test_an_evaluator_that_never_returns_is_interrupted(tmp_path, name):
    """
    Its results are errors, and after three of them it is not called again; other evaluators and runs are not affected.
    """
    done = evaluated(tmp_path, name)

    assert done.code == 0, done.err
    summary = orjson.loads((tmp_path / "demo/evaluation/summary.json").read_bytes())
    assert (summary["evaluator_stats"][name]["errors"], summary["evaluator_stats"]["good"]["average"]) == (6, 1.0)
    lines = lines_of(tmp_path / "demo/evaluation/per_trace.jsonl")
    errors = [line["results"][name]["error"].partition(": ")[2] for line in lines]
    limit = "0.2 s (limits.evaluator_timeout_seconds)"
    assert errors == [
        *[f"it took longer than {limit}"] * 3,
        *[f"not called, as 3 calls in a row took longer than {limit}"] * 3,
    ]


def test_a_timeout_is_a_failed_gate_only_with_strict(tmp_path):
    """
    As any failure of an evaluator.
    """
    done = evaluated(tmp_path, "sleeps", "--strict")

    assert done.code == 1
    assert "FAILED: evaluator sleeps failed in 6 runs" in done.out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["catches", "computes"])
def test_an_evaluator_that_cannot_be_interrupted_ends_the_command(tmp_path, name):
    """
    The message names it. If not even a second thread runs, the exit code is 1 and the Python stack is printed.
    """
    done = evaluated(tmp_path, name)

    assert done.code == (2 if name == "catches" else 1)
    assert not (tmp_path / "demo/evaluation/summary.json").exists()
    if name == "catches":
        assert "evaluator 'catches' takes longer than 0.2 s" in done.err
        assert "No results were written, and earlier ones are unchanged" in done.err
    else:
        assert "in computes" in done.err


def test_a_regular_expression_that_takes_exponential_time_is_interrupted(tmp_path):
    """
    A rule is limited as an evaluator is.
    """
    folder = experiment(tmp_path / "demo", [{"input": "Rome", "metadata": {"text": "a" * 60 + "b"}}])
    rules = ["success", {"not_matches_regex": {"pattern": "^(a+)+$", "target": "metadata.text"}}]

    evaluation = experiments.evaluate(folder, rules=rules, evaluator_timeout=0.2)

    assert evaluation.summary["evaluator_stats"]["rules"]["errors"] == 1


def test_an_evaluator_is_interrupted_inside_a_running_loop_too(tmp_path):
    """
    In a notebook the evaluation has a thread of its own, which signals do not reach.
    """
    folder = experiment(tmp_path / "demo", ["Rome"])
    ended = threading.Event()

    def spins(output):
        try:
            while True:
                pass
        finally:
            ended.set()

    async def notebook():
        return experiments.evaluate(folder, evaluators=[spins], evaluator_timeout=0.2)

    evaluation = asyncio.run(notebook())

    assert evaluation.summary["evaluator_stats"]["spins"]["errors"] == 1
    assert ended.is_set()


def test_in_a_thread_with_a_debugger_calls_go_on_after_the_limit(tmp_path):
    """
    Python 3.11 looks for an exception of another thread for ever if one was withdrawn and a debugger is attached.
    """
    folder = experiment(tmp_path / "demo", ["Rome", "Oslo", "Bern"])

    def follow(*event):
        return follow

    async def notebook():
        return experiments.evaluate(folder, evaluators=[lambda output: "o" in output])

    traced = threading.gettrace()
    threading.settrace(follow)
    try:
        evaluation = asyncio.run(notebook())
    finally:
        threading.settrace(traced)

    assert evaluation.summary["total_traces"] == 3


def test_evaluators_run_in_the_main_thread_and_leave_its_handlers(tmp_path):
    """
    An evaluator finds what its module created there, such as a connection to SQLite; no handler or timer stays.
    """
    before = signal.getsignal(SIGNAL)
    threads = []
    folder = experiment(tmp_path / "demo", ["Rome"])

    experiments.evaluate(folder, evaluators=[lambda run: threads.append(threading.current_thread()) or True])

    assert threads == [threading.main_thread()]
    assert signal.getsignal(SIGNAL) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_calls_that_return_between_timeouts_reset_the_count():
    """
    Only timeouts in a row end the calls of an evaluator.
    """
    with TimeLimit(0.05) as limit:
        for _ in range(4):
            with pytest.raises(EvaluatorTimeoutError, match="it took longer than"):
                limit.called("slow", threading.Event().wait)
            assert limit.called("slow", lambda: 1) == 1


def test_a_limit_must_be_positive(tmp_path):
    """
    The message has the value.
    """
    folder = experiment(tmp_path / "demo", ["Rome"])

    with pytest.raises(ConfigError, match="evaluator_timeout must be greater than 0 and at most 1,000,000,000, got 0"):
        experiments.evaluate(folder, evaluator_timeout=0)


@pytest.mark.parametrize("name", ["exits", "exits_in_a_thread"])
def test_an_evaluator_that_calls_exit_passes_no_gate(tmp_path, name):
    """
    ``os._exit(0)`` is an error of the evaluator; in a thread of its own it ends the command, with exit code 2.
    """
    done = evaluated(tmp_path, name, "--strict")

    if name == "exits":
        assert (done.code, "FAILED: evaluator exits failed in 6 runs" in done.out) == (1, True), done.err
    else:
        assert done.code == 2
        assert "a thread of an evaluator called os._exit(0), which ends this process. No results were" in done.err


def test_an_evaluation_that_was_killed_can_be_repeated(tmp_path):
    """
    Its unfinished files are replaced.
    """
    folder = experiment(tmp_path / "demo", ["Rome"])
    (folder / "evaluation").mkdir()
    (folder / "evaluation/.per_trace.jsonl.part").touch()

    assert experiments.evaluate(folder).passed
    assert not (folder / "evaluation/.per_trace.jsonl.part").exists()
