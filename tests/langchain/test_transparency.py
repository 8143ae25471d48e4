"""
The program behaves the same with the handler and without: results, events, errors and their order.
"""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.tools import tool
from scripted_models import ScriptedCompletion, ScriptedModel

import fluxloop
from fluxloop.bridge import default
from fluxloop_langchain import FluxLoopCallbackHandler

PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
QUESTION = {"question": "Who?"}


@tool
def shout(text: str) -> str:
    """Shout."""
    return text.upper()


CHAINS = {
    "chat": lambda: PROMPT | ScriptedModel(replies=["Tigers hunt."]) | StrOutputParser(),
    "completion": lambda: PROMPT | ScriptedCompletion(reply="once upon") | StrOutputParser(),
    "json": lambda: PROMPT | ScriptedModel(replies=['{"a": [1, 2]}']) | JsonOutputParser(),
    "branches": lambda: RunnableParallel(
        question=RunnablePassthrough(), length=RunnableLambda(lambda given: len(given["question"]))
    ).assign(more=lambda given: given["length"] + 1),
    "tool": lambda: RunnableLambda(lambda given: given["question"]) | shout,
    "fallback": lambda: (
        ScriptedModel(replies=[OSError("down")]).with_fallbacks([ScriptedModel(replies=["up"])]) | StrOutputParser()
    ),
    "error": lambda: PROMPT | ScriptedModel(replies=[ConnectionError("gone")]) | StrOutputParser(),
    "broken parser": lambda: PROMPT | ScriptedModel(replies=["no JSON"]) | JsonOutputParser(),
}
"""A maker of each chain, since a scripted model goes on where it was."""

each_chain = pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in CHAINS.items()])


async def outcome(make, way, config):
    """Return what a caller receives from one run: its items, or the type and text of the exception."""
    chain, given = make(), copy.deepcopy(QUESTION)
    if make is CHAINS["fallback"]:
        given = "Who?"
    try:
        if way == "invoke":
            seen = [chain.invoke(given, config)]
        elif way == "ainvoke":
            seen = [await chain.ainvoke(given, config)]
        elif way == "stream":
            seen = list(chain.stream(given, config))
        elif way == "astream":
            seen = [item async for item in chain.astream(given, config)]
        else:
            seen = [plain(event) async for event in chain.astream_events(given, config, version=way)]
    except Exception as exc:
        return type(exc), str(exc)
    return seen, given


def unordered(outcome):
    """Return the received items in an order that does not depend on the speed of the branches."""
    seen, given = outcome
    return sorted(json.dumps(item, sort_keys=True) for item in seen), given


def plain(event):
    """Return an event without the fields that are different in each run."""
    data = json.loads(json.dumps(event["data"], default=lambda value: getattr(value, "content", type(value).__name__)))
    return {"event": event["event"], "name": event["name"], "tags": event["tags"], "data": data}


@each_chain
@pytest.mark.filterwarnings("ignore:astream_events version='v1'")
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "v1", "v2"])
async def test_a_caller_sees_the_same_with_the_handler(captured, config, make, way):
    """
    Results, streamed items, the framework's events and exceptions are the same.
    """
    bare = await outcome(make, way, {})
    recorded = await outcome(make, way, config)
    if make is CHAINS["branches"]:  # they run concurrently, in any order
        bare, recorded = unordered(bare), unordered(recorded)

    assert recorded == bare
    assert captured.traces()


@each_chain
async def test_another_handler_receives_the_same_events_in_the_same_order(captured, config, make):
    """
    A handler beside FluxLoop's receives the events that it receives alone.
    """

    class Other(BaseCallbackHandler):
        def __init__(self):
            self.received = []

        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda *args, **kwargs: self.received.append(name)
            return super().__getattribute__(name)

    alone, beside = Other(), Other()
    for other, ours in ((alone, []), (beside, config["callbacks"])):
        for way in ("invoke", "ainvoke"):
            await outcome(make, way, {"callbacks": [*ours, other]})

    assert sorted(beside.received) == sorted(alone.received)
    if make is not CHAINS["branches"]:
        assert beside.received == alone.received


def test_inputs_and_outputs_are_left_as_they_are(captured, config):
    """
    Values are neither changed nor copied: steps receive the same objects.
    """
    given, passed = {"question": ["a", {"b": 1}]}, []
    before = copy.deepcopy(given)
    returned = (RunnableLambda(passed.append) | RunnableLambda(lambda _: passed[0])).invoke(given, config)

    assert returned is given
    assert given == before


def test_an_iterator_that_passes_through_is_not_consumed(captured, config):
    """
    Recording reads no item of a generator.
    """
    numbers = (number for number in range(3))
    returned = (RunnableLambda(lambda value: value) | RunnableLambda(lambda value: value)).invoke(numbers, config)

    assert list(returned) == [0, 1, 2]


def test_the_handler_has_no_special_attributes():
    """
    It does not run inline, and does not raise, so LangChain treats other handlers as without it.
    """
    handler = FluxLoopCallbackHandler()

    assert (handler.run_inline, handler.raise_error) == (False, False)
    assert not any(getattr(handler, name) for name in dir(handler) if name.startswith("ignore_"))


def test_a_chain_with_the_handler_can_be_copied_and_pickled(captured):
    """
    Copies record as the original does, also in another process.
    """
    handler = FluxLoopCallbackHandler(show_all=True)
    chain = (PROMPT | FakeListChatModel(responses=["yes"])).with_config(callbacks=[handler], run_name="chain")
    for copied in (copy.copy(chain), copy.deepcopy(chain), pickle.loads(pickle.dumps(chain))):
        copied.invoke({"question": "?"})
    unpickled = pickle.loads(pickle.dumps(handler))

    assert [trace.name for trace in captured.traces()] == ["chain"] * 3
    assert (unpickled.show_all, unpickled.ledger) == (True, handler.ledger)


def test_a_copy_of_a_handler_keeps_its_client():
    """
    The client itself is not copied.
    """
    client = fluxloop.FluxLoopClient(storage=fluxloop.testing.MemoryStorage())

    assert copy.deepcopy(FluxLoopCallbackHandler(client=client)).client is client
    assert copy.deepcopy(default) is pickle.loads(pickle.dumps(default)) is default
