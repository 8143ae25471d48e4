"""
The rows of runs: what trace_summary.jsonl says of each.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from ..tracing.outcomes import message_of
from .agents import Sent
from .binding import Offer
from .conversation import Conversation
from .inputs import PlannedRun
from .records import RunFacts, cost_of

Row = dict[str, Any]
"""The row of a run, with the members listed at `fluxloop.experiments.folder.Row`."""


class RunCancelled(asyncio.CancelledError):
    """A run was cancelled because the experiment is interrupted; ``row`` describes it."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row


@dataclass(slots=True)
class RunResult:
    """The outcome of a run, before it becomes a row."""

    output: Any = None
    status: str = "success"
    error: dict[str, str] | None = None
    attempts: int = 0
    duration_ms: float = 0.0
    conversation: Conversation = field(default_factory=Conversation)
    callback_messages: dict[str, list[Any]] = field(default_factory=dict)

    def take(self, answer: Any) -> None:
        """Set the output to *answer*, or to what the target sent last if it returned nothing."""
        if isinstance(answer, Sent):
            self.callback_messages = answer.messages
            answer = answer.output
        self.output = answer


def row_of(
    planned: PlannedRun, offer: Offer, trace_id: str, result: RunResult, facts: RunFacts, usage: dict[str, int]
) -> Row:
    """
    Return the row of a run that has ended.

    Args:
        planned: The run.
        offer: What was passed to its target.
        trace_id: Its trace.
        result: How it ended.
        facts: What its records say.
        usage: The token counts of its trace.
    """
    conversation = result.conversation
    cost = cost_of(facts)
    row = _identity(planned, trace_id, offer.session_id)
    row |= {
        "output": result.output if result.status == "success" else None,
        "duration_ms": result.duration_ms,
        "success": result.status == "success",
        "status": result.status,
        "error": result.error,
        "attempts": result.attempts,
        "token_usage": _token_usage(usage) if usage else None,
        "cost": cost.amount if cost else None,
        "observation_count": facts.observations,
        "conversation": conversation.turns,
        "conversation_state": conversation.state(offer.state.get("metadata", {})) if offer.state else None,
        "termination_reason": conversation.termination_reason,
    }
    if result.callback_messages:
        row["callback_messages"] = result.callback_messages
    return row


def lost_row(
    planned: PlannedRun,
    trace_id: str,
    message: str,
    attempts: int,
    label: str,
    *,
    kind: str = "WorkerLost",
    status: str = "error",
) -> Row:
    """Return the row of a run that did not report how it ended, with *kind* as the type of its error."""
    row = _identity(planned, trace_id, f"{label}-{planned.number}")
    unknown = ("output", "duration_ms", "token_usage", "cost", "conversation_state", "termination_reason")
    row |= {
        **dict.fromkeys(unknown),
        "success": False,
        "status": status,
        "error": {"type": kind, "message": message},
        "attempts": attempts,
        "conversation": [],
    }
    return row


def _identity(planned: PlannedRun, trace_id: str, session_id: str) -> Row:
    entry = planned.entry
    return {
        "trace_id": trace_id,
        "run": planned.number,
        "iteration": planned.iteration,
        "persona": entry.persona.name if entry.persona else None,
        "input_id": entry.id,
        "input": entry.value,
        "expected": entry.expected,
        "metadata": dict(entry.metadata),
        "session_id": session_id,
    }


def error_of(exc: BaseException) -> dict[str, str]:
    """Return the type and the message of *exc*."""
    return {"type": type(exc).__name__, "message": message_of(exc)}


def _token_usage(usage: dict[str, int]) -> dict[str, int]:
    prompt, completion = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": usage.get("total_tokens") or prompt + completion,
    }
