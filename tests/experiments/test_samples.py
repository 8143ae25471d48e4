"""
Numbers and cells give the same results whether they are in memory or in a temporary file.
"""

from __future__ import annotations

import json
import random
import statistics as reference

import pytest

from fluxloop.experiments.evaluation import statistics
from fluxloop.experiments.evaluation.cell import MOST_TRAJECTORIES
from fluxloop.experiments.evaluation.cells import Cells
from fluxloop.experiments.evaluation.pairs import compared
from fluxloop.experiments.evaluation.samples import Bootstrapped, Differences, Ordered, Sample
from fluxloop.experiments.evaluation.scores import RunScore
from fluxloop.experiments.evaluation.totals import MOST_TEXTS, Frequent
from fluxloop.experiments.folder import Row
from fluxloop.experiments.run_data import Run

SEED = 12


def _filled(sample, values):
    for value in values:
        sample.add(value)
    return sample


def test_a_sample_of_parts_is_the_sample_of_the_whole():
    """
    Mean, variance and extremes are those of the standard library, also after merging and storing.
    """
    values = [random.Random(SEED).gauss(1e6, 1) for _ in range(999)]
    whole, parts = _filled(Sample(), values), Sample()
    for start in range(0, 999, 100):
        parts.merge(Sample.of_list(_filled(Sample(), values[start : start + 100]).as_list()))

    for sample in (whole, parts):
        assert len(sample) == 999
        assert sample.mean == pytest.approx(reference.fmean(values), rel=1e-12)
        assert sample.variance == pytest.approx(reference.variance(values), rel=1e-6)
        assert (sample.low, sample.high) == (min(values), max(values))


@pytest.mark.parametrize("count", [1, 2, 10, 400, 600])
def test_intervals_and_probabilities_are_those_of_lists(count):
    """
    Whether values are few enough to resample or not.
    """
    draw = random.Random(SEED)
    values = [draw.choice([0.0, draw.gauss(0.1, 1)]) for _ in range(count)]

    assert _filled(Bootstrapped(), values).interval == pytest.approx(statistics.mean_interval(values))
    assert _filled(Differences(), values).p_value == pytest.approx(statistics.paired_p_value(values))


@pytest.mark.parametrize("count", [1, 7, 10, 11, 105])
def test_percentiles_of_spilled_values_are_those_of_a_list(count):
    """
    With ten values in memory, and more in a file.
    """
    values = [random.Random(SEED).uniform(0, 9) for _ in range(count)]
    ordered = _filled(Ordered(most_in_memory=10), values)

    for percent in (0, 25, 50, 99, 100):
        assert ordered.percentile(percent) == pytest.approx(statistics.percentile(sorted(values), percent))


def _cells(seed, most_in_memory):
    draw = random.Random(seed)
    cells = Cells(most_in_memory)
    for number in range(300):
        name = f"input {draw.randrange(30 + seed)}"
        passed = draw.random() < 0.7
        row = {
            "trace_id": f"{number}",
            "input_id": name,
            "input": name,
            "persona": draw.choice([None, "novice"]),
            "status": "success" if passed else "error",
            "duration_ms": draw.randrange(100) / 4,  # sums of such numbers are exact in any order
            "token_usage": draw.choice([None, {"total_tokens": draw.randrange(9)}]),
        }
        records = [{"type": "TOOL", "name": draw.choice("ab")} for _ in range(draw.randrange(3))]
        cells.add(Run(Row(row), records), RunScore((), draw.choice([None, 0.25, 0.75]), passed))
    return cells


def test_cells_in_a_file_are_those_in_memory():
    """
    Breakdown, repeats and comparison are the same with three cells in memory at a time.
    """
    before, after = _cells(1, 10_000), _cells(2, 10_000)
    spilled_before, spilled_after = _cells(1, 3), _cells(2, 3)

    assert _rounded(spilled_after.by_input()) == _rounded(after.by_input())
    assert _rounded(spilled_after.repeats()) == _rounded(after.repeats())
    found, expected = compared(spilled_before, spilled_after), compared(before, after)
    assert _rounded(found.as_json()) == _rounded(expected.as_json())


def _rounded(value):
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 9))


def test_texts_and_trajectories_that_are_all_different_do_not_accumulate():
    """
    The frequent ones keep their counts.
    """
    counts, cells = Frequent(), Cells()
    for number in range(3 * MOST_TEXTS):
        counts.add(f"took {number} ms")
        counts.add("failed")
    for number in range(2 * MOST_TRAJECTORIES):
        run = Run(Row({"trace_id": "t", "input": "a"}), [{"type": "TOOL", "name": f"tool {number}"}])
        cells.add(run, RunScore((), 1.0, True))

    assert len(counts) <= MOST_TEXTS
    assert counts["failed"] == 3 * MOST_TEXTS
    assert len(cells.get(("a", None)).trajectories) == MOST_TRAJECTORIES
