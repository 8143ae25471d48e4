"""
A handler that is used for a long time keeps no state of runs that have ended, however they ended.
"""

from __future__ import annotations

import gc
import sys
import weakref

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from scripted_models import ScriptedModel

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler

CHAIN = ChatPromptTemplate.from_messages([("user", "{question}")]) | ScriptedModel(replies=["yes"]) | StrOutputParser()


class Nowhere:
    """A storage that discards all records."""

    def write(self, records):
        pass

    def close(self):
        pass


def test_ten_thousand_runs_do_not_use_more_memory():
    """
    After the first thousand runs, nine thousand more allocate no memory that stays.
    """
    handler = FluxLoopCallbackHandler(client=fluxloop.FluxLoopClient(storage=Nowhere()))

    def runs(number):
        for n in range(number):
            root, model = f"{n}", f"{n}-model"
            handler.on_chain_start(None, {"n": n}, run_id=root, name="chain", metadata={"n": n}, tags=[f"t{n}"])
            handler.on_chat_model_start({"name": "m"}, [[]], run_id=model, parent_run_id=root)
            handler.on_llm_new_token(f"word {n}", run_id=model)
            if n % 3:  # the others end with their chain
                handler.on_llm_error(ValueError(n), run_id=model, parent_run_id=root)
            handler.on_chain_end({"n": n}, run_id=root)
        gc.collect()

    runs(1_000)
    before = sys.getallocatedblocks()
    runs(9_000)

    assert len(handler.ledger) == 0
    assert sys.getallocatedblocks() - before < 500


def test_real_runs_leave_nothing_in_the_ledger(captured, config):
    """
    After invoked, streamed, left and failed runs, the ledger is empty.
    """
    for _ in range(10):
        CHAIN.invoke({"question": "?"}, config)
        list(CHAIN.stream({"question": "?"}, config))
        for _ in CHAIN.stream({"question": "?"}, config):
            break
    gc.collect()

    assert len(config["callbacks"][0].ledger) == 0


def test_inputs_and_outputs_are_released_with_the_run(captured, config):
    """
    The handler keeps no reference to inputs, outputs and metadata.
    """

    class Big:
        pass

    given, about = Big(), Big()
    kept = [weakref.ref(given), weakref.ref(about)]
    RunnableLambda(lambda value: [value]).invoke(given, {**config, "metadata": {"it": about}})
    del given, about
    gc.collect()

    assert [reference() for reference in kept] == [None, None]


def test_two_handlers_on_one_run_leave_no_entry():
    """
    The handler that does not record the run keeps no entry either, although no end of the model is reported.
    """
    client = fluxloop.FluxLoopClient(storage=Nowhere())
    one, other = FluxLoopCallbackHandler(client=client), FluxLoopCallbackHandler(client=client)
    for handler in (one, other):
        handler.on_chain_start(None, {}, run_id="root", name="chain")
    for handler in (one, other):
        handler.on_chat_model_start({"name": "m"}, [[]], run_id="model", parent_run_id="root")
    for handler in (one, other):
        handler.on_chain_end({}, run_id="root")

    assert (len(one.ledger), client.report().written) == (0, 3)
    assert one.ledger is other.ledger
