"""
Execute one run: its trace, its attempts and timeouts, its conversation, and the row that describes it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import random
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from ..enums import ObservationLevel, ObservationType
from ..tracing.calls import Execution, Spec, begin
from ..tracing.observation import record_event
from ..tracing.outcomes import message_of
from .binding import Offer
from .configuration.models import ExperimentConfig
from .conversation import Conversation, Decision, Supervising
from .deadlines import Deadlines, RunTimeoutError
from .inputs import PlannedRun
from .records import ExperimentClient, RunFacts, actions_of, cost_of
from .stream_text import StreamText

Row = dict[str, Any]
"""The row of a run, with the members listed at `fluxloop.experiments.folder.Row`."""


class TargetExitedError(RuntimeError):
    """The target called ``sys.exit``, which ends its run and not the experiment."""


class Agent(Protocol):
    """What is run: a function, an HTTP endpoint or a process, for the turns of one run."""

    async def answer(self, offer: Offer) -> Any:
        """Return the output for the input, or the user's message, in *offer*."""

    async def close(self) -> None:
        """End what belongs to this run only."""


class AgentSource(Protocol):
    """Creates the agent of each run."""

    name: str

    def agent(self, planned: PlannedRun) -> Agent:
        """Return the agent for one run."""

    async def close(self) -> None:
        """End what the agents of all runs share."""


@dataclass(slots=True)
class _Result:
    """The outcome of a run, before it becomes a row."""

    output: Any = None
    status: str = "success"
    error: dict[str, str] | None = None
    attempts: int = 0
    conversation: Conversation = field(default_factory=Conversation)
    callback_messages: dict[str, list[Any]] = field(default_factory=dict)

    def take(self, answer: Any) -> None:
        """Set the output to *answer*, or to what the target sent last if it returned nothing."""
        if isinstance(answer, Sent):
            self.callback_messages = answer.messages
            answer = answer.output
        self.output = answer


