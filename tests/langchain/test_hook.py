"""
`install`: every run of the process, without touching the code that starts it.
"""

from __future__ import annotations

import asyncio
import threading

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda, RunnableParallel
from scripted_models import ScriptedModel

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler, install, uninstall

CHAIN = ScriptedModel(replies=["yes"]) | StrOutputParser()
TREE = "CHAIN RunnableSequence -> 'yes'\n  GENERATION ScriptedModel -> {'role': 'assistant', 'content': 'yes'}"


@pytest.fixture(autouse=True)
def uninstalled():
    """Whatever a test installs is gone afterwards."""
    yield
    uninstall()


def test_installed_it_records_runs_nobody_passed_it_to(captured):
    """
    Sync and async, with a trace of its own where none is open.
    """
    install()
    CHAIN.invoke("Sure?")
    asyncio.run(CHAIN.ainvoke("Sure?"))

    assert captured.outline() == f"{TREE}\n{TREE}"


def test_installed_it_is_in_threads_that_were_there_before(captured):
    """
    A context variable would be empty in a thread or context older than the installation.
    """
    wanted, done = threading.Event(), threading.Event()

    def work():
        wanted.wait(10)
        CHAIN.invoke("Sure?")
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    install()
    wanted.set()
    thread.join()

    assert done.is_set()
    assert captured.outline() == TREE


def test_installed_twice_or_passed_as_well_it_records_once(captured, config):
    """
    Installing again, or passing a handler that is installed anyway, changes nothing.
    """
    install()
    install()
    CHAIN.invoke("Sure?", config)
    CHAIN.invoke("Sure?", {"callbacks": [FluxLoopCallbackHandler()]})
    RunnableParallel(a=RunnableLambda(abs), b=RunnableLambda(abs)).invoke(-1)

    assert captured.outline().startswith(f"{TREE}\n{TREE}\nCHAIN RunnableParallel<a,b>")
    assert captured.outline().count("CHAIN abs") == 2


def test_uninstalled_it_records_nothing_more(captured):
    """
    What begins afterwards is not recorded; uninstalling twice is harmless.
    """
    install()
    uninstall()
    uninstall()
    CHAIN.invoke("Sure?")

    assert captured.traces() == []


def test_a_run_that_is_open_when_it_is_uninstalled_ends_well(captured):
    """
    The runs that have begun are recorded to their end, with what they still start.
    """
    install()

    def step(value):
        uninstall()
        return CHAIN.invoke(value)

    RunnableLambda(step).invoke("Sure?")

    assert [line.split()[0] for line in captured.outline().splitlines()] == ["CHAIN", "GENERATION"]


def test_the_handler_that_was_installed_last_is_in_force(captured):
    """
    Its options are too: here all runnables are wanted.
    """
    install()
    handler = install(show_all=True)
    CHAIN.invoke("Sure?")

    assert install(handler) is handler
    assert captured.outline() == f"{TREE}\n  CHAIN StrOutputParser -> 'yes'"


def test_switched_off_it_is_not_even_attached(captured):
    """
    With ``enabled=False`` a run has no handler of ours at all; switched on again it has.
    """
    seen = []
    install()
    look = RunnableLambda(lambda value, config: seen.append(len(config["callbacks"].handlers)) or value)
    fluxloop.configure(enabled=False)
    look.invoke("x")
    fluxloop.configure(enabled=True)
    look.invoke("x")

    assert seen == [0, 1]


def test_installed_it_nests_in_what_is_open(captured):
    """
    Inside an agent of the user's, runs are part of its trace.
    """
    install()

    @fluxloop.agent
    def assistant(question):
        return CHAIN.invoke(question)

    assistant("Sure?")

    assert captured.outline().splitlines()[:2] == ["AGENT assistant -> 'yes'", "  CHAIN RunnableSequence -> 'yes'"]


def test_a_chain_that_is_given_other_callbacks_inside_stays_in_place(captured):
    """
    Where user code replaces the callbacks, LangChain forgets the parent; ours is found all the same.
    """
    install()

    def step(value):
        return CHAIN.invoke(value, {"callbacks": []})

    RunnableLambda(step).invoke("Sure?")

    assert [line.split()[0] for line in captured.outline().splitlines()] == ["CHAIN", "CHAIN", "GENERATION"]
    assert len(captured.traces()) == 1
