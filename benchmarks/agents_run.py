"""
Measure what recording adds to a run of the Agents SDK with two turns, two model calls and one tool call.

Three configurations run in turn: the SDK's tracing switched off, a processor that does nothing, and FluxLoop's
processor writing to files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool, set_tracing_disabled, tracing
from agents.tracing import generation_span
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

import fluxloop
from fluxloop_custom.openai_agents.processor import FluxLoopTracingProcessor

from .registry import Way, Ways, case
from .results import Target

CALL = ResponseFunctionToolCall(id="fc", call_id="call", name="add", arguments='{"a": 1, "b": 2}', type="function_call")
TEXT = ResponseOutputText(text="three", type="output_text", annotations=[], logprobs=[])
ANSWER = ResponseOutputMessage(id="msg", content=[TEXT], role="assistant", status="completed", type="message")


class Scripted(Model):
    """A model that calls the tool and then answers; it reports its calls as the SDK's chat model does."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        with generation_span(model="scripted", model_config={"temperature": 0.5}) as span:
            output = [CALL] if len(input) == 1 else [ANSWER]
            span.span_data.input = input
            span.span_data.output = [item.model_dump() for item in output]
            span.span_data.usage = {"input_tokens": 10, "output_tokens": 5}
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        return ModelResponse(output=list(output), usage=usage, response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


class Idle(tracing.TracingProcessor):
    """A processor that does nothing, to measure the cost of the SDK's own tracing."""

    def on_trace_start(self, trace: Any) -> None: ...
    def on_trace_end(self, trace: Any) -> None: ...
    def on_span_start(self, span: Any) -> None: ...
    def on_span_end(self, span: Any) -> None: ...
    def shutdown(self) -> None: ...
    def force_flush(self) -> None: ...


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


agent = Agent(name="Adder", model=Scripted(), tools=[add])


@case("agents-run", calls=10, rounds=60, target=Target(2, "x"))
def agents_run(folder: Path) -> Iterator[Ways]:
    """A run with two turns; the floor is a processor that does nothing."""
    fluxloop.configure(base_path=folder)
    configurations: dict[str, list[Any]] = {"bare": [], "floor": [Idle()], "ours": [FluxLoopTracingProcessor()]}

    def run(processors: list[Any]) -> Way:
        async def runs(calls: int) -> None:
            for _ in range(calls):
                await Runner.run(agent, "1 + 2?")

        def configured(calls: int) -> None:
            set_tracing_disabled(not processors)
            tracing.set_trace_processors(processors)
            asyncio.run(runs(calls))

        return configured

    def check() -> list[str]:
        sizes = [len(trace.observations) for trace in fluxloop.read_traces(folder)]
        wrong = [size for size in sizes if size != OBSERVATIONS]
        return [f"{len(wrong)} of {len(sizes)} traces are wrong"] if wrong or not sizes else []

    try:
        yield Ways(**{name: run(processors) for name, processors in configurations.items()}, check=check)
    finally:
        tracing.set_trace_processors([])
        set_tracing_disabled(False)


OBSERVATIONS = 5
"""In a trace of one run."""
