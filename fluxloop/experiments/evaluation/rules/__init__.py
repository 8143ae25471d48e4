"""
Rules: checks of a run that need no model, by the name that a configuration uses.

A rule is a function of a `Run` and of the options in the configuration. Its signature is the list of options: unknown
and missing ones are reported with the file and line. An option can be taken from the run itself, such as the expected
tools of an input: ``{from: metadata.tools}``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ....errors import ConfigError
from ....settings.value_types import did_you_mean
from ...run_data import Run
from ..scores import NotApplicable, RuleResult, Verdict
from . import budgets, structure, texts, tools, trajectories
from .option_types import check_option
from .values import value_at

Check = Callable[..., Verdict]

RULES: Mapping[str, Check] = {
    "success": budgets.success,
    "no_errors": budgets.no_errors,
    "no_unfinished": budgets.no_unfinished,
    "latency_under": budgets.latency_under,
    "token_usage_under": budgets.token_usage_under,
    "cost_under": budgets.cost_under,
    "model_calls_at_most": budgets.model_calls_at_most,
    "output_not_empty": texts.output_not_empty,
    "contains": texts.contains,
    "not_contains": texts.not_contains,
    "matches_regex": texts.matches_regex,
    "not_matches_regex": texts.not_matches_regex,
    "equals": texts.equals,
    "similarity": texts.similarity,
    "json_schema": structure.json_schema,
    "tool_called": tools.tool_called,
    "tool_not_called": tools.tool_not_called,
    "tool_before": tools.tool_before,
    "tool_calls_at_most": tools.tool_calls_at_most,
    "trajectory": trajectories.trajectory,
}
"""Every rule. Each is described, with an example, in docs/evaluation.md."""

PREPARATIONS: Mapping[str, Callable[[dict[str, Any], Path], None]] = {
    "matches_regex": texts.compile_pattern,
    "not_matches_regex": texts.compile_pattern,
    "json_schema": structure.load_schema,
}
"""Functions that check the options of a rule and convert them once; each raises `ValueError` for what it rejects."""

COMMON = {"check", "rule", "name", "weight", "required", "only"}
"""Options that every rule has; ``rule`` is another name of ``check``."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its options, checked."""

    name: str
    check: Check
    options: Mapping[str, Any]
    weight: float = 1.0
    required: bool = False
    """Whether a run fails if this rule does, whatever its other scores."""
    only: Mapping[str, Any] | None = None
    """The runs it applies to: values that members of the row must have, by path."""
    has_references: bool = False
    """Whether an option may refer to a value of the run."""

    def applied(self, run: Run) -> RuleResult | None:
        """Return what the rule finds in *run*; None if it is not for this run."""
        if self.only and not all(_is_one_of(value_at(run, path), value) for path, value in self.only.items()):
            return None
        try:
            score, passed, reason = self.check(run, **(self._options(run) if self.has_references else self.options))
        except NotApplicable as cause:
            return RuleResult(self.name, None, None, f"not applicable: {cause}")
        except Exception as error:  # of a library, for an option or a value that it does not take
            return RuleResult(self.name, 0.0, False, f"{type(error).__name__}: {error}")
        return RuleResult(self.name, score, passed, reason)

    def _options(self, run: Run) -> Mapping[str, Any]:
        """Return the options, with the values of the run that they refer to."""
        return {name: _resolved(run, option) for name, option in self.options.items()}


def rule_of(given: Any, base: Path, place: str) -> Rule:
    """
    Return the rule that *given*, an entry of ``rules``, describes: a name, or a mapping with ``check``.

    Args:
        given: As it was read. ``{tool_called: {tool: search}}`` and ``{check: tool_called, tool: search}`` are equal.
        base: The folder that relative paths start from.
        place: Where it was read, for messages.

    Raises:
        ConfigError: If the rule or an option is unknown, missing or not valid.
    """
    fields = _fields(given, place)
    name = str(fields.get("check", fields.get("rule")))
    if name not in RULES:
        raise ConfigError(f"{place}: unknown rule {name!r}{did_you_mean(name, RULES)} (accepted: {', '.join(RULES)})")
    check = RULES[name]
    options = {key: value for key, value in fields.items() if key not in COMMON or _takes(check, key)}
    options.pop("check", None)
    options.pop("rule", None)
    _check_options(name, check, options, place)
    try:
        for option, value in options.items():
            if not _is_reference(value):
                check_option(check, option, value)
        if prepare := PREPARATIONS.get(name):
            prepare(options, base)
        weight = float(fields.get("weight", 1.0))
        if not isfinite(weight):
            raise ValueError(f"weight must be a finite number, got {weight}")
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{place}: {name}: {error}") from None
    if weight < 0:
        raise ConfigError(f"{place}: {name}: weight must be 0 or more, got {weight}")
    only = fields.get("only")
    if only is not None and not isinstance(only, Mapping):
        raise ConfigError(f"{place}: {name}: only must be a mapping such as {{persona: expert}}, got {only!r}")
    is_required = bool(fields.get("required", False))
    has_references = any(type(option) is dict for option in options.values())
    return Rule(_title(name, check, fields), check, options, weight, is_required, only, has_references)


def _fields(given: Any, place: str) -> dict[str, Any]:
    if isinstance(given, str):
        return {"check": given}
    if isinstance(given, Mapping) and not {"check", "rule"} & given.keys() and len(given) == 1:
        ((name, options),) = given.items()
        if options is None or isinstance(options, Mapping):
            return {**(options or {}), "check": name}
    if isinstance(given, Mapping) and {"check", "rule"} & given.keys():
        return dict(given)
    raise ConfigError(f"{place}: a rule must be a name or a mapping with 'check', got {given!r:.80}")


def _takes(check: Check, name: str) -> bool:
    return name in inspect.signature(check).parameters


def _check_options(name: str, check: Check, options: Mapping[str, Any], place: str) -> None:
    parameters = [*inspect.signature(check).parameters.values()][1:]
    names = [one.name for one in parameters]
    for option in options:
        if option not in names:
            accepted = ", ".join([*names, *sorted(COMMON - {"rule"})])
            raise ConfigError(
                f"{place}: {name} has no option {option!r}{did_you_mean(option, names)} (accepted: {accepted})"
            )
    missing = [one.name for one in parameters if one.default is one.empty and one.name not in options]
    if missing:
        raise ConfigError(f"{place}: {name} needs {' and '.join(missing)}")


def _title(name: str, check: Check, fields: Mapping[str, Any]) -> str:
    """Return the name in results: the given one, or the rule with its first option."""
    if "name" in fields and not _takes(check, "name"):
        return str(fields["name"])
    parameters = [*inspect.signature(check).parameters][1:]
    first = fields.get(parameters[0]) if parameters else None
    return f"{name} {first}" if isinstance(first, str) and first != "output" and len(first) < 40 else name


def _is_reference(option: Any) -> bool:
    return isinstance(option, Mapping) and option.keys() == {"from"}


def _resolved(run: Run, option: Any) -> Any:
    """Return *option*, or the value of the run that it refers to."""
    if not _is_reference(option):
        return option
    value = value_at(run, str(option["from"]))
    if value is None:
        raise NotApplicable(f"the run has no value at {option['from']}")
    return value


def _is_one_of(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list) else value == wanted
