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
    """Uninstall the handler after each test."""
    yield
    uninstall()


def test_an_installed_handler_records_runs_without_callbacks(captured):
    """
    Sync and async; a run opens a trace if none is open.
    """
    install()
    CHAIN.invoke("Sure?")
    asyncio.run(CHAIN.ainvoke("Sure?"))

    assert captured.outline() == f"{TREE}\n{TREE}"


def test_an_installed_handler_records_in_threads_that_existed_before(captured):
    """
    A context variable would be empty in a thread or context that existed before the installation.
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


def test_a_handler_that_is_installed_twice_or_also_passed_records_once(captured, config):
    """
    A run that has a FluxLoop handler gets no second one.
    """
    install()
    install()
    CHAIN.invoke("Sure?", config)
    CHAIN.invoke("Sure?", {"callbacks": [FluxLoopCallbackHandler()]})
    RunnableParallel(a=RunnableLambda(abs), b=RunnableLambda(abs)).invoke(-1)

    assert captured.outline().startswith(f"{TREE}\n{TREE}\nCHAIN RunnableParallel<a,b>")
    assert captured.outline().count("CHAIN abs") == 2


def test_after_uninstall_nothing_is_recorded(captured):
    """
    Uninstalling twice has no further effect.
    """
    install()
    uninstall()
    uninstall()
    CHAIN.invoke("Sure?")

    assert captured.traces() == []


def test_a_run_that_is_open_at_uninstall_is_recorded_to_its_end(captured):
    """
    So are the runs that it starts afterwards.
    """
    install()

    def step(value):
        uninstall()
        return CHAIN.invoke(value)

    RunnableLambda(step).invoke("Sure?")

    assert [line.split()[0] for line in captured.outline().splitlines()] == ["CHAIN", "GENERATION"]


def test_the_handler_that_was_installed_last_is_used(captured):
    """
    With its options, such as ``show_all``.
    """
    install()
    handler = install(show_all=True)
    CHAIN.invoke("Sure?")

    assert install(handler) is handler
    assert captured.outline() == f"{TREE}\n  CHAIN StrOutputParser -> 'yes'"


def test_an_installed_handler_is_not_attached_while_recording_is_off(captured):
    """
    With ``enabled=False``, the callbacks of a run have no FluxLoop handler; after ``enabled=True`` they have.
    """
    seen = []
    install()
    look = RunnableLambda(lambda value, config: seen.append(len(config["callbacks"].handlers)) or value)
    fluxloop.configure(enabled=False)
    look.invoke("x")
    fluxloop.configure(enabled=True)
    look.invoke("x")

    assert seen == [0, 1]


def test_runs_of_an_installed_handler_nest_in_the_open_observation(captured):
    """
    Inside a decorated agent, runs are part of its trace.
    """
    install()

    @fluxloop.agent
    def assistant(question):
        return CHAIN.invoke(question)

    assistant("Sure?")

    assert captured.outline().splitlines()[:2] == ["AGENT assistant -> 'yes'", "  CHAIN RunnableSequence -> 'yes'"]


def test_a_chain_with_other_callbacks_inside_a_step_nests_under_the_step(captured):
    """
    LangChain reports no parent for a run whose callbacks were replaced; FluxLoop finds the step.
    """
    install()

    def step(value):
        return CHAIN.invoke(value, {"callbacks": []})

    RunnableLambda(step).invoke("Sure?")

    assert [line.split()[0] for line in captured.outline().splitlines()] == ["CHAIN", "CHAIN", "GENERATION"]
    assert len(captured.traces()) == 1
