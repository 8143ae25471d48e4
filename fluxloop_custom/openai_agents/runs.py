"""
What is known of a span that is open, and what its inner spans told about it.

The Agents SDK's agents, turns and runs carry neither a question nor an answer, and often no error either. Their
inner spans do, in time: a run is asked what its first model call was asked, and ends with what its last one said.
"""

from __future__ import annotations

import sys
from asyncio import CancelledError
from typing import Any, Final

from fluxloop.bridge import NOTHING, OpenObservation

REDACTED: Final = "Error details are redacted."
"""What the SDK writes instead of an error's text where sensitive data are to stay out of traces."""

STEPS: Final = frozenset({"task", "turn"})
"""Span types that only say where in a run we are."""

RUNS: Final = STEPS | {"agent", "trace"}
"""What takes its question and its answer from the model calls inside."""

MODEL_CALLS: Final = frozenset({"generation", "response"})

_CALLED = frozenset({"function", "guardrail", "handoff"})
"""Spans in which code of the program's runs; what it asks models, and how runs of its own end, is its own affair."""

_IN_A_RUN = frozenset({"turn", "agent"})
"""Spans of a run in which another run has a reason of its own, such as a hook's."""

Trouble = tuple[BaseException | str, dict[str, Any]]
"""What went wrong: the exception itself where it was seen, else the SDK's words; and what it says beside them."""


class Run:
    """One open span, or trace, of the SDK's."""

    __slots__ = (
        "above",
        "asked",
        "awaits",
        "counts",
        "handled",
        "has_model_call",
        "is_withheld",
        "key",
        "kind",
        "observation",
        "reports_to",
        "said",
        "told",
        "tool",
        "trouble",
    )

    def __init__(self, kind: str, above: Run | None, key: str) -> None:
        self.kind = kind
        self.above = above
        self.reports_to = above if above is not None and _reports(kind, above.kind) else None
        """What is around it, where that asks and answers what this does, and fails with it."""
        self.key = key
        """What the ledger has it under: its id, or that of what is around it, where it makes no observation."""
        self.handled = sys.exception()
        """What the program is dealing with already, in an ``except`` block around the run."""
        self.observation: OpenObservation | None = None
        """Its own; None where it is folded, or nothing is recorded."""
        self.tool: Any = None
        """The tool that is called, where it could be found."""
        self.told: tuple[object, ...] = ()
        """The SDK's traces of this id that are open, where it stands for these."""
        self.asked: object = NOTHING
        self.said: object = NOTHING
        self.has_model_call = False
        """Whether a model was called inside."""
        self.counts: tuple[dict[str, int], ...] = ()
        """Token counts of turns whose model calls made no spans."""
        self.awaits = False
        """Whether it is a tool that was not run, as it waits for an approval, or holds one."""
        self.trouble: Trouble | None = None
        self.is_withheld = False
        """Whether something inside was kept from the trace as sensitive."""
        if above is not None:  # something begins there: what went wrong before it, or waited, was dealt with
            above.trouble = None
            if kind != "function":  # but of the tools of one answer some may wait, and others begin
                above.awaits = False
        if kind == "turn":
            self.answered(NOTHING)  # a model is asked again, of which nothing may be told

    def is_told(self, trace: object) -> bool:
        """Whether *trace*, one of the SDK's, is known to be open."""
        return any(each is trace for each in self.told)

    def is_over(self, trace: object) -> bool:
        """Note that *trace* has ended, and return whether it was the last."""
        left = tuple(each for each in self.told if each is not trace)
        is_news, self.told = len(left) < len(self.told), left
        return is_news and not left

    def heard(self, asked: object, said: object) -> None:
        """A model inside was asked *asked*, and said *said*."""
        run = self.reports_to
        while run is not None:
            run.said, run.has_model_call = said, True
            if run.asked is NOTHING:
                run.asked = asked
            run = run.reports_to

    def answered(self, output: object) -> None:
        """This tool returned *output*, which is the last word around it unless a model is asked again."""
        if self.above is not None and self.awaits:
            self.above.awaits = True
        run = self.reports_to
        while run is not None:
            run.said = output
            run = run.reports_to

    def drop_captured(self) -> None:
        """This was kept from the trace, so that nobody around it is to tell of it either."""
        run: Run | None = self
        while run is not None:
            run.is_withheld = True
            run = run.above

    def _is_withheld_here(self) -> bool:
        """Whether something in here, or before it in what is around it, was kept from the trace."""
        run: Run | None = self
        while run is not None and not run.is_withheld:
            run = run.above
        return run is not None

    def failed(self, span_error: Any) -> Trouble | None:
        """Return what went wrong, by the exception passing, the span's own error, or what inner ones left behind."""
        passing = sys.exception()
        raised = passing if passing is not self.handled else None
        if raised is None and not span_error:
            return self.trouble
        if self.trouble is not None and isinstance(raised, CancelledError):
            return self.trouble  # the SDK cancels what goes on beside the guardrail that failed
        if span_error and self.kind in MODEL_CALLS and not isinstance(raised, Exception):
            raised = None  # a stream that failed is closed, a call that took too long is cancelled
        message, details = "", {}
        if span_error:
            data = span_error.get("data") or {}
            # Early releases name the exception's class where later ones say "redacted".
            if data.get("error") in (REDACTED, type(raised).__name__) and self.kind != "function":
                self.drop_captured()
            message, details = _in_words(span_error, {} if self._is_withheld_here() else data), _beside(data)
        if raised is not None and not (isinstance(raised, Exception) and self._is_withheld_here()):
            return raised, details
        if raised is not None:
            return message or type(raised).__name__, {**details, "error_type": type(raised).__name__}
        return (message, details) if message else self.trouble


def _reports(kind: str, around: str) -> bool:
    """Whether a span of *kind* is what the one around it is about, and not beside the point there."""
    return around not in _CALLED and not (kind in ("task", "agent") and around in _IN_A_RUN)


def is_cancellation(trouble: Trouble | None) -> bool:
    """Whether *trouble* is that somebody cancelled it, which may have a reason elsewhere."""
    return trouble is not None and isinstance(trouble[0], CancelledError)


def _in_words(span_error: Any, data: dict[str, Any]) -> str:
    message, detail = str(span_error.get("message") or "error"), data.get("error")
    is_told = detail is None or "redacted" in str(detail) or str(detail) in message
    return message if is_told else f"{message}: {detail}"


def _beside(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in ("error", "tool_name")}
