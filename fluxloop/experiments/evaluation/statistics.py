"""
Statistics of repeated runs and of comparisons: pure functions of numbers.

Random draws use a fixed seed, so that the same runs always give the same intervals.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from math import comb, erf, sqrt

SEED = 20260117
"""The seed of the bootstrap and of the permutation test."""

RESAMPLES = 2_000
"""Resamples of the bootstrap, and sign changes that the permutation test tries where it cannot try all."""

LARGEST_BOOTSTRAP = 500
"""Values up to which intervals are bootstrapped; the normal distribution gives the same for more, faster."""

MOST_EXACT_PAIRS = 12
"""Pairs up to which the permutation test tries every change of signs (4,096 of them)."""

Z_95 = 1.959964


Interval = tuple[float, float]
"""A confidence interval of 95 %: its low and its high end."""


def mean(values: Sequence[float]) -> float:
    """Return the mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def variance(values: Sequence[float]) -> float:
    """Return the sample variance; 0 of fewer than two values."""
    if len(values) < 2:
        return 0.0
    center = mean(values)
    return sum((value - center) ** 2 for value in values) / (len(values) - 1)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value below which *percent* of the *ordered* values lie, interpolated."""
    low, share = position(len(ordered), percent)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * share


def position(count: int, percent: float) -> tuple[int, float]:
    """Return where a percentile lies among *count* ordered values: after an index, and how far to the next one."""
    place = (count - 1) * percent / 100
    return int(place), place - int(place)


def pass_at_k(runs: int, passed: int, k: int) -> float:
    """
    Return the probability that at least one of *k* runs passes, estimated from *passed* of *runs*.

    The unbiased estimator of Chen et al., "Evaluating Large Language Models Trained on Code" (2021).
    """
    return 1 - comb(runs - passed, k) / comb(runs, k)


def pass_hat_k(runs: int, passed: int, k: int) -> float:
    """Return the probability that all of *k* runs pass (pass^k of tau-bench), estimated from *passed* of *runs*."""
    return comb(passed, k) / comb(runs, k)


def wilson(passed: int, runs: int) -> Interval | None:
    """Return the interval of a rate by Wilson's score, which is valid for few runs and for rates of 0 and 1."""
    if not runs:
        return None
    rate, spread = passed / runs, Z_95**2 / runs
    center = (rate + spread / 2) / (1 + spread)
    half = Z_95 * sqrt(rate * (1 - rate) / runs + spread / (4 * runs)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the interval of the mean: bootstrapped, or normal for many values; None for fewer than two values."""
    if len(values) < 2:
        return None
    center = mean(values)
    if len(values) > LARGEST_BOOTSTRAP:
        half = Z_95 * sqrt(variance(values) / len(values))
        return center - half, center + half
    draw = random.Random(SEED)
    means = sorted(sum(draw.choices(values, k=len(values))) / len(values) for _ in range(RESAMPLES))
    return percentile(means, 2.5), percentile(means, 97.5)


def paired_p_value(differences: Sequence[float]) -> float | None:
    """
    Return the probability of a mean difference this far from 0 if both sides were alike.

    A two-sided sign-flip permutation test: exact for few pairs, with random sign changes for more, and with the normal
    distribution for more than `LARGEST_BOOTSTRAP`. None for fewer than two pairs; 1.0 where all pairs are equal.
    """
    changed = [difference for difference in differences if difference]
    if len(differences) < 2:
        return None
    if not changed:
        return 1.0
    if len(changed) > LARGEST_BOOTSTRAP:
        return normal_p_value(sum(changed), sum(difference**2 for difference in changed))
    return sign_flip_p_value(changed)


def normal_p_value(total: float, squares: float) -> float:
    """Return `paired_p_value` by the normal distribution, of the sum of the differences and that of their squares."""
    return 1 - erf(abs(total) / sqrt(squares) / sqrt(2))


def sign_flip_p_value(changed: Sequence[float]) -> float:
    """Return `paired_p_value` by changes of signs, of the differences that are not 0."""
    observed = abs(sum(changed))
    tolerance = observed * (1 - 1e-12)
    if len(changed) <= MOST_EXACT_PAIRS:
        totals = _all_sums(changed)
        return sum(abs(total) >= tolerance for total in totals) / len(totals)
    draw = random.Random(SEED)
    count = 1  # the observed signs are one of the possible changes
    for _ in range(RESAMPLES):
        bits = draw.getrandbits(len(changed))
        total = sum(value if bits >> position & 1 else -value for position, value in enumerate(changed))
        count += abs(total) >= tolerance
    return count / (RESAMPLES + 1)


def _all_sums(values: Iterable[float]) -> list[float]:
    totals = [0.0]
    for value in values:
        totals = [total + signed for total in totals for signed in (value, -value)]
    return totals
