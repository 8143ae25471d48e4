"""
State of an open span of the Agents SDK, and what it receives from the spans inside it.

The SDK's agents, turns and tasks have neither input nor output, and often no error either. Their model calls and
tools do: a run takes the input of its first model call, the output of the last model call or tool, and its failure.
"""

from __future__ import annotations

import sys
from asyncio import CancelledError
from typing import Any, Final

from fluxloop.bridge import NOTHING, OpenObservation

from . import internals

STEPS: Final = frozenset({"task", "turn"})
"""Span types that only divide a run."""

RUNS: Final = STEPS | {"agent", "trace"}
"""Span types that take input and output from the model calls inside."""

MODEL_CALLS: Final = frozenset({"generation", "response"})

_USER_CODE = frozenset({"function", "guardrail", "handoff"})
"""Span types in which the program's functions run; model calls and runs that these make are separate."""

_IN_A_RUN = frozenset({"turn", "agent"})
"""Span types in which another run is separate, such as the run of a hook."""

Failure = tuple[BaseException | str, dict[str, Any]]
"""The exception, or the SDK's message if the exception is unknown or redacted; and metadata with details."""

ToolCall = tuple[str, object]
"""The name and the arguments of a call that a model asks for."""


class SpanState:
    """An open span, or trace, of the SDK."""

    __slots__ = (
        "awaits_approval",
        "failure",
        "handled_exception",
        "has_model_call",
        "input",
        "is_redacted",
        "kept_events",
        "kind",
        "ledger_key",
        "model_call",
        "observation",
        "output",
        "parent",
        "pending_calls",
        "received_calls",
        "reports_to",
        "sdk_traces",
        "tool",
        "turn_usage",
    )

    def __init__(self, kind: str, parent: SpanState | None, key: str) -> None:
        self.kind = kind
        self.parent = parent
        self.reports_to = parent if parent is not None and _reports(kind, parent.kind) else None
        """The parent, if input, output and failure of this span are also the parent's."""
        self.ledger_key = key
        """The key in the ledger: of this span, or of the parent if this span makes no observation."""
        self.handled_exception = sys.exception()
        """The exception that the program is handling already, in an ``except`` block around the run."""
        self.observation: OpenObservation | None = None
        """The observation of this span; None if it makes none, or nothing is recorded."""
        self.tool: Any = None
        self.model_call: internals.ModelCall | None = None
        """The call of the model; on a run, the last one inside."""
        self.kept_events: Any = None
        """The events of the model's stream, a `streaming.KeptEvents`, if answers are kept whole."""
        self.pending_calls: dict[str, ToolCall] = {}
        """Tool calls in the last answer of a run's model that no tool has received yet, by call id."""
        self.received_calls: frozenset[str] = frozenset()
        """The ids of the tool calls of a run that tools received."""
        self.sdk_traces: tuple[object, ...] = ()
        """The SDK's open traces with this id."""
        self.input: object = NOTHING
        self.output: object = NOTHING
        self.has_model_call = False
        self.turn_usage: tuple[dict[str, int], ...] = ()
        """Token counts of turns whose model calls have no spans."""
        self.awaits_approval = False
        """Whether this is a tool that waits for an approval, or contains one."""
        self.failure: Failure | None = None
        self.is_redacted = False
        """Whether something inside was kept out of the trace as sensitive."""
        if parent is not None:  # the parent continues: it handled earlier failures and approvals
            parent.failure = None
            if kind != "function":  # but of the tools of one answer, some may wait while others run
                parent.awaits_approval = False
        if kind == "turn":
            self.set_output(NOTHING)  # the model is called again, and may not have a span

    def has_trace(self, trace: object) -> bool:
        """Whether *trace* is one of `sdk_traces`."""
        return any(each is trace for each in self.sdk_traces)

    def end_trace(self, trace: object) -> bool:
        """Remove *trace* from `sdk_traces`, and return whether it was the last one."""
        left = tuple(each for each in self.sdk_traces if each is not trace)
        is_known, self.sdk_traces = len(left) < len(self.sdk_traces), left
        return is_known and not left

    def runs(self) -> list[SpanState]:
        """Return the runs that this span reports to, innermost first."""
        found, run = [], self.reports_to
        while run is not None:
            found.append(run)
            run = run.reports_to
        return found

    def add_model_call(self, asked: object, answer: object) -> None:
        """Give input and output of this model call to its runs."""
        for run in self.runs():
            run.output, run.has_model_call = answer, True
            if run.input is NOTHING:
                run.input = asked

    def add_pending_calls(self, calls: dict[str, ToolCall]) -> None:
        """Give the tool *calls* of this model call to its agent; a handoff is not a call of a tool."""
        agent, call = self.agent(), self.model_call
        if agent is not None and call is not None:
            handoffs = {handoff.tool_name for handoff in call.handoffs}
            agent.pending_calls = {call_id: each for call_id, each in calls.items() if each[0] not in handoffs}

    def set_output(self, output: object) -> None:
        """Give *output* to the runs of this tool: it is theirs unless the model is called again."""
        if self.parent is not None and self.awaits_approval:
            self.parent.awaits_approval = True
        for run in self.runs():
            run.output = output

    def receive_call(self, name: str, call_id: str | None) -> None:
        """Remove the call of this tool from the pending calls of its agent; without an id, the first of its name."""
        agent = self.agent()
        if agent is None:
            return
        if call_id is None:
            call_id = next((known for known, call in agent.pending_calls.items() if call[0] == name), "")
        agent.received_calls |= {call_id}
        agent.pending_calls.pop(call_id, None)

    def outermost(self) -> SpanState:
        """Return the trace that this span is part of, or the outermost span if the SDK did not report its trace."""
        found = self
        while found.parent is not None:
            found = found.parent
        return found

    def is_resumed(self) -> bool:
        """Whether the SDK resumed the run of this span, and did not report its trace."""
        return self.outermost().kind != "trace"

    def agent(self) -> SpanState | None:
        """Return the agent that this span belongs to."""
        return next((run for run in self.runs() if run.kind == "agent"), None)

    def redact(self) -> None:
        """Keep captured data of this span, which is sensitive, out of every observation around it."""
        span: SpanState | None = self
        while span is not None:
            span.is_redacted = True
            span = span.parent

    def _is_redacted_around(self) -> bool:
        """Whether something in this span, or earlier in one around it, is sensitive."""
        span: SpanState | None = self
        while span is not None and not span.is_redacted:
            span = span.parent
        return span is not None

    def failure_at_end(self, span_error: Any) -> Failure | None:
        """Return the failure: the exception that is raised, the span's own error, or the failure of a span inside."""
        passing = sys.exception()
        raised = passing if passing is not self.handled_exception else None
        if raised is None and not span_error:
            return self.failure
        if self.failure is not None and isinstance(raised, CancelledError):
            return self.failure  # the SDK cancels what runs beside a guardrail that failed
        is_model_call = self.kind in MODEL_CALLS
        message, details = "", {}
        if span_error:
            data = span_error.get("data") or {}
            if is_model_call and not isinstance(raised, Exception):
                raised = None  # a stream that failed is closed, a call that took too long is cancelled
            if is_model_call and self.model_call is not None:
                redacted = not self.model_call.includes_data
            else:
                redacted = internals.is_redacted(data.get("error"), raised, is_model_call=is_model_call)
            if redacted and self.kind != "function":
                self.redact()
            details = {name: value for name, value in data.items() if name not in ("error", "tool_name")}
            message = _message(span_error, None if redacted or self._is_redacted_around() else data.get("error"))
        if raised is not None and not (isinstance(raised, Exception) and self._is_redacted_around()):
            return raised, details
        if raised is not None:
            return message or type(raised).__name__, {**details, "error_type": type(raised).__name__}
        return (message, details) if message else self.failure


def _reports(kind: str, parent: str) -> bool:
    """Whether a span of type *kind* is part of the run of its *parent*, and not a run or model call of user code."""
    return parent not in _USER_CODE and not (kind in ("task", "agent") and parent in _IN_A_RUN)


def is_cancellation(failure: Failure | None) -> bool:
    """Whether *failure* is a cancellation, whose reason may be another failure."""
    return failure is not None and isinstance(failure[0], CancelledError)


def _message(span_error: Any, detail: object) -> str:
    message = str(span_error.get("message") or "error")
    return message if detail is None or str(detail) in message else f"{message}: {detail}"