class Executor:
    """
    Executes the runs of an experiment in one process.

    Args:
        name: The name of the experiment.
        label: The prefix of the session ids: the name of the folder.
        config: The configuration.
        source: Creates the agents.
        client: Records the runs.
        supervisor: Decides on the next message of conversations; None for runs of a single turn.
    """

    def __init__(
        self,
        name: str,
        label: str,
        config: ExperimentConfig,
        source: AgentSource,
        client: ExperimentClient,
        supervisor: Supervising | None = None,
    ) -> None:
        self.name, self.label, self.config = name, label, config
        self.source, self.client, self.supervisor = source, client, supervisor
        self._deadlines = Deadlines(config.runner.timeout_seconds)
        self._sets_seed = config.seed is not None and (config.parallel_runs == 1 or config.runner.processes)

    async def execute(self, planned: PlannedRun, trace_id: str | None = None) -> Row:
        """
        Execute a run and return its row. A failure of the target is a row, too.

        Args:
            planned: The run.
            trace_id: The id of its trace; by default a new one.

        Raises:
            RunCancelled: If the task is cancelled.
        """
        offer = self._offer(planned)
        trace_id = trace_id or self.client.recorder.new_id()
        facts = self.client.storage.open_run(trace_id)
        call = self._begin(planned, offer, trace_id)
        if self._sets_seed:
            random.seed(offer.seed)
        started, result = perf_counter(), _Result()
        try:
            await self._attempts(planned, offer, result, call)
        except asyncio.CancelledError as exc:
            call.raised(exc)
            result.status, result.error = "cancelled", _error(exc)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                row = self._row(planned, offer, trace_id, result, facts, call, started)
                raise RunCancelled(row) from exc
        except Exception as exc:
            call.raised(exc)
            result.status, result.error = "timeout" if isinstance(exc, RunTimeoutError) else "error", _error(exc)
        except BaseException as exc:
            call.raised(exc)
            raise
        else:
            result.output = self._output(result, facts, offer)
            call.returned(result.output)
        finally:
            self.client.storage.close_run(trace_id)
        return self._row(planned, offer, trace_id, result, facts, call, started)

    def _begin(self, planned: PlannedRun, offer: Offer, trace_id: str) -> Execution:
        persona = offer.persona.name if offer.persona else None
        name = f"{self.name}_iter{planned.iteration}" + (f"_persona_{persona}" if persona else "")
        metadata = {
            "experiment": self.name,
            "run": planned.number,
            "iteration": planned.iteration,
            "input_id": planned.entry.id,
        }
        if persona:
            metadata["persona"] = persona
        if offer.seed is not None:
            metadata["seed"] = offer.seed
        trace = {"trace_id": trace_id, "session_id": offer.session_id, "metadata": metadata, "tags": self.config.tags}
        spec = Spec(
            self.client, ObservationType.SPAN, name, opens_trace=True, trace=trace, bind=_as_it_is, is_named=True
        )
        call = begin(spec, (offer.value,), {})
        if call is None:
            raise RuntimeError("the run could not be recorded")
        call.enter()
        return call

    def _offer(self, planned: PlannedRun) -> Offer:
        entry = planned.entry
        seed = None if self.config.seed is None else (self.config.seed * 1_000_003 + planned.number) % 2**32
        return Offer(
            entry.value,
            run=planned.number,
            iteration=planned.iteration,
            persona=entry.persona,
            seed=seed,
            session_id=f"{self.label}-{planned.number}",
            metadata=entry.metadata,
            expected=entry.expected,
            is_conversation=self.supervisor is not None,
            auto_approve=self.config.multi_turn.auto_approve_tools,
        )

    async def _attempts(self, planned: PlannedRun, offer: Offer, result: _Result, call: Execution) -> None:
        """Run the target, again after failures as often as configured, with growing pauses between."""
        runner = self.config.runner
        while True:
            result.attempts += 1
            result.conversation = Conversation()
            agent = self.source.agent(planned)
            try:
                await self._within_timeout(agent, offer, result)
                return
            except Exception as exc:
                if result.attempts > runner.max_retries:
                    raise
                details = {"attempt": result.attempts, "error": message_of(exc), "error_type": type(exc).__name__}
                record_event(call, "retry", metadata=details, level=ObservationLevel.WARNING)
            finally:
                await agent.close()
            pause = runner.retry_delay * 2 ** (result.attempts - 1)
            await asyncio.sleep(pause * random.Random(planned.number).uniform(0.8, 1.2))

    async def _within_timeout(self, agent: Agent, offer: Offer, result: _Result) -> None:
        with self._deadlines.limit():
            try:
                await self._converse(agent, offer, result)
            except SystemExit as exc:
                raise TargetExitedError(f"the target called sys.exit({exc.code!r})") from exc

    async def _converse(self, agent: Agent, offer: Offer, result: _Result) -> None:
        """Let the agent answer, once or until the supervisor ends the conversation."""
        conversation = result.conversation
        persona = {"persona": offer.persona.name} if offer.persona else {}
        conversation.add("user", offer.value, "input", persona)
        if self.supervisor is None:
            result.take(await agent.answer(offer))
            return
        message = offer.value
        for turn in range(self.config.multi_turn.max_turns):
            turn_offer = self._turn(offer, message, conversation)
            result.take(await agent.answer(turn_offer))
            conversation.add("assistant", self.client.plain(result.output), "agent", {})
            is_last = turn + 1 == self.config.multi_turn.max_turns
            decision = Decision.ended("max_turns_reached") if is_last else None
            if decision is None:
                decision = await self.supervisor.decide(conversation, offer)
            if decision.next_message is None:
                if decision.closing:
                    conversation.add("user", decision.closing, "supervisor", {**persona, "closing": True})
                conversation.termination_reason = decision.reason
                return
            message = decision.next_message
            conversation.add("user", message, "supervisor", persona)

    def _turn(self, offer: Offer, message: Any, conversation: Conversation) -> Offer:
        config = self.config.multi_turn
        metadata = {
            "iteration": offer.iteration,
            "persona": offer.persona.name if offer.persona else None,
            "persona_description": config.persona_override or (offer.persona.prompt if offer.persona else None),
            "service_context": self.config.metadata.get("service_context"),
            "variation": {"input": offer.value, "metadata": dict(offer.metadata)},
            "auto_approve_tools": config.auto_approve_tools,
        }
        offer.state = conversation.state(metadata)
        return Offer(
            message,
            run=offer.run,
            iteration=offer.iteration,
            persona=offer.persona,
            seed=offer.seed,
            session_id=offer.session_id,
            metadata=offer.metadata,
            expected=offer.expected,
            is_conversation=True,
            auto_approve=offer.auto_approve,
            messages=conversation.messages(),
            state=offer.state,
        )

    def _output(self, result: _Result, facts: RunFacts, offer: Offer) -> Any:
        """
        Return the output: a final response that the agent recorded, or what it returned, or what it recorded or sent.
        """
        if facts.final_response is not None:
            return facts.final_response
        if result.output is None:
            return "" if facts.agent_output is None else facts.agent_output
        return result.output if type(result.output) is str else self.client.plain(result.output)

    def _row(
        self,
        planned: PlannedRun,
        offer: Offer,
        trace_id: str,
        result: _Result,
        facts: RunFacts,
        call: Execution,
        started: float,
    ) -> Row:
        conversation = result.conversation
        if self.supervisor is None and result.status == "success":
            actions = actions_of(facts)
            conversation.add("assistant", result.output, "agent", {"actions": actions} if actions else {})
        usage = call.trace.usage
        cost = cost_of(facts)
        row: Row = {
            "trace_id": trace_id,
            "run": planned.number,
            "iteration": planned.iteration,
            "persona": offer.persona.name if offer.persona else None,
            "input_id": planned.entry.id,
            "input": offer.value,
            "expected": planned.entry.expected,
            "metadata": dict(offer.metadata),
            "output": result.output if result.status == "success" else None,
            "duration_ms": round((perf_counter() - started) * 1000, 3),
            "success": result.status == "success",
            "status": result.status,
            "error": result.error,
            "attempts": result.attempts,
            "token_usage": _token_usage(usage) if usage else None,
            "cost": cost.amount if cost else None,
            "session_id": offer.session_id,
            "observation_count": facts.observations,
            "conversation": conversation.turns,
            "conversation_state": offer.state or None,
            "termination_reason": conversation.termination_reason,
        }
        if result.callback_messages:
            row["callback_messages"] = self.client.plain(result.callback_messages)
        if isinstance(offer.state, dict) and offer.state:
            row["conversation_state"] = conversation.state(offer.state.get("metadata", {}))
        return row


