"""
The OpenAI Agents SDK: every run as a trace, or as part of the one that is open.

`install` is all that is needed. The SDK tells its processors of spans by id; a span becomes an observation, and
those that only say "the run goes on" - tasks, turns - become none unless they are asked for. How something ended
is read from the exception that is passing while the SDK closes the span, since its spans rarely say.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any
from weakref import WeakKeyDictionary

from agents import OpenAIResponsesModel, tracing

from fluxloop import FluxLoopClient, ObservationType, Status
from fluxloop.bridge import (
    NOTHING,
    Ledger,
    Node,
    OpenObservation,
    ToolMatcher,
    add_locator,
    default,
    innermost,
    name_session,
    remove_locator,
)
from fluxloop.llm.token_counts import add_usage

from ..warned import warn_once
from . import function_tools, internals
from . import payloads as payloads
from .runs import MODEL_CALLS, RUNS, STEPS, Run, Trouble, is_cancellation

__all__ = ["FluxLoopTracingProcessor", "install", "uninstall"]

_PACKAGES = frozenset({"agents"})
"""Whose code calls a tool's function."""


class FluxLoopTracingProcessor(tracing.TracingProcessor):
    """
    Records what the SDK reports.

    A run inside a FluxLoop trace becomes part of it; any other opens one, named after the SDK's workflow, whose
    session is the ``group_id``. User code decorated with FluxLoop nests under the tool, guardrail or agent it
    runs in. None of the methods raises, and none waits for anything.

    Args:
        shows_steps: Whether tasks and turns, which every run consists of, become observations too.
        client: Whose settings and storage to record with.
    """

    def __init__(self, *, shows_steps: bool = False, client: FluxLoopClient | None = None) -> None:
        self._shows_steps = shows_steps
        self._client = client or default
        self._ledger = Ledger(self._client, self._locate)
        self._runs: dict[str, Run] = {}
        self._left: WeakKeyDictionary[tracing.Span[Any], OpenObservation] = WeakKeyDictionary()
        """Tools that were cancelled, by their spans: what goes on in a thread, which nobody can cancel, is inside."""
        add_locator(self._locate)

    def on_trace_start(self, trace: tracing.Trace) -> None:
        """Open a trace, or take a place in the one that is open."""
        try:
            self._trace_starts(trace)
        except Exception as exc:
            self._broke(exc)

    def on_trace_end(self, trace: tracing.Trace) -> None:
        """Close what was opened."""
        try:
            self._trace_ends(trace)
        except Exception as exc:
            self._broke(exc)

    def on_span_start(self, span: tracing.Span[Any]) -> None:
        """Begin an observation."""
        try:
            self._span_starts(span)
        except Exception as exc:
            self._broke(exc)

    def on_span_end(self, span: tracing.Span[Any]) -> None:
        """End it."""
        try:
            self._span_ends(span)
        except Exception as exc:
            self._broke(exc)
            self._ledger.finish(span.span_id)  # what could not be read has ended all the same

    def shutdown(self) -> None:
        """End what is still open, and let go; the SDK calls this when the program ends."""
        remove_locator(self._locate)
        self._ledger.close_all()
        for key in self._runs:
            _recorded_by.pop(key, None)
        self._runs.clear()

    def force_flush(self) -> None:
        """Wait until what was recorded has left the process."""
        self._client.flush(timeout=_FLUSH_S)

    def _broke(self, exc: Exception) -> None:
        self._ledger.tracer.record_failure("following an agent's run", exc)

    def _locate(self, here: Node | None) -> Node | None:
        """Return the observation of the span whose code is running, where it is the inner one."""
        if not (self._runs or self._left):
            return here
        span = tracing.get_current_span()
        running = span.span_id if span is not None else getattr(tracing.get_current_trace(), "trace_id", None)
        run = self._runs.get(running) if running is not None else None
        if run is None:
            return innermost(here, self._left.get(span)) if span is not None else here
        return innermost(here, self._ledger.get(run.key))

    def _trace_starts(self, trace: Any) -> None:
        key = trace.trace_id
        run = self._runs.get(key)
        if _recorded_by.setdefault(key, self) is not self or (run is not None and run.is_told(trace)):
            warn_once("two processors", _TWO)
        elif run is not None:
            run.told += (trace,)  # runs beside each other may be given the same id, and are one trace then
        else:
            run = self._runs[key] = Run("trace", None, key)
            run.told = (trace,)
            run.observation = self._ledger.start(
                key, ObservationType.CHAIN, trace.name, trace=payloads.about(trace), is_folded=self._is_inside(trace)
            )

    def _is_inside(self, trace: Any) -> bool:
        """Whether a trace is open here of which the SDK's is to be a part, without a level of its own."""
        here = self._ledger.tracer.recording_here()
        if here is None or here.trace.is_closed:
            return False
        name_session(here.trace, getattr(trace, "group_id", None))
        return True

    def _trace_ends(self, trace: Any) -> None:
        key = trace.trace_id
        run = self._runs.get(key)
        if run is None or not run.is_over(trace):
            return
        del self._runs[key]
        _recorded_by.pop(key, None)
        trouble = run.failed(None)
        if trouble is not None and trouble is run.trouble and not internals.ends_by_itself():
            trouble = None  # the program caught what the run inside raised, and went on
        self._finish(key, run, trouble, (run.asked, run.said, None))

    def _span_starts(self, span: Any) -> None:
        key, data = span.span_id, span.span_data
        if key in self._runs:
            return
        above = self._runs.get(span.parent_id or span.trace_id)
        if above is None and (span.parent_id is not None or span.trace_id in _recorded_by):
            return  # what it is part of has ended, or is another processor's
        kind = data.type
        run = self._runs[key] = Run(kind, above, key)
        if above is not None and kind in STEPS and not self._shows_steps:
            run.key = above.key  # what begins inside belongs to what is around
            return
        where = {"parent": above.key} if above is not None else self._goes_on(kind)
        run.observation = self._ledger.start(
            key, payloads.TYPES.get(kind, ObservationType.SPAN), payloads.name_of(data, kind), **where
        )
        if kind == "function" and run.observation is not None:
            run.tool = tool = internals.tool_called()
            run.observation.tool_matcher = ToolMatcher(
                lambda: function_tools.names_of(tool) | {data.name},
                _PACKAGES,
                lambda: function_tools.functions_of(tool),
            )

    def _goes_on(self, kind: str) -> dict[str, Any]:
        """Return where a span begins that is in none: a run taken up again goes on in a trace of which none is told."""
        trace = tracing.get_current_trace()
        is_folded = kind in STEPS and not self._shows_steps and self._is_inside(trace)
        return {"trace": payloads.about(trace), "is_folded": is_folded}

    def _span_ends(self, span: Any) -> None:
        key, data = span.span_id, span.span_data
        run = self._runs.pop(key, None)
        if run is None:
            return
        if run.kind in RUNS:
            self._run_ends(key, run, span)
        elif run.observation is None:
            self._ledger.finish(key)
        elif run.kind == "function":
            self._tool_ends(key, run, span)
        elif run.kind in MODEL_CALLS:
            self._model_ends(key, run, span)
        else:
            asked, said, fields = payloads.READERS.get(run.kind, payloads.other)(data)
            trouble = run.failed(span.error)
            if run.kind == "handoff":
                run.answered(NOTHING)
            elif run.kind == "guardrail":
                if data.triggered:
                    run.observation.level = "WARNING"
                if trouble is not None and run.above is not None:
                    run.above.trouble = trouble
            self._finish(key, run, trouble, (asked, said, fields))

    def _model_ends(self, key: str, run: Run, span: Any) -> None:
        asked, said, fields = payloads.model_call(span.span_data)
        call = internals.model_called() if said is NOTHING else None
        if call is not None and not call.includes_data:
            run.drop_captured()
        trouble = run.failed(span.error)
        if said is not NOTHING and trouble is not None and isinstance(trouble[0], GeneratorExit):
            trouble = None  # whoever read the stream closed it after the last event
        if asked is NOTHING and call is not None and call.includes_data:
            asked, fields = payloads.unanswered(call.model, call.instructions, call.given)
            if trouble is None and isinstance(call.model, OpenAIResponsesModel):
                trouble = "no final response came", {}  # a stream broke off, of which the span says nothing
        run.heard(payloads.question_of(asked), payloads.text_of(said))
        self._finish(key, run, trouble, (asked, said, fields))

    def _run_ends(self, key: str, run: Run, span: Any) -> None:
        """End an agent, a turn or a task: what went wrong is passed on to the run it is part of."""
        data, trouble, above = span.span_data, run.failed(span.error), run.reports_to
        if run.kind == "turn" and not run.has_model_call and (counts := payloads.usage(data.usage)):
            run.counts += (counts,)
        if run.above is not None:
            run.above.awaits = run.awaits
        if above is not None and above.kind in RUNS and (above.trouble is None or not is_cancellation(trouble)):
            above.trouble = trouble
        is_agent = run.kind == "agent"
        if above is not None and not is_agent:
            above.counts += run.counts
        fields = {"usage": add_usage(run.counts)} if is_agent else None
        metadata = payloads.agent(data) if is_agent else None
        self._finish(key, run, trouble, (run.asked, run.said, fields), metadata)

    def _tool_ends(self, key: str, run: Run, span: Any) -> None:
        data, observation = span.span_data, run.observation
        assert observation is not None
        is_told_inside = observation.claimed_result is not None
        if data.input is None:
            run.drop_captured()
            observation.drop_captured()
        trouble = run.failed(span.error)
        said = NOTHING if data.output is None else data.output
        if said is NOTHING and trouble is None and not is_told_inside:
            may_wait = data.input is not None if run.tool is None else getattr(run.tool, "needs_approval", False)
            run.awaits = run.awaits or (bool(may_wait) and internals.is_waiting())
        else:
            run.awaits = False
            if trouble is None and function_tools.has_timed_out(run.tool, said):
                trouble = CancelledError(), {}
        if is_cancellation(trouble):
            self._left[span] = observation
        run.answered(said)
        asked = NOTHING if is_told_inside else payloads.arguments(data)
        mcp = getattr(data, "mcp_data", None)
        self._finish(key, run, trouble, (asked, said, None), {"mcp": mcp} if mcp else None)

    def _finish(
        self, key: str, run: Run, trouble: Trouble | None, told: payloads.Told, metadata: payloads.Fields | None = None
    ) -> None:
        asked, said, fields = told
        observation = run.observation
        if observation is None:
            if run.key == key:  # how it ended matters to what it leaves open
                self._ledger.finish(key, error=trouble and trouble[0])
            return
        error, details = trouble or (None, None)
        status = Status.INTERRUPTED if run.awaits and error is None else None
        if observation.claimed_result is not None and observation.claimed_result[0] is not Status.SUCCESS:
            if observation.claimed_result[0] is Status.CANCELLED and isinstance(error, Exception):
                observation.claimed_result = None  # it took too long, and the SDK makes an exception of that
            else:
                error, status, details = None, Status.ERROR, None  # the function inside saw the exception itself
        if (error is not None or run.awaits) and run.kind in RUNS:
            said = NOTHING
        if details:
            metadata = {**(metadata or {}), **details}
        self._ledger.finish(key, input=asked, output=said, error=error, status=status, metadata=metadata, fields=fields)


