"""
Execute one run: its trace, its attempts and timeouts, its conversation, and the row that describes it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import Any

from ..encoding.record_text import quoted
from ..enums import ObservationLevel, ObservationType
from ..interruptions import was_raised_in_a_signal_handler
from ..tracing.calls import begin
from ..tracing.events import record_event
from ..tracing.executions import Execution
from ..tracing.outcomes import message_of
from ..tracing.spec import Spec
from .agents import Agent, AgentSource
from .binding import Offer
from .configuration.models import ExperimentConfig
from .conversation import Conversation, Decision, Supervising
from .deadlines import Deadlines, RunTimeoutError
from .exits import HardExit
from .inputs import PlannedRun
from .records import ExperimentClient, RunFacts, actions_of
from .rows import Row, RunCancelled, RunResult, error_of, row_of


class TargetExitedError(RuntimeError):
    """The target called ``sys.exit`` or ``os._exit``, or raised a `BaseException`: its run ends, not the experiment."""


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
        is_alone: Whether this process executes one run at a time, so that each can seed `random`.
    """

    def __init__(
        self,
        name: str,
        label: str,
        config: ExperimentConfig,
        source: AgentSource,
        client: ExperimentClient,
        supervisor: Supervising | None = None,
        *,
        is_alone: bool = False,
    ) -> None:
        self.name, self.label, self.config = name, label, config
        self.source, self.client, self.supervisor = source, client, supervisor
        self.deadlines = Deadlines(config.runner.timeout_seconds)
        redactor = client.recorder.redactor
        self._masked: Callable[[str], str] = lru_cache(redactor.name if redactor is not None else str)
        """Masks names once: a search for secrets takes longer than the other parts of a label."""
        self._sets_seed = config.seed is not None and (is_alone or config.parallel_runs == 1)

    async def execute(self, planned: PlannedRun, trace_id: str | None = None) -> Row:
        """
        Execute a run and return its row. A failure of the target is a row, too.

        Args:
            planned: The run.
            trace_id: The id of its trace; by default a new one.

        Raises:
            RunCancelled: If the task is cancelled.
        """
        offer, result = self._offer(planned), RunResult()
        trace_id = trace_id or self.client.recorder.new_id()
        facts = self.client.storage.open_run(trace_id)
        call = self._begin(planned, offer, trace_id)
        if self._sets_seed:
            random.seed(offer.seed)
        started = perf_counter()
        try:
            await self._attempts(planned, offer, result, call)
            result.output = self._output(result, facts)
            call.returned(result.output)
        except asyncio.CancelledError as exc:
            call.raised(exc)
            result.status, result.error = "cancelled", error_of(exc)
            if _is_being_cancelled():
                result.duration_ms = _ms_since(started)
                raise RunCancelled(self._row(planned, offer, trace_id, result, facts, call)) from exc
        except Exception as exc:
            call.raised(exc)
            result.status, result.error = "timeout" if isinstance(exc, RunTimeoutError) else "error", error_of(exc)
        except BaseException as exc:
            call.raised(exc)
            raise
        finally:
            self.client.storage.close_run(trace_id)
        result.duration_ms = _ms_since(started)
        return self._row(planned, offer, trace_id, result, facts, call)

    def _row(
        self, planned: PlannedRun, offer: Offer, trace_id: str, result: RunResult, facts: RunFacts, call: Execution
    ) -> Row:
        if self.supervisor is None and result.status == "success":
            actions = actions_of(facts)
            result.conversation.add("assistant", result.output, "agent", {"actions": actions} if actions else {})
        if result.callback_messages:
            result.callback_messages = self.client.plain(result.callback_messages)
        return row_of(planned, offer, trace_id, result, facts, call.trace.usage)

    def _begin(self, planned: PlannedRun, offer: Offer, trace_id: str) -> Execution:
        persona = offer.persona.name if offer.persona else None
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
        spec = Spec(self.client, ObservationType.SPAN, opens_trace=True, trace=trace, bind=_as_it_is, is_named=True)
        spec.name = f"{self._masked(self.name)}_iter{planned.iteration}"
        if persona:
            spec.name += f"_persona_{self._masked(persona)}"
        spec.label = f'"type":"SPAN","name":{quoted(spec.name)}'
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

    async def _attempts(self, planned: PlannedRun, offer: Offer, result: RunResult, call: Execution) -> None:
        """Run the target, again after failures as often as configured, with growing pauses between."""
        runner = self.config.runner
        while True:
            result.attempts += 1
            if result.attempts > 1:
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

    async def _within_timeout(self, agent: Agent, offer: Offer, result: RunResult) -> None:
        with self.deadlines.limit():
            try:
                await self._converse(agent, offer, result)
            except SystemExit as exc:
                function = "os._exit" if isinstance(exc, HardExit) else "sys.exit"
                raise TargetExitedError(f"the target called {function}({exc.code!r})") from exc
            except (Exception, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as exc:
                if was_raised_in_a_signal_handler(exc):
                    raise
                raise TargetExitedError(f"the target raised {type(exc).__name__}: {message_of(exc)}") from exc

    async def _converse(self, agent: Agent, offer: Offer, result: RunResult) -> None:
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

    def _output(self, result: RunResult, facts: RunFacts) -> Any:
        """
        Return the output: a final response that the agent recorded, or what it returned, or what it recorded or sent.
        """
        if facts.final_response is not None:
            return facts.final_response
        if result.output is None:
            return "" if facts.agent_output is None else facts.agent_output
        return result.output if type(result.output) is str else self.client.plain(result.output)


def _as_it_is(value: Any) -> Any:
    return value


def _is_being_cancelled() -> bool:
    """Whether something cancels the current task; a target may also raise CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _ms_since(started: float) -> float:
    return round((perf_counter() - started) * 1000, 3)
