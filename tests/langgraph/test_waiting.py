"""
Reading from the records which runs wait for a human.
"""

from __future__ import annotations

import graphs
from graphs import THREAD
from langgraph.types import Command

import fluxloop
from fluxloop.testing import capture
from fluxloop_langgraph import interruptions, waiting, wrap_graph


def test_questions_and_answers_can_be_read_from_the_records(recorded):
    """
    `interruptions` lists each question with its node and time, and with its answer.
    """
    graph = wrap_graph(graphs.asking())
    for thread in "ab":
        graph.invoke({"seen": []}, {"configurable": {"thread_id": thread}})
    graph.invoke(Command(resume="no"), {"configurable": {"thread_id": "a"}})
    answered, pending = interruptions(recorded.traces())

    assert waiting(recorded.traces()) == [pending]
    assert (pending.thread_id, pending.node, pending.asked) == ("b", "ask", {"question": "go on?"})
    assert (answered.answer, answered.is_waiting) == ("no", False)
    assert (answered.trace_id, answered.answered_in) == tuple(
        trace.trace_id for trace in (recorded.traces()[0], recorded.traces()[2])
    )


def test_new_input_ends_the_waiting_of_a_thread(recorded):
    """
    New input instead of an answer replaces the open question.
    """
    graph = wrap_graph(graphs.asking())
    graph.invoke({"seen": []}, THREAD)
    graph.invoke({"seen": ["something else"]}, THREAD)
    first, second = interruptions(recorded.traces())

    assert (first.is_waiting, first.answer, second.is_waiting) == (False, None, True)


def test_updating_the_state_ends_the_waiting_of_a_thread(recorded):
    """
    A graph that continues from a state updated by hand does not wait, and its question has no answer.
    """
    graph = wrap_graph(graphs.asking())
    graph.invoke({"seen": []}, THREAD)
    graph.update_state(THREAD, {"seen": ["by hand"]}, as_node="ask")
    graph.invoke(None, THREAD)
    (only,) = interruptions(recorded.traces())

    assert (only.is_waiting, only.answer, graph.get_state(THREAD).next) == (False, None, ())


def test_waiting_reads_files(tmp_path):
    """
    `waiting` reads a folder of records.
    """
    fluxloop.configure(storage="file", base_path=tmp_path / "traces")
    wrap_graph(graphs.asking()).invoke({"seen": []}, THREAD)
    fluxloop.flush()

    assert [one.asked for one in waiting(tmp_path / "traces")] == [{"question": "go on?"}]


def test_a_question_that_sampling_keeps_has_its_answer():
    """
    Sampling keeps or leaves out a whole thread, so no answered thread is listed as waiting.
    """
    graph = wrap_graph(graphs.asking())
    with capture(sample_rate=0.5) as captured:
        for number in range(40):
            thread = {"configurable": {"thread_id": f"thread-{number}"}}
            graph.invoke({"seen": []}, thread)
            graph.invoke(Command(resume="yes"), thread)

    assert 0 < len(interruptions(captured.traces())) < 40
    assert waiting(captured.traces()) == []