def observation_of(result: Any) -> OpenObservation | None:
    """Return the observation of the run that *result*, a streamed run's, belongs to; None where none is open."""
    trace_id = getattr(getattr(result, "trace", None), "trace_id", None)
    processor = _recorded_by.get(trace_id) if trace_id is not None else None
    return processor._ledger.get(trace_id) if processor is not None else None


_FLUSH_S = 5.0
"""How long the SDK's own flush waits for records to leave the process, in seconds."""

_recorded_by: dict[str, FluxLoopTracingProcessor] = {}
"""Who records each of the SDK's traces that is open: the first processor of ours that was told of it."""

_installed: FluxLoopTracingProcessor | None = None


_TWO = (
    "a FluxLoopTracingProcessor is registered twice: each run is recorded once, by the first. "
    "Call fluxloop_custom.openai_agents.install() once, and add no processor of ours beside it"
)
_OFF = (
    "the Agents SDK's tracing is switched off, by set_tracing_disabled() or OPENAI_AGENTS_DISABLE_TRACING, so "
    "that no run is recorded. Leave it on: install() keeps traces off the network by itself"
)


def install(
    *, keep_exporter: bool = False, shows_steps: bool = False, client: FluxLoopClient | None = None
) -> FluxLoopTracingProcessor:
    """
    Record every run of the Agents SDK from here on; calling it again changes nothing, and says so once.

    The SDK's own exporter, which sends traces to OpenAI, is taken out; processors added by others stay.

    Args:
        keep_exporter: Leave the SDK's exporter in, so that traces go over the network too.
        shows_steps: See `FluxLoopTracingProcessor`.
        client: See `FluxLoopTracingProcessor`.

    Returns:
        The processor, also for `uninstall`.
    """
    global _installed
    if _installed is not None and is_installed():
        warn_once("two processors", _TWO)
        return _installed
    _installed = FluxLoopTracingProcessor(shows_steps=shows_steps, client=client)
    if internals.is_off():
        warn_once("tracing off", _OFF)
    if keep_exporter:
        tracing.add_trace_processor(_installed)
    else:
        others = [processor for processor in internals.processors() or () if not internals.exports(processor)]
        tracing.set_trace_processors([*others, _installed])
    return _installed


def uninstall() -> None:
    """Record no more runs; the SDK's exporter stays out, and processors added by others stay in."""
    global _installed
    if _installed is None:
        return
    tracing.set_trace_processors([each for each in internals.processors() or () if each is not _installed])
    _installed.shutdown()
    _installed = None


def is_installed() -> bool:
    """Whether `install` has added a processor that is there still."""
    present = internals.processors()
    return _installed is not None and (present is None or _installed in present)
