"""
The program runs as it did: same results, same events, same errors, same order, with the handler and without.
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
    """What a caller sees of one run: its items, or the exception's type and text."""
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
    """What was seen, in an order that does not depend on which branch was quicker."""
    seen, given = outcome
    return sorted(json.dumps(item, sort_keys=True) for item in seen), given


def plain(event):
    """An event without what differs from run to run."""
    data = json.loads(json.dumps(event["data"], default=lambda value: getattr(value, "content", type(value).__name__)))
    return {"event": event["event"], "name": event["name"], "tags": event["tags"], "data": data}


@each_chain
@pytest.mark.filterwarnings("ignore:astream_events version='v1'")
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "v1", "v2"])
async def test_a_caller_sees_the_same_with_the_handler(captured, config, make, way):
    """
    Results, streamed items, the framework's own events and exceptions are those of the bare chain.
    """
    bare = await outcome(make, way, {})
    recorded = await outcome(make, way, config)
    if make is CHAINS["branches"]:  # they run at once: who comes first is chance
        bare, recorded = unordered(bare), unordered(recorded)

    assert recorded == bare
    assert captured.traces()


@each_chain
async def test_another_handler_is_told_the_same_in_the_same_order(captured, config, make):
    """
    Beside ours somebody else's handler gets every event it would get alone.
    """

    class Other(BaseCallbackHandler):
        def __init__(self):
            self.told = []

        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda *args, **kwargs: self.told.append(name)
            return super().__getattribute__(name)

    alone, beside = Other(), Other()
    for other, ours in ((alone, []), (beside, config["callbacks"])):
        for way in ("invoke", "ainvoke"):
            await outcome(make, way, {"callbacks": [*ours, other]})

    assert sorted(beside.told) == sorted(alone.told)
    if make is not CHAINS["branches"]:
        assert beside.told == alone.told


def test_inputs_and_outputs_are_left_as_they_are(captured, config):
    """
    What passes through is neither changed nor copied: the very objects arrive.
    """
    given, passed = {"question": ["a", {"b": 1}]}, []
    before = copy.deepcopy(given)
    returned = (RunnableLambda(passed.append) | RunnableLambda(lambda _: passed[0])).invoke(given, config)

    assert returned is given
    assert given == before


def test_an_iterator_that_passes_through_is_not_consumed(captured, config):
    """
    Recording looks at a generator without taking anything from it.
    """
    numbers = (number for number in range(3))
    returned = (RunnableLambda(lambda value: value) | RunnableLambda(lambda value: value)).invoke(numbers, config)

    assert list(returned) == [0, 1, 2]


def test_the_handler_asks_for_nothing_special():
    """
    It does not run inline, raises nothing, ignores nothing: LangChain treats others as if it were not there.
    """
    handler = FluxLoopCallbackHandler()

    assert (handler.run_inline, handler.raise_error) == (False, False)
    assert not any(getattr(handler, name) for name in dir(handler) if name.startswith("ignore_"))


def test_what_the_handler_is_attached_to_can_still_be_copied_and_pickled(captured):
    """
    Copies record like the one they were made of; so does what another process unpickles.
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
    A client is where records go; there is no second one of it.
    """
    client = fluxloop.FluxLoopClient(storage=fluxloop.testing.MemoryStorage())

    assert copy.deepcopy(FluxLoopCallbackHandler(client=client)).client is client
    assert copy.deepcopy(default) is pickle.loads(pickle.dumps(default)) is default
