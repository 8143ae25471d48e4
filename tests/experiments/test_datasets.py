"""
`fluxloop dataset from-traces`: inputs from recorded traces.
"""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from cli.commands import runner
from experiments.evaluation_aids import experiment, lines_of, travel_agent

import fluxloop
from fluxloop import experiments
from fluxloop.errors import FilterError, WriteError
from fluxloop.experiments.datasets import input_of
from fluxloop.models import Trace


@pytest.fixture
def fluxloop_(monkeypatch, capsys):
    """The command, run in this process."""
    return runner(monkeypatch, capsys)


@pytest.fixture
def recorded(tmp_path):
    """A folder of records as a traced program writes it."""
    client = fluxloop.FluxLoopClient(storage="file", base_path=tmp_path / "traces")

    @client.agent
    def support(message, user_id):
        if "refund" in message:
            raise PermissionError("not allowed")
        return f"answer to {message}"

    for message in ["hello", "refund 1", "hello", "refund 2", "bye"]:
        with suppress(PermissionError):
            support(message, user_id=7)
    client.shutdown()
    return tmp_path / "traces"


def test_failed_traces_become_inputs(recorded, tmp_path, fluxloop_):
    """
    The message is the input; where the trace is from, and why it failed, are metadata.
    """
    output = tmp_path / "inputs.jsonl"

    done = fluxloop_("dataset", "from-traces", recorded, "--status", "error", "-o", output)

    assert (done.code, done.out) == (0, "")
    assert done.err == f"fluxloop: 2 inputs from 2 traces, written to {output}\n"
    first, second = lines_of(output)
    assert (first["input"], second["input"]) == ("refund 1", "refund 2")
    assert first["metadata"] == {
        "source_trace": first["id"],
        "source_status": "error",
        "source_error": "not allowed",
    }


def test_equal_inputs_become_one_with_the_answer_on_request(recorded, fluxloop_):
    """
    Printed as JSON lines; a failed trace has no expected answer.
    """
    done = fluxloop_("dataset", "from-traces", recorded, "--expected")

    entries = [orjson.loads(line) for line in done.out.splitlines()]
    assert [(entry["input"], entry.get("expected")) for entry in entries] == [
        ("hello", "answer to hello"),
        ("refund 1", None),
        ("refund 2", None),
        ("bye", "answer to bye"),
    ]
    assert done.err == "fluxloop: 4 inputs from 5 traces, 1 duplicates\n"


def test_a_sample_is_the_same_for_the_same_traces(recorded):
    """
    So many inputs, in the order of their traces.
    """
    first = experiments.from_traces(recorded, sample=2)

    assert len(first.inputs) == 2
    assert experiments.from_traces(recorded, sample=2) == first
    with pytest.raises(FilterError, match="sample must be a whole number from 1 up, got 0"):
        experiments.from_traces(recorded, sample=0)


def test_an_experiment_is_a_source_of_inputs_too(tmp_path):
    """
    Its artifacts are ordinary records.
    """
    folder = experiment(tmp_path / "demo", ["Rome"])

    (entry,) = experiments.from_traces(folder, expected=True).inputs

    assert entry["input"] == "Rome"
    assert entry["expected"] == travel_agent.__wrapped__("Rome")
    assert entry["metadata"]["source_tools"] == ["search", "book"]


@pytest.mark.parametrize(
    ("recorded_input", "field", "expected"),
    [
        ("text", None, "text"),
        ({"city": "Rome"}, None, "Rome"),
        ({"user": 1, "question": "why?"}, None, "why?"),
        ({"a": 1, "b": 2}, None, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, "b", 2),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}, None, "hi"),
        ({"messages": "odd"}, None, "odd"),
        (None, None, None),
    ],
)
def test_the_input_is_found_by_its_name(recorded_input, field, expected):
    """
    A known name, the only argument, or the last message of the user.
    """
    assert input_of(Trace(trace_id="t", input=recorded_input), field) == expected


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--name", "other"], 1, "no trace matches"),
        (["--field", "lost"], 1, "no trace has a recorded input"),
        (["--status", "eror"], 2, "status must be one of"),
        (["--since", "soon"], 2, "since must be"),
        (["-o", "{existing}"], 2, "exists already"),
        (["-o", "{existing}/x"], 2, "cannot be written"),
    ],
)
def test_what_gives_no_inputs_is_one_line(recorded, tmp_path, fluxloop_, arguments, code, message):
    """
    1 if no trace matches, 2 if it could not be done; an existing file stays as it was.
    """
    existing = tmp_path / "existing"
    existing.write_text("mine")

    done = fluxloop_("dataset", "from-traces", recorded, *(one.format(existing=existing) for one in arguments))

    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert existing.read_text() == "mine"


def test_a_name_with_which_the_file_would_be_read_in_another_form_is_refused(tmp_path):
    """
    Inputs in a ``.csv`` file are read as CSV, so JSON lines are not written to one.
    """
    dataset = experiments.from_traces(experiment(tmp_path / "demo"))

    with pytest.raises(WriteError, match=r"give it a name with \.jsonl"):
        dataset.write(tmp_path / "inputs.csv")

    assert not (tmp_path / "inputs.csv").exists()
