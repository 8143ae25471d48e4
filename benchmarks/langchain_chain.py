"""
Measure a LangChain chain of prompt, chat model and parser: bare, with a handler that does nothing, and with FluxLoop's.

The floor is the time that langchain-core spends on a `BaseCallbackHandler` that ignores every event. A check reads
back the recorded traces.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler

from .registry import Ways, case
from .results import Target

PROMPT = ChatPromptTemplate.from_messages([("system", "You are a friendly assistant."), ("user", "{question}")])
QUESTION = {"question": "How do I get from the station to the museum?"}
TOKENS = 200
"""The number of tokens of a streamed answer: words and the spaces between them."""

Chain = Runnable[dict[str, str], str]
Run = Callable[[Chain, RunnableConfig, int], object]


def _chain_with_answer(text: str) -> Chain:
    model = GenericFakeChatModel(messages=itertools.repeat(AIMessage(text)))
    return PROMPT | model | StrOutputParser()


def _compared(folder: Path, text: str, run: Run) -> Iterator[Ways]:
    """Yield the variants of *run*, a function of a chain that answers *text*, a configuration and a number of calls."""
    fluxloop.configure(base_path=folder)
    chain = _chain_with_answer(text)
    nothing: RunnableConfig = {"callbacks": [BaseCallbackHandler()]}
    ours: RunnableConfig = {"callbacks": [FluxLoopCallbackHandler()]}

    def check() -> list[str]:
        traces = list(fluxloop.read_traces(folder))
        wrong = [trace for trace in traces if trace.output != text or [o.type.name for o in trace.observations] != TREE]
        return [f"{len(wrong)} of {len(traces)} traces are wrong"] if wrong or not traces else []

    yield Ways(
        bare=lambda calls: run(chain, {}, calls),
        floor=lambda calls: run(chain, nothing, calls),
        ours=lambda calls: run(chain, ours, calls),
        check=check,
    )


TREE = ["CHAIN", "GENERATION"]


@case("langchain-chain", calls=20, rounds=100, target=Target(4, "x"))
def chain(folder: Path) -> Iterator[Ways]:
    """A chain that is invoked, with an answer of three words."""

    def run(chain: Chain, config: RunnableConfig, calls: int) -> None:
        for _ in range(calls):
            chain.invoke(QUESTION, config)

    yield from _compared(folder, "Take the tram.", run)


@case("langchain-tokens", calls=2 * TOKENS, rounds=100, target=Target(2, "x"))
def tokens(folder: Path) -> Iterator[Ways]:
    """A chain that streams an answer of 200 tokens; the figures are per token."""

    def run(chain: Chain, config: RunnableConfig, calls: int) -> None:
        for _ in range(calls // TOKENS):
            for _ in chain.stream(QUESTION, config):
                pass

    yield from _compared(folder, " ".join(["tram"] * (TOKENS // 2)) + " ", run)
