"""
The statistics against definitions that are computed another way.
"""

from __future__ import annotations

from itertools import combinations, product

import pytest

from fluxloop.experiments.evaluation import statistics


@pytest.mark.parametrize(("runs", "passed"), [(4, 0), (4, 1), (5, 3), (6, 6)])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_pass_at_k_and_pass_hat_k_are_shares_of_all_choices(runs, passed, k):
    """
    pass@k is the share of choices of k runs with one that passed, pass^k that of choices in which all passed.
    """
    outcomes = [True] * passed + [False] * (runs - passed)
    choices = [[outcomes[place] for place in places] for places in combinations(range(runs), k)]

    assert statistics.pass_at_k(runs, passed, k) == pytest.approx(sum(map(any, choices)) / len(choices))
    assert statistics.pass_hat_k(runs, passed, k) == pytest.approx(sum(map(all, choices)) / len(choices))


def test_the_paired_test_counts_changes_of_signs():
    """
    For few pairs the probability is the share of all changes of signs whose sum is as large as the observed one.
    """
    differences = [0.5, -0.25, 0.75, 1.0]
    sums = [
        sum(value * sign for value, sign in zip(differences, signs, strict=True))
        for signs in product((1, -1), repeat=4)
    ]
    expected = sum(abs(total) >= abs(sum(differences)) for total in sums) / len(sums)

    assert statistics.paired_p_value(differences) == expected
    assert statistics.paired_p_value([0.0, 0.0]) == 1.0
    assert statistics.paired_p_value([0.5]) is None


@pytest.mark.parametrize("count", [30, 2_000])
def test_the_paired_test_of_many_pairs_finds_a_shift_and_no_other(count):
    """
    The random and the normal version agree with what the exact one means: a shift is significant, noise is not.
    """
    noise = [(-1) ** place * (1 + place % 7) / 10 for place in range(count)]

    assert statistics.paired_p_value(noise) > 0.4
    assert statistics.paired_p_value([value + 0.5 for value in noise]) < 0.01


@pytest.mark.parametrize("count", [40, 3_000])
def test_the_interval_of_a_mean_covers_it_and_is_always_the_same(count):
    """
    Bootstrapped or normal, the interval has about 1.96 standard errors on each side.
    """
    values = [float(place % 10) for place in range(count)]
    error = (statistics.variance(values) / count) ** 0.5

    low, high = statistics.mean_interval(values)

    assert low < statistics.mean(values) < high
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (low, high) == statistics.mean_interval(values)
    assert statistics.mean_interval([1.0]) is None


def test_the_interval_of_a_rate_stays_between_0_and_1():
    """
    Wilson's interval, here against published values for 0 of 10 and 9 of 10.
    """
    assert statistics.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert statistics.wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert statistics.wilson(0, 0) is None


def test_percentiles_are_interpolated():
    """
    As numpy's default method.
    """
    assert statistics.percentile([1, 2, 3, 4], 50) == 2.5
    assert statistics.percentile([5], 95) == 5
    assert statistics.percentile([0, 10], 95) == pytest.approx(9.5)
