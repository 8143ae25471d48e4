"""
Score runs with the evaluators of a configuration, one batch at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import islice

from ...client import default
from ...redaction import MASK, Redactor
from ..run_data import Run
from .configuration import EvaluationConfig, RuleEvaluator
from .judge_requests import Endpoints
from .judges import Cache, JudgeClient
from .scores import RuleResult, RunScore, Score
from .time_limits import EvaluatorTimeoutError, TimeLimit

BATCH = 64
"""Runs whose judges run at the same time; the memory of an evaluation is that of a batch."""


class Scorer:
    """
    Applies the evaluators of *config*.

    Args:
        config: The configuration.
        cache: The cache of the judges.
        api_key: The key of the judges; None reads the environment.
    """

    def __init__(self, config: EvaluationConfig, cache: Cache | None = None, api_key: str | None = None) -> None:
        self.llm_calls = 0
        """Requests that judges sent."""
        self._config = config
        self._cache = cache or Cache(None)
        self._api_key = api_key
        self._endpoints: Endpoints | None = None
        self._redactor = default.recorder.redactor
        self._weights = {name: 1.0 if config.method == "average" else weight for name, weight in config.weights}

    def scored(self, runs: Iterable[Run]) -> Iterator[tuple[Run, RunScore]]:
        """Yield each run with its scores, in the order of *runs*. Must not be called inside a running event loop."""
        with TimeLimit(self._config.limits.evaluator_timeout_s) as self._limit:
            yield from self._all_scored(iter(runs))

    def _all_scored(self, remaining: Iterator[Run]) -> Iterator[tuple[Run, RunScore]]:
        if not self._config.code_evaluators and not self._config.judges:
            for run in remaining:
                yield run, self._combined(run, self._by_rules(run))
            return
        with asyncio.Runner() as runner:
            # `Runner.run` cancels a task on Ctrl-C, which an evaluator that blocks would never notice.
            run_in_loop = runner.get_loop().run_until_complete
            while batch := list(islice(remaining, BATCH)):
                yield from run_in_loop(self._batch(batch))

    async def _batch(self, runs: Sequence[Run]) -> list[tuple[Run, RunScore]]:
        if not self._config.judges:
            return [(run, self._combined(run, await self._own(run))) for run in runs]
        # Before the judges: an evaluator that blocks the loop would use up the time of their requests.
        own = await asyncio.gather(*(self._own(run) for run in runs))
        limits, self._endpoints = self._config.limits, self._endpoints or Endpoints()
        left = None if limits.max_llm_calls is None else max(0, limits.max_llm_calls - self.llm_calls)
        async with JudgeClient(
            self._cache,
            api_key=self._api_key,
            concurrency=limits.concurrency,
            timeout_s=limits.timeout_s,
            max_calls=left,
            endpoints=self._endpoints,
        ) as client:
            judged = await asyncio.gather(*(self._judged(run, client) for run in runs))
            self.llm_calls += client.calls
        return [(run, self._combined(run, [*one, *two])) for run, one, two in zip(runs, own, judged, strict=True)]

    async def _own(self, run: Run) -> list[Score]:
        scores = self._by_rules(run)
        for one in self._config.code_evaluators:
            scores += [self._masked(score) for score in await one.evaluator.scores(run, self._limit)]
        return scores

    async def _judged(self, run: Run, client: JudgeClient) -> list[Score]:
        if self._is_sampled(run):
            scores = await asyncio.gather(*(client.score(judge, run) for judge in self._config.judges))
            return [self._masked(score) for score in scores]
        reason = "not in the sample of limits.sample_rate"
        return [Score(judge.name, skipped=True, reason=reason) for judge in self._config.judges]

    def _masked(self, score: Score) -> Score:
        """Return *score* without the secrets that an exception or the answer of an endpoint may have, such as a key."""
        redactor = self._redactor
        if redactor is None or not (score.reason or score.error or score.label):
            return score
        return score._replace(
            reason=_clean(redactor, score.reason),
            error=score.error and _clean(redactor, score.error),
            label=score.label and _clean(redactor, score.label),
        )

    def _is_sampled(self, run: Run) -> bool:
        rate = self._config.limits.sample_rate
        if rate >= 1:
            return True
        digest = sha256(run.row.trace_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < rate

    def _by_rules(self, run: Run) -> list[Score]:
        scores = []
        for evaluator in self._config.rule_evaluators:
            try:  # the time of a regular expression can grow exponentially with the text
                scores.append(self._limit.called(evaluator.name, partial(_rule_score, evaluator, run)))
            except EvaluatorTimeoutError as error:
                scores.append(Score(evaluator.name, error=str(error)))
        return scores

    def _combined(self, run: Run, scores: list[Score]) -> RunScore:
        # An evaluator may return several scores under other names.
        weighted = [(self._weights.get(one.name, 1.0), one.score) for one in scores if one.score is not None]
        total = sum([weight for weight, _ in weighted])
        final = sum([weight * score for weight, score in weighted]) / total if total else None
        threshold = self._config.threshold
        reasons: dict[str, str] = {}
        if not run.succeeded:
            reasons["run"] = f"the run ended with {run.status}: {run.error or 'no message'}"
        failed = False
        scores = _with_names_of_their_own(scores)
        for score in scores:
            if score.passed is False or (score.score is not None and score.score < threshold):
                reasons[score.name] = _reason(score)
                failed = failed or (score.required and score.passed is False)
        passed = run.succeeded and not failed and (final is None or final >= threshold - 1e-9)
        return RunScore(tuple(scores), final, passed, reasons)


def _clean(redactor: Redactor, text: str) -> str:
    clean, _ = redactor.redact(text)
    return clean if isinstance(clean, str) else MASK  # the user's hook may return anything


def _with_names_of_their_own(scores: list[Score]) -> list[Score]:
    """Return *scores* with a number after each name that occurred before: results are kept by name."""
    if len({one.name for one in scores}) == len(scores):
        return scores
    counts: Counter[str] = Counter()
    found = []
    for one in scores:
        counts[one.name] += 1
        number = counts[one.name]
        found.append(one if number == 1 else one._replace(name=f"{one.name} ({number})"))
    return found


def _rule_score(evaluator: RuleEvaluator, run: Run) -> Score:
    results: list[RuleResult] = []
    total = weights = 0.0
    passed, required_failed = True, False
    for rule in evaluator.rules:
        result = rule.applied(run)
        if result is None:
            continue
        results.append(result)
        if result.score is not None:
            total += rule.weight * result.score
            weights += rule.weight
            if not result.passed:
                passed = False
                required_failed |= rule.required
    if not weights:
        return Score(evaluator.name, skipped=True, reason="no rule applies", rules=tuple(results))
    return Score(evaluator.name, total / weights, passed, rules=tuple(results), required=required_failed)


def _reason(score: Score) -> str:
    failed = [f"{one.rule}: {one.reason}" for one in score.rules if one.passed is False]
    return "; ".join(failed) or score.reason or (score.label or f"score {score.score}")
