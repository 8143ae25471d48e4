"""
`fluxloop compare`: inputs that broke or were fixed, trees that differ, in the terminal, as JSON and as a page.
"""

from __future__ import annotations

import orjson
import pytest
from cli.commands import runner
from experiments.evaluation_aids import book, experiment, model, runs_of, search

import fluxloop
from fluxloop import experiments
from fluxloop.errors import ReadError
from fluxloop.experiments.comparison.trajectories import outline, tree_diff
from fluxloop.experiments.folder import resolve

RULES = {"rules": ["success", {"tool_called": {"tool": "search"}}], "threshold": 0.9}


@fluxloop.agent
def thorough_agent(city: str) -> str:
    model(city)
    search(city, limit=10)
    search(f"{city} centre")
    book("Ritz")
    return f"Booked the Ritz in {city}"


@pytest.fixture
def fluxloop_(monkeypatch, capsys):
    """The command, run in this process."""
    return runner(monkeypatch, capsys)


@pytest.fixture
def two(tmp_path):
    """Two experiments: one input broke, one was fixed, one calls other tools, one is only in the second."""
    before = experiment(tmp_path / "before", ["Rome", {"input": "nowhere"}, "Oslo"])
    after = experiment(tmp_path / "after", ["Rome", {"input": "somewhere"}, "Oslo", "Bern"], thorough_agent)
    rows = [orjson.loads(line) for line in (after / "trace_summary.jsonl").read_bytes().splitlines()]
    rows[2] |= {"status": "timeout", "error": {"type": "TimeoutError", "message": "after 5 s"}}
    (after / "trace_summary.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return before, after


def test_each_input_is_compared(two):
    """
    The change of each input, its answers, and the steps that differ.
    """
    found = experiments.compare(*two, config=RULES)

    assert found.regressed
    broken, fixed, other = found.differences
    assert [one.pair.change for one in found.differences] == ["broken", "fixed", "same"]
    assert broken.outputs == ('"Booked the Ritz in Oslo"', "timeout: TimeoutError: after 5 s")
    assert fixed.outputs == ("error: LookupError: no such city", '"Booked the Ritz in somewhere"')
    assert [f"{line.sign}{line.text}" for line in other.lines] == [
        "-AGENT travel_agent",
        "+AGENT thorough_agent",
        "   GENERATION model",
        '-  TOOL search query="Rome", limit=3',
        '+  TOOL search query="Rome", limit=10',
        '+  TOOL search query="Rome centre", limit=3',
        '   TOOL book hotel="Ritz"',
    ]
    assert found.result.only_after == [("input-3", None)]


def test_the_terminal_shows_what_changed(two, tmp_path, fluxloop_):
    """
    Figures, then each input with its answers and the difference of the trees.
    """
    config = tmp_path / "evaluation.yaml"
    config.write_text(orjson.dumps(RULES).decode())

    done = fluxloop_("compare", *two, "--config", config, "--strict")

    assert done.code == 1
    assert done.out.startswith("3 inputs compared: 1 broke, 1 were fixed, 3 called other tools\n")
    assert "\nbroken  Oslo  1/1 -> 0/1 passed\n" in done.out
    assert "\n  + timeout: TimeoutError: after 5 s\n" in done.out
    assert '\n    +   TOOL search query="Rome centre", limit=3\n' in done.out


def test_json_and_a_page_have_the_same_comparison(two, tmp_path, fluxloop_):
    """
    ``--json`` prints one object; ``--html`` writes a page in which inputs are escaped.
    """
    page = tmp_path / "pages/difference.html"

    done = fluxloop_("compare", *two, "--json", "--html", page)

    found = orjson.loads(done.out)
    assert done.code == 0
    assert (found["inputs_compared"], found["regression_count"], found["fix_count"]) == (3, 1, 1)
    assert "regressed" in page.read_text()


def test_equal_experiments_have_no_difference(tmp_path):
    """
    The same agent again: nothing broke, all probabilities are 1.
    """
    found = experiments.compare(experiment(tmp_path / "a"), experiment(tmp_path / "b"))

    assert not found.regressed
    assert found.differences == ()
    assert found.result.metrics["score"]["p_value"] == 1.0


def test_equal_steps_are_folded(tmp_path):
    """
    Around each change two equal steps are shown, the others are counted.
    """

    @fluxloop.agent
    def long_agent(city):
        for number in range(20):
            search(f"{city} {number}")
        return "done"

    @fluxloop.agent(name="long_agent")
    def changed_agent(city):
        for number in range(20):
            search("elsewhere" if number == 10 else f"{city} {number}")
        return "done"

    (before,) = runs_of(experiment(tmp_path / "a", ["Rome"], long_agent))
    (after,) = runs_of(experiment(tmp_path / "b", ["Rome"], changed_agent))

    lines = tree_diff(outline(before), outline(after))

    assert [line.sign for line in lines] == ["…", " ", " ", "-", "+", " ", " ", "…"]
    assert (lines[0].text, lines[-1].text) == ("9 equal steps", "7 equal steps")


def test_the_name_of_the_runners_root_is_not_a_difference(tmp_path):
    """
    The runner names the root of a run after the experiment and the iteration.
    """

    def agent_of(name):
        def called(city):
            with fluxloop.instrument(name):
                return search(city)

        return called

    (before,) = runs_of(experiment(tmp_path / "a", ["Rome"], agent_of("first_iter0")))
    (after,) = runs_of(experiment(tmp_path / "b", ["Rome"], agent_of("second_iter3")))

    assert tree_diff(outline(before), outline(after)) == []


@pytest.mark.parametrize("missing", [0, 1])
def test_an_experiment_that_is_not_there_is_one_line_and_exit_code_2(two, fluxloop_, missing):
    """
    The message names it.
    """
    paths = [*two]
    paths[missing] = two[0].parent / "lost"

    done = fluxloop_("compare", *paths)

    assert (done.code, done.out) == (2, "")
    assert done.err == f"fluxloop: experiment not found: {paths[missing]}. Create one with: fluxloop run experiment\n"


def test_a_name_is_not_the_beginning_of_another_name(tmp_path, monkeypatch):
    """
    ``support`` is not a newer ``support_v2``, with which it would be compared to itself.
    """
    monkeypatch.chdir(tmp_path)
    old = experiment(tmp_path / "experiments/support_20260117_143000")
    new = experiment(tmp_path / "experiments/support_v2_20260118_143000")

    assert resolve("support") == resolve("latest_support") == resolve("experiments/latest_support") == old
    assert resolve("support_v2") == new
    assert resolve("experiments/support_*") == new
    for name in ("supp", "support_2", "support_v"):
        with pytest.raises(ReadError, match=f"experiment not found: {name}. "):
            resolve(name)


def test_a_comparison_of_different_inputs_is_stated_and_passes_no_gate(tmp_path, fluxloop_):
    """
    Renamed inputs would otherwise hide every regression.
    """
    before = experiment(tmp_path / "before", [{"input": "Rome", "input_id": "r"}, {"input": "Oslo", "input_id": "o"}])
    after = experiment(tmp_path / "after", [{"input": "Bern", "input_id": "b"}])

    done, strict = fluxloop_("compare", before, after), fluxloop_("compare", before, after, "--strict")
    found = experiments.evaluate(after, baseline=before, strict=True)

    assert done.out == (
        "0 inputs compared: 0 broke, 0 were fixed, 0 called other tools\n"
        "2 inputs only in the baseline, not compared\n"
        "1 input only in the later experiment, not compared\n"
    )
    assert (done.code, done.err, strict.code) == (0, "", 1)
    assert strict.err == "fluxloop: nothing could be compared: no input of the experiment is in the baseline\n"
    assert found.failed_gates == ("nothing could be compared: no input of the experiment is in the baseline",)


def test_other_inputs_under_the_same_ids_are_stated(tmp_path, fluxloop_):
    """
    An input without an id is paired by its position in the list, which an input before it changes.
    """
    before = experiment(tmp_path / "before", ["Rome", "Oslo"])
    after = experiment(tmp_path / "after", ["Bern", "Rome", "Oslo"])

    done, same = fluxloop_("compare", before, after), fluxloop_("compare", before, before)

    assert "2 inputs have another text under the same id: give each input an id of its own\n" in done.out
    assert experiments.compare(before, after).as_json()["other_inputs"] == 2
    assert "another text" not in same.out
