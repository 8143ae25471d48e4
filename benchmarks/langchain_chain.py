"""
What recording a LangChain chain costs, beside a handler that does nothing.

Three programs take turns in small batches: bare, with a `BaseCallbackHandler` that ignores every event, and with
ours writing to a file. Printed is what each handler adds to the bare program, and the ratio of the two. The aims:
at most 4 for a chain that is invoked, at most 2 for a token of a streamed one.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler

TOKENS = 200
ROUNDS = 60

PROMPT = ChatPromptTemplate.from_messages([("system", "You are a friendly assistant."), ("user", "{question}")])
LONG = " ".join(["word"] * (TOKENS // 2))


def chain_that_says(text: str) -> Runnable[dict[str, str], str]:
    model = GenericFakeChatModel(messages=itertools.repeat(AIMessage(text)))
    return PROMPT | model | StrOutputParser()


SHORT_CHAIN, LONG_CHAIN = chain_that_says("Hello you there!"), chain_that_says(LONG)
QUESTION = {"question": "How do I get from the station to the museum?"}


def invoke(config: RunnableConfig) -> int:
    for _ in range(10):
        SHORT_CHAIN.invoke(QUESTION, config)
    return 10


def stream(config: RunnableConfig) -> int:
    return len(list(LONG_CHAIN.stream(QUESTION, config)))


def ainvoke(config: RunnableConfig) -> int:
    async def several() -> None:
        for _ in range(5):
            await SHORT_CHAIN.ainvoke(QUESTION, config)

    LOOP.run_until_complete(several())
    return 5


LOOP = asyncio.new_event_loop()
WORKLOADS = {"invoke": invoke, "stream, a token": stream, "ainvoke": ainvoke}


def microseconds(workload: Callable[[RunnableConfig], int], config: RunnableConfig) -> float:
    """Return how long one piece of *workload* takes."""
    begun = time.perf_counter()
    pieces = workload(config)
    return (time.perf_counter() - begun) / pieces * 1e6


def compare(workload: Callable[[RunnableConfig], int], configs: dict[str, RunnableConfig]) -> dict[str, float]:
    """Return the time of a piece of *workload* by configuration: the fastest tenth of the rounds, without the noise."""
    times: dict[str, list[float]] = {name: [] for name in configs}
    for _ in range(ROUNDS):
        for name, config in configs.items():
            times[name].append(microseconds(workload, config))
    return {name: statistics.quantiles(each, n=10)[0] for name, each in times.items()}


def table() -> Iterator[str]:
    """Yield the lines of the result."""
    configs: dict[str, RunnableConfig] = {
        "bare": {},
        "nothing": {"callbacks": [BaseCallbackHandler()]},
        "fluxloop": {"callbacks": [FluxLoopCallbackHandler()]},
    }
    yield f"{'us':16} {'bare':>8} {'nothing adds':>13} {'fluxloop adds':>14} {'ratio':>6}"
    for name, workload in WORKLOADS.items():
        for config in configs.values():
            workload(config)
        took = compare(workload, configs)
        nothing, ours = took["nothing"] - took["bare"], took["fluxloop"] - took["bare"]
        yield f"{name:16} {took['bare']:8.1f} {nothing:13.1f} {ours:14.1f} {ours / nothing:6.1f}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        fluxloop.configure(storage=sys.argv[1] if len(sys.argv) > 1 else "file", base_path=folder)
        for line in table():
            print(line, flush=True)
        LOOP.close()
