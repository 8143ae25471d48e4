"""
Call evaluators that were written for other libraries, as they are.

An evaluator is a function or an object. The names of its parameters decide what it receives: ``inputs``, ``outputs``
and ``reference_outputs`` for LangSmith, openevals and agentevals, ``input``, ``output`` and ``expected`` for autoevals.
Objects of pydantic-evals and DeepEval receive the context or the test case of their library.

What it returns becomes a `Score`: a bool is a check, a number a score, a text a label; a mapping or an object has
``score`` or ``value``, ``key`` or ``name``, ``comment``, ``reason`` or ``rationale``; a list has several of them.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...interruptions import was_raised_by_a_value
from ...tracing.outcomes import message_of
from ..run_data import Run
from .result_values import scores_of
from .scores import Score
from .time_limits import TimeLimit

Call = Callable[[Run], Any]
"""Calls an evaluator for a run, and returns what it returns: a value, or something to await."""


@dataclass(frozen=True, slots=True)
class CodeEvaluator:
    """An evaluator in Python, ready to be called."""

    name: str
    call: Call
    max_score: float = 1.0
    """What counts as 1.0, for evaluators that return numbers on another scale."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """The scores of labels."""

    async def scores(self, run: Run, limit: TimeLimit) -> list[Score]:
        """Return what the evaluator finds in *run*. Its exceptions become scores with an error."""
        try:
            result = limit.called(self.name, lambda: self.call(run))
            if isinstance(result, Awaitable):
                result = await limit.awaited(self.name, result)
            return scores_of(result, self.name, self.max_score, self.labels)
        except BaseException as error:  # one failure of an evaluator must not end the evaluation
            if not _is_of_evaluator(error):
                raise
            return [Score(self.name, error=f"{type(error).__name__}: {message_of(error)}")]


def _is_of_evaluator(error: BaseException) -> bool:
    """
    Whether an evaluator raised *error*, also a `BaseException` such as that of ``pytest.fail``.

    Otherwise it ends the evaluation: Ctrl-C, a signal, the cancellation of the task.
    """
    if isinstance(error, Exception | SystemExit):
        return True
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or not task.cancelling()
    return not isinstance(error, KeyboardInterrupt) and was_raised_by_a_value(error)


def evaluator_of(
    given: Any, name: str | None = None, *, max_score: float = 1.0, labels: Mapping[str, float] | None = None
) -> CodeEvaluator:
    """
    Return *given*, an evaluator of any convention, ready to be called.

    Raises:
        TypeError: If it cannot be called, or has a parameter without a default that no run has a value for.
    """
    for is_one, adapt in _OBJECTS:
        if is_one(given):
            given = given() if inspect.isclass(given) else given
            return CodeEvaluator(name or _name_of(given), adapt(given), max_score, labels or {})
    if inspect.isclass(given):
        given = given()
    if not callable(given):
        raise TypeError(f"an evaluator must be a function or an object with a known method, got {given!r:.80}")
    return CodeEvaluator(name or _name_of(given), _function(given), max_score, labels or {})


# Objects of other libraries: how they are recognized, and how they are called.


def _is_of(package: str, method: str) -> Callable[[Any], bool]:
    """Return a test for objects, and classes, with a base class from *package* and the *method*."""

    def is_one(given: Any) -> bool:
        cls = given if inspect.isclass(given) else type(given)
        return hasattr(cls, method) and any(base.__module__.split(".")[0] == package for base in cls.__mro__)

    return is_one


def _of_pydantic_evals(evaluator: Any) -> Call:
    from pydantic_evals.evaluators import EvaluatorContext
    from pydantic_evals.otel._errors import SpanTreeRecordingError

    def call(run: Run) -> Any:
        context = EvaluatorContext(
            name=run.input_key,
            inputs=run.data.get("input"),
            metadata=run.data.get("metadata"),
            expected_output=run.data.get("expected"),
            output=run.output,
            duration=(run.duration_ms or 0.0) / 1000,
            _span_tree=SpanTreeRecordingError("FluxLoop records no OpenTelemetry spans; use the run's trace"),
            attributes={"trace_id": run.row.trace_id, "persona": run.persona},
            metrics={**run.tokens, **({} if run.cost is None else {"cost": run.cost})},
        )
        return evaluator.evaluate(context)  # a value, or a coroutine

    return call


def _of_autoevals(scorer: Any) -> Call:
    def call(run: Run) -> Any:
        return scorer.eval_async(run.output, run.data.get("expected"), input=run.data.get("input"))

    return call


def _of_deepeval(metric: Any) -> Call:
    from deepeval.test_case import LLMTestCase, ToolCall

    def call(run: Run) -> Any:
        case = LLMTestCase(
            input=_text(run.data.get("input")) or "",
            actual_output=_text(run.output),
            expected_output=_text(run.data.get("expected")),
            metadata=dict(run.data.get("metadata") or {}),
            tools_called=[
                ToolCall(
                    name=call.name,
                    output=call.output,
                    input_parameters=call.arguments if isinstance(call.arguments, dict) else None,
                )
                for call in run.tools
            ],
            expected_tools=[ToolCall(name=name) for name in _expected_tools(run)] or None,
            completion_time=(run.duration_ms or 0.0) / 1000,
        )
        own = copy.copy(metric)  # a metric keeps the result of its last call
        own.measure(case, **({"_show_indicator": False} if _has_parameter(own.measure, "_show_indicator") else {}))
        return {"score": own.score, "passed": own.is_successful(), "reason": own.reason}

    return call


_OBJECTS: Sequence[tuple[Callable[[Any], bool], Callable[[Any], Call]]] = (
    (_is_of("pydantic_evals", "evaluate"), _of_pydantic_evals),
    (_is_of("autoevals", "eval_async"), _of_autoevals),
    (_is_of("deepeval", "measure"), _of_deepeval),
)
"""The libraries whose evaluators are objects."""


# Functions, by the names of their parameters.


def _function(function: Callable[..., Any]) -> Call:
    """Return a caller of *function* that passes what its parameters name."""
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        parameters = []
    messages = _module_of(function).split(".")[0] == "agentevals"
    named = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    known = {name: one for name, one in named.items() if name in _ARGUMENTS}
    required = [one for one in parameters if one.default is one.empty and one.kind in _PLAIN]
    if not known and len(required) <= 1 and parameters and parameters[0].kind in _POSITIONAL:
        return lambda run: function(run)  # the whole run, under any name
    if unknown := [one.name for one in required if one.name not in _ARGUMENTS]:
        raise TypeError(
            f"evaluator {_name_of(function)} has the parameters {', '.join(unknown)}, which no run has a value for "
            f"(available: {', '.join(_ARGUMENTS)})"
        )
    positional = [one.name for one in required if one.kind is one.POSITIONAL_ONLY]

    def call(run: Run) -> Any:
        values = {
            name: _argument(run, name, one, messages=messages) for name, one in known.items() if name not in positional
        }
        return function(*(_ARGUMENTS[name](run) for name in positional), **values)

    return call


def _argument(run: Run, name: str, parameter: inspect.Parameter, *, messages: bool) -> Any:
    if messages and name == "outputs":
        return messages_of(run)
    value = _ARGUMENTS[name](run)
    if name in _WRAPPED and _is_mapping_type(parameter.annotation) and not isinstance(value, Mapping | None):
        return {_WRAPPED[name]: value}
    return value


def _expected_tools(run: Run) -> list[str]:
    metadata = run.data.get("metadata")
    found = metadata.get("tools") if isinstance(metadata, Mapping) else None
    return [str(name) for name in found] if isinstance(found, list) else []


def messages_of(run: Run) -> list[dict[str, Any]]:
    """Return the trajectory of *run* as messages of OpenAI's form: the input, the calls of tools, the answer."""
    import json

    messages: list[dict[str, Any]] = [{"role": "user", "content": _text(run.data.get("input")) or ""}]
    for number, call in enumerate(run.tools):
        arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, default=str)
        function = {"name": call.name, "arguments": arguments}
        messages += [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": f"call_{number}", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": f"call_{number}", "content": _text(call.output) or call.error or ""},
        ]
    return [*messages, {"role": "assistant", "content": _text(run.output) or ""}]


