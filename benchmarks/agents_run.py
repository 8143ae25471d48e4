"""
Measure what recording adds to a run of the Agents SDK with two turns, two model calls and one tool call.

Three configurations run in turn, so that the load of the machine affects all of them: the SDK's tracing switched
off, a processor that does nothing, and FluxLoop's processor writing to files.

    python -m benchmarks.agents_run [--quick]
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from statistics import median
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool, set_tracing_disabled, tracing
from agents.tracing import generation_span
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

import fluxloop
from fluxloop_custom.openai_agents.processor import FluxLoopTracingProcessor

from .registry import report
from .results import Row, Spread, Target

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


async def run_us() -> float:
    """Return the duration of one run in microseconds."""
    began = time.perf_counter()
    await Runner.run(agent, "1 + 2?")
    return (time.perf_counter() - began) * 1_000_000


async def measure(runs: int) -> dict[str, list[float]]:
    """Return the durations of the runs with each configuration, in microseconds."""
    configurations: dict[str, list[Any] | None] = {"off": None, "idle": [Idle()], "ours": [FluxLoopTracingProcessor()]}
    times: dict[str, list[float]] = {name: [] for name in configurations}
    gc.disable()
    for number in range(runs + 20):
        for name, processors in configurations.items():
            set_tracing_disabled(processors is None)
            tracing.set_trace_processors(processors or [])
            taken = await run_us()
            if number >= 20:  # the first runs fill caches
                times[name].append(taken)
        gc.collect(0)
    gc.enable()
    return times


@report("agents-run")
def agents_run(quick: bool) -> Row:
    """Return what FluxLoop's processor adds to a run, compared with a processor that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        fluxloop.configure(storage="file", base_path=folder)
        times = asyncio.run(measure(60 if quick else 400))
        fluxloop.shutdown()
        fluxloop.reset_config()
    added = [ours - idle for ours, idle in zip(times["ours"], times["idle"], strict=True)]
    bare, idle = median(times["off"]), median(times["idle"])
    return Row(
        "agents-run",
        bare=bare,
        floor=idle - bare,
        ours=median(added),
        figure=Spread.of(added),
        figure_unit="us",
        target=Target(250, "us"),
        note=f"floor: a processor that does nothing; FluxLoop adds {median(added) / bare:.2f} of the bare run to it",
    )


if __name__ == "__main__":
    row = agents_run("--quick" in sys.argv)
    print(
        f"bare {row.bare:.0f} us, the SDK's tracing + {row.floor:.0f} us, FluxLoop + {row.ours:.0f} us ({row.figure})"
    )