def lost_row(planned: PlannedRun, trace_id: str, message: str, attempts: int, label: str) -> Row:
    """Return the row of a run whose worker process did not report how it ended."""
    entry = planned.entry
    row: Row = dict.fromkeys(
        ("output", "duration_ms", "token_usage", "cost", "conversation_state", "termination_reason"), None
    )
    row |= {
        "trace_id": trace_id,
        "run": planned.number,
        "iteration": planned.iteration,
        "persona": entry.persona.name if entry.persona else None,
        "input_id": entry.id,
        "input": entry.value,
        "expected": entry.expected,
        "metadata": dict(entry.metadata),
        "success": False,
        "status": "error",
        "error": {"type": "WorkerLost", "message": message},
        "attempts": attempts,
        "conversation": [],
        "session_id": f"{label}-{planned.number}",
    }
    return row


class RunCancelled(asyncio.CancelledError):
    """A run was cancelled because the experiment is interrupted; ``row`` describes it."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row


@dataclass(slots=True)
class Sent:
    """What a target returned, together with what it sent through callbacks of a replayed recording."""

    returned: Any
    messages: dict[str, list[Any]]

    @property
    def output(self) -> Any:
        """What the target returned, or else what it sent last."""
        sent = self.messages.get("send")
        return sent[-1] if self.returned is None and sent else self.returned


def _as_it_is(value: Any) -> Any:
    return value


def _error(exc: BaseException) -> dict[str, str]:
    return {"type": type(exc).__name__, "message": message_of(exc)}


def _token_usage(usage: dict[str, int]) -> dict[str, int]:
    prompt, completion = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": usage.get("total_tokens") or prompt + completion,
    }


async def collected(call: Callable[[], Any], *, is_async: bool, stream_path: str | None) -> Any:
    """
    Return the output of *call*: what it returns, awaits or streams.

    Args:
        call: Calls the target.
        is_async: False for a function that runs in a thread of its own, with the context of the caller.
        stream_path: See `StreamText`.
    """
    value = call() if is_async else await in_thread(lambda: _exhausted(call(), stream_path))
    if inspect.isawaitable(value):
        value = await value
    if hasattr(value, "__aiter__"):
        text = StreamText(stream_path)
        async for item in value:
            text.add(item)
        return text.output
    return _exhausted(value, stream_path) if is_async and _is_iterator(value) else value


def _exhausted(value: Any, stream_path: str | None) -> Any:
    """Return the text of *value* if it is an iterator, such as a generator, or else *value*."""
    if not _is_iterator(value):
        return value
    text = StreamText(stream_path)
    for item in value:
        text.add(item)
    return text.output


def _is_iterator(value: Any) -> bool:
    return hasattr(value, "__next__") and not inspect.isawaitable(value) and not hasattr(value, "read")


def in_thread(call: Callable[[], Any]) -> Awaitable[Any]:
    """
    Return the future result of *call* in a thread of its own, with a copy of the current context.

    The thread is a daemon: a call that goes on after its timeout does not delay the end of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(call)
        except StopIteration as exc:  # cannot be raised into a future
            error = RuntimeError(f"the target raised StopIteration: {exc}")
        except BaseException as exc:
            error = exc
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop was closed: the run timed out before
            return

    threading.Thread(target=work, name="fluxloop-run", daemon=True).start()
    return future
