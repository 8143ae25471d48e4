"""
The configuration of an evaluation: ``evaluation.yaml``, or the same in Python, checked.

Every key of the published packages is accepted; those that have no effect are reported once. A mistake is reported with
the file, the line and what is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...settings.value_types import did_you_mean, shown
from ..configuration.models import MOST
from ..configuration.yaml_files import YamlFile, read_yaml
from .conventions import CodeEvaluator, evaluator_of
from .imports import imported
from .judge_answers import PARSERS
from .judges import DEFAULT_PROMPT, Judge
from .rules import Rule, rule_of

FILE_NAMES = ("configs/evaluation.yaml", "evaluation.yaml")
"""Where the configuration is looked for, in the working directory."""

DEFAULT_THRESHOLD = 0.7
"""The score from which a run passes."""

DEFAULT_RULES = ("success", "output_not_empty", "no_unfinished")
"""The rules without a configuration."""


@dataclass(frozen=True, slots=True)
class RuleEvaluator:
    """Rules that make up one score: their weighted mean."""

    name: str
    rules: tuple[Rule, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Weighted:
    """A `CodeEvaluator` and its weight."""

    evaluator: CodeEvaluator
    weight: float = 1.0

    @property
    def name(self) -> str:
        """The name of the evaluator."""
        return self.evaluator.name


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of calls of judges and evaluators."""

    sample_rate: float = 1.0
    """The share of the runs that judges see; always the same ones."""
    max_llm_calls: int | None = None
    timeout_s: float = 60.0
    evaluator_timeout_s: float = 300.0
    concurrency: int = 8
    cache: bool = True


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What an evaluation does."""

    rule_evaluators: tuple[RuleEvaluator, ...] = ()
    code_evaluators: tuple[Weighted, ...] = ()
    judges: tuple[Judge, ...] = ()
    goal: str = ""
    method: str = "weighted_sum"
    """``weighted_sum``, the weighted mean of the scores, or ``average``."""
    threshold: float = DEFAULT_THRESHOLD
    limits: Limits = field(default_factory=Limits)
    success_criteria: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    report: str = "both"
    """``html``, ``md`` or ``both``."""
    source: str = "defaults"
    """The file, for the report."""
    notices: tuple[str, ...] = ()
    """What in the configuration has no effect."""

    @property
    def weights(self) -> list[tuple[str, float]]:
        """The name and the weight of each evaluator."""
        found = [(one.name, one.weight) for one in self.rule_evaluators]
        found += [(one.name, one.weight) for one in self.code_evaluators]
        return found + [(one.name, one.weight) for one in self.judges]

    @property
    def names(self) -> list[str]:
        """The names of the evaluators."""
        return [name for name, _ in self.weights]


def default_config() -> EvaluationConfig:
    """Return the configuration where there is none: the run succeeded, and has an output."""
    rules = tuple(rule_of(name, Path(), "defaults") for name in DEFAULT_RULES)
    return EvaluationConfig((RuleEvaluator("completed", rules),))


def find_config(folder: Path | None = None) -> Path | None:
    """Return the first of `FILE_NAMES` that exists in *folder*, by default the working directory."""
    return next((path for name in FILE_NAMES if (path := (folder or Path()) / name).is_file()), None)


def load_config(given: str | Path | Mapping[str, Any] | None) -> EvaluationConfig:
    """
    Return the configuration at the path *given*, or in the mapping *given*; None searches `FILE_NAMES`.

    Raises:
        ConfigError: If it cannot be read or has a mistake.
    """
    if isinstance(given, Mapping):
        return _Reader(YamlFile(Path("config"), dict(given), {}), Path()).config()
    path = Path(given) if given is not None else find_config()
    if path is None:
        return default_config()
    if path.is_dir():
        path = next(
            (found for found in (path / "evaluation.yaml", path / "configs/evaluation.yaml") if found.is_file()), path
        )
    file = read_yaml(path)
    if "evaluation" in file.data and "evaluators" not in file.data:  # a file with all sections
        inner = {location[1:]: line for location, line in file.lines.items() if location[:1] == ("evaluation",)}
        file = YamlFile(path, file.data["evaluation"] or {}, inner)
    return _Reader(file, path.resolve().parent).config()


KEYS: Mapping[str, Iterable[str]] = {
    "": (
        "evaluation_goal", "evaluators", "rules", "aggregate", "limits", "success_criteria", "additional_analysis",
        "report", "advanced", "threshold", "metrics", "efficiency", "output", "name", "description",
    ),
    "aggregate": ("method", "threshold", "by_persona"),
    "limits": ("sample_rate", "max_llm_calls", "timeout_seconds", "evaluator_timeout_seconds", "cache", "concurrency"),
    "report": ("style", "sections", "visualizations", "tone", "output", "template_path"),
    "evaluator": ("name", "type", "enabled", "weight"),
    "rule_based": ("rules",),
    "llm_judge": (
        "model", "model_parameters", "prompt_template", "max_score", "parser", "base_url", "api_key_env",
    ),
    "python": ("target", "arguments", "max_score", "labels"),
}  # fmt: skip
"""The keys of each section. ``metadata`` is accepted in every evaluator."""

WITHOUT_EFFECT: Mapping[str, Iterable[str]] = {
    "": ("metrics", "efficiency", "output", "advanced"),
    "report": ("style", "sections", "visualizations", "tone", "template_path"),
}
"""Keys of the published packages that have no effect here."""


class _Reader:
    """Turns the content of a file into a configuration; every error has its place."""

    def __init__(self, file: YamlFile, base: Path) -> None:
        self._file = file
        self._base = base
        self._notices: list[str] = []

    def config(self) -> EvaluationConfig:
        data = self._file.data
        self._check_keys(data, "", ())
        aggregate, report = self._section("aggregate"), self._section("report")
        entries = data.get("evaluators") or []
        if not isinstance(entries, list):
            raise self._error(("evaluators",), f"evaluators must be a list, got {shown(entries)}")
        found = [one for number, entry in enumerate(entries) if (one := self._evaluator(entry, number)) is not None]
        if rules := data.get("rules"):
            found.insert(0, RuleEvaluator("rules", self._rules(rules, ("rules",))))
        self._check_names(found)
        goal = data.get("evaluation_goal") or ""
        if not found:
            found = [*default_config().rule_evaluators]
        return EvaluationConfig(
            rule_evaluators=tuple(one for one in found if isinstance(one, RuleEvaluator)),
            code_evaluators=tuple(one for one in found if isinstance(one, Weighted)),
            judges=tuple(one for one in found if isinstance(one, Judge)),
            goal=str(goal.get("text", "")) if isinstance(goal, Mapping) else str(goal),
            method=self._choice(aggregate, ("aggregate", "method"), ("weighted_sum", "average")),
            threshold=self._threshold(aggregate),
            limits=self._limits(),
            success_criteria=self._section("success_criteria"),
            baseline=self._baseline(),
            report=self._choice(report, ("report", "output"), ("both", "html", "md")),
            source=str(self._file.path),
            notices=tuple(self._notices),
        )

    def _evaluator(self, entry: Any, number: int) -> RuleEvaluator | Judge | Weighted | None:
        location = ("evaluators", number)
        if not isinstance(entry, Mapping):
            raise self._error(location, f"an evaluator must be a mapping with name and type, got {shown(entry)}")
        kind = entry.get("type") or next((kind for key, kind in _KIND_BY_KEY.items() if key in entry), "rule_based")
        if kind not in _MAKERS:
            raise self._error(
                (*location, "type"),
                f"type must be one of {', '.join(_MAKERS)}, got {shown(kind)}{did_you_mean(str(kind), _MAKERS)}",
            )
        self._check_keys(entry, kind, location)
        if entry.get("enabled", True) is False:
            return None
        name = str(entry.get("name") or kind)
        weight = self._number(entry, "weight", 1.0, location, low=0.0)
        return _MAKERS[kind](self, entry, name, weight, location)

    def _rule_evaluator(self, entry: Mapping[str, Any], name: str, weight: float, location: Any) -> RuleEvaluator:
        return RuleEvaluator(name, self._rules(entry.get("rules") or [], (*location, "rules")), weight)

    def _judge(self, entry: Mapping[str, Any], name: str, weight: float, location: Any) -> Judge:
        model = entry.get("model")
        if not isinstance(model, str) or not model:
            raise self._error(location, f"evaluator {name!r} needs model, such as gpt-5-mini")
        parser = entry.get("parser", "first_number_1_10")
        if parser not in PARSERS:
            raise self._error((*location, "parser"), f"parser must be one of {', '.join(PARSERS)}, got {shown(parser)}")
        parameters = entry.get("model_parameters") or {}
        metadata = entry.get("metadata") or {}
        for key, value in (("model_parameters", parameters), ("metadata", metadata)):
            if not isinstance(value, Mapping):
                raise self._error((*location, key), f"{key} must be a mapping, got {shown(value)}")
        return Judge(
            name=name,
            model=model,
            prompt=str(entry.get("prompt_template") or DEFAULT_PROMPT),
            parser=parser,
            max_score=self._number(entry, "max_score", 10.0, location, low=1e-9),
            parameters=parameters,
            base_url=entry.get("base_url"),
            api_key_env=entry.get("api_key_env"),
            weight=weight,
            metadata=metadata,
        )

    def _code(self, entry: Mapping[str, Any], name: str, weight: float, location: Any) -> Weighted:
        target = entry.get("target")
        if not isinstance(target, str):
            raise self._error(location, f"evaluator {name!r} needs target, such as my_evals:is_polite")
        max_score = self._number(entry, "max_score", 1.0, location, low=1e-9)
        labels = entry.get("labels") or {}
        try:
            found = imported(target, self._base)
            if "arguments" in entry:
                found = found(**entry["arguments"])
            own = str(entry["name"]) if "name" in entry else None
            return Weighted(evaluator_of(found, own, max_score=max_score, labels=labels), weight)
        except (Exception, SystemExit) as error:  # the module or the factory may raise anything
            raise self._error((*location, "target"), f"{target}: {_described(error)}") from None

    def _rules(self, entries: Any, location: Any) -> tuple[Rule, ...]:
        if not isinstance(entries, list) or not entries:
            raise self._error(location, f"rules must be a list with at least one rule, got {shown(entries)}")
        return tuple(
            rule_of(entry, self._base, self._file.place((*location, number))) for number, entry in enumerate(entries)
        )

    def _limits(self) -> Limits:
        limits = self._section("limits")
        calls = limits.get("max_llm_calls")
        if calls is not None and (isinstance(calls, bool) or not isinstance(calls, int) or calls < 0):
            raise self._error(("limits", "max_llm_calls"), f"max_llm_calls must be 0 or more, got {shown(calls)}")
        return Limits(
            sample_rate=self._number(limits, "sample_rate", 1.0, ("limits",), low=0.0, high=1.0),
            max_llm_calls=calls,
            timeout_s=self._number(limits, "timeout_seconds", 60.0, ("limits",), low=0.001),
            evaluator_timeout_s=self._number(limits, "evaluator_timeout_seconds", 300.0, ("limits",), low=0.001),
            concurrency=int(self._number(limits, "concurrency", 8, ("limits",), low=1)),
            cache=limits.get("cache", True) is not False,
        )

    def _threshold(self, aggregate: Mapping[str, Any]) -> float:
        if "threshold" in aggregate:
            return self._number(aggregate, "threshold", DEFAULT_THRESHOLD, ("aggregate",), low=0.0, high=1.0)
        return self._number(self._file.data, "threshold", DEFAULT_THRESHOLD, (), low=0.0, high=1.0)

    def _baseline(self) -> str | None:
        comparison = (self._section("additional_analysis").get("comparison")) or {}
        if isinstance(comparison, Mapping) and comparison.get("enabled", True) and comparison.get("baseline_path"):
            return str(self._base / str(comparison["baseline_path"]))
        return None

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self._file.data.get(name) or {}
        if not isinstance(section, Mapping):
            raise self._error((name,), f"{name} must be a mapping, got {shown(section)}")
        if name in KEYS:
            self._check_keys(section, name, (name,))
        return section

    def _check_keys(self, data: Mapping[str, Any], section: str, location: Any) -> None:
        accepted = [*KEYS[section]]
        if section in _MAKERS:
            accepted = [*KEYS["evaluator"], *accepted, "metadata"]
        for key in data:
            if key not in accepted:
                raise self._error(
                    (*location, key),
                    f"unknown key {key!r}{did_you_mean(key, accepted)} (accepted: {', '.join(accepted)})",
                )
            if key in WITHOUT_EFFECT.get(section, ()):
                notice = f"{self._file.place((*location, key))}: {key} has no effect"
                self._notices += [notice] if notice not in self._notices else []

    def _check_names(self, found: Iterable[RuleEvaluator | Judge | Weighted]) -> None:
        names = [one.name for one in found]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise self._error(("evaluators",), f"two evaluators have the name {twice!r}; give each its own")

    def _number(
        self, data: Mapping[str, Any], key: str, default: float, location: Any, *, low: float, high: float | None = None
    ) -> float:
        value = data.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= (MOST if high is None else high):
            span = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
            raise self._error((*location, key), f"{key} must be a number {span}, got {shown(value)}")
        return float(value)

    def _choice(self, data: Mapping[str, Any], location: tuple[str, str], accepted: tuple[str, ...]) -> str:
        value = data.get(location[1], accepted[0])
        if value not in accepted:
            raise self._error(location, f"{location[1]} must be one of {', '.join(accepted)}, got {shown(value)}")
        return str(value)

    def _error(self, location: Any, message: str) -> ConfigError:
        return ConfigError(f"{self._file.place(tuple(location))}: {message}")


_MAKERS: Mapping[str, Callable[..., RuleEvaluator | Judge | Weighted]] = {
    "rule_based": _Reader._rule_evaluator,
    "llm_judge": _Reader._judge,
    "python": _Reader._code,
}
"""The types of evaluators."""

_KIND_BY_KEY = {"rules": "rule_based", "target": "python", "model": "llm_judge", "prompt_template": "llm_judge"}
"""The type of an evaluator that states none, by a key that it has."""


def _described(error: BaseException) -> str:
    return str(error) if isinstance(error, ConfigError | TypeError) else f"{type(error).__name__}: {error}"