_ARGUMENTS: Mapping[str, Callable[[Run], Any]] = {
    "inputs": lambda run: run.data.get("input"),
    "outputs": lambda run: run.output,
    "reference_outputs": lambda run: run.data.get("expected"),
    "input": lambda run: run.data.get("input"),
    "output": lambda run: run.output,
    "expected": lambda run: run.data.get("expected"),
    "expected_output": lambda run: run.data.get("expected"),
    "actual_output": lambda run: run.output,
    "reference": lambda run: run.data.get("expected"),
    "metadata": lambda run: run.data.get("metadata"),
    "persona": lambda run: run.persona,
    "messages": messages_of,
    "conversation": lambda run: run.data.get("conversation"),
    "trace": lambda run: run.trace,
    "tools": lambda run: run.tools,
    "row": lambda run: dict(run.data),
    "run": lambda run: run,
}
"""What parameters of these names receive."""

_WRAPPED = {"inputs": "input", "outputs": "output", "reference_outputs": "output"}
"""LangSmith passes mappings: for a parameter annotated as one, a value that is none is wrapped under this key."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_PLAIN = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)


def _is_mapping_type(annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return text.replace("typing.", "").lower().startswith(("dict", "mapping"))


def _has_parameter(function: Callable[..., Any], name: str) -> bool:
    return name in inspect.signature(function).parameters


def _module_of(function: Any) -> str:
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__module__", "") or "")


def _name_of(given: Any) -> str:
    for holder in (given, getattr(given, "func", None), type(given)):
        name = getattr(holder, "__name__", None)
        if isinstance(name, str):
            return name
    return "evaluator"


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
