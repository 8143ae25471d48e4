"""
What recording adds to a run of the Agents SDK with one function call: two turns, two model calls, one tool.

The same run three times over, taken in turns so that a busy machine is busy for all: with the SDK's tracing off,
with a processor that does nothing, and with ours writing to files. Prints microseconds, and ratios to the bare run.

    python benchmarks/agents_run.py [runs]
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import time
from statistics import median
from typing import Any

os.environ.setdefault("OPENAI_AGENTS_DISABLE_TRACING", "false")

from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool, set_tracing_disabled, tracing
from agents.tracing import generation_span
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

import fluxloop
from fluxloop_custom.openai_agents import FluxLoopTracingProcessor

CALL = ResponseFunctionToolCall(id="fc", call_id="call", name="add", arguments='{"a": 1, "b": 2}', type="function_call")
TEXT = ResponseOutputText(text="three", type="output_text", annotations=[], logprobs=[])
ANSWER = ResponseOutputMessage(id="msg", content=[TEXT], role="assistant", status="completed", type="message")


class Scripted(Model):
    """Calls the tool, then answers; reports its calls as the SDK's chat model does."""

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
    """Does nothing: what the SDK's own tracing costs."""

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


async def run_us() -> float:
    """Return how long one run takes, in microseconds."""
    began = time.perf_counter()
    await Runner.run(agent, "1 + 2?")
    return (time.perf_counter() - began) * 1_000_000


async def measure(runs: int) -> dict[str, float]:
    """Return the median of each set-up, in microseconds."""
    ours, idle = FluxLoopTracingProcessor(), Idle()
    set_ups: dict[str, list[Any] | None] = {"tracing off": None, "idle processor": [idle], "fluxloop": [ours]}
    times: dict[str, list[float]] = {name: [] for name in set_ups}
    for number in range(runs + 20):
        for name, processors in set_ups.items():
            set_tracing_disabled(processors is None)
            tracing.set_trace_processors(processors or [])
            gc.disable()
            taken = await run_us()
            gc.enable()
            if number >= 20:  # the first ones fill caches
                times[name].append(taken)
    return {name: median(each) for name, each in times.items()}


def main(runs: int = 300) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        fluxloop.configure(storage="file", base_path=folder)
        times = asyncio.run(measure(runs))
        fluxloop.shutdown()
    bare = times["tracing off"]
    for name, taken in times.items():
        print(f"{name:<16}{taken:9.0f} us   {taken / bare:5.2f} x   + {taken - bare:.0f} us")
    print(f"FluxLoop adds {times['fluxloop'] - times['idle processor']:.0f} us to what the SDK's tracing costs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
