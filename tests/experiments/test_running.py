"""
`fluxloop.experiments.run` and `run_async`: every form of target, isolation, retries, resuming, two projects.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import random
import threading
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

import fluxloop
from fluxloop import experiments
from fluxloop.errors import ConfigError


def outputs(experiment):
    """Return the outputs of the runs, by the number of the run."""
    return [row.data["output"] for row in sorted(experiment.rows(), key=lambda row: row.run)]


def only_row(experiment):
    (row,) = experiment.rows()
    return row.data


async def stream_of_texts(input):
    for word in ("Hello ", input):
        yield word


async def stream_of_messages(input):
    for word in ("Hello ", input):
        yield {"message": {"delta": word}}


async def stream_of_chatkit_events(input):
    for word in ("Hello ", input):
        yield SimpleNamespace(type="thread.item.updated", item_id="m1", update=SimpleNamespace(delta=word))
    text = SimpleNamespace(text=f"Hello {input}")
    yield SimpleNamespace(type="thread.item.done", item=SimpleNamespace(id="m1", content=[text]))


def generator(input):
    yield "Hello "
    yield input


class Iterable:
    """An object that is a stream."""

    def __init__(self, input):
        self.input = input

    def __aiter__(self):
        return stream_of_texts(self.input)


class Service:
    """A class with methods of every kind."""

    def ask(self, input):
        return f"Hello {input}"

    async def ask_async(self, input):
        return f"Hello {input}"

    def __call__(self, input):
        return f"Hello {input}"

    @staticmethod
    def static(input):
        return f"Hello {input}"

    @classmethod
    def of_class(cls, input):
        return f"Hello {input}"


class Invokable:
    """An object as LangChain's, which is run by a method."""

    async def ainvoke(self, input):
        return f"Hello {input}"


@pytest.mark.parametrize(
    "target",
    [
        stream_of_texts,
        stream_of_messages,
        stream_of_chatkit_events,
        generator,
        Iterable,
        Service().ask,
        Service().ask_async,
        Service(),
        Service.static,
        Service.of_class,
        Invokable(),
        lambda input: stream_of_texts(input),
        lambda input: Service().ask_async(input),
        functools.partial(lambda greeting, input: f"{greeting} {input}", "Hello"),
        fluxloop.agent(stream_of_texts),
        fluxloop.agent(generator),
    ],
)
def test_every_form_of_target_runs(target):
    """
    Functions, coroutines, generators, streams, methods and callable objects give the same text, once.
    """
    assert outputs(experiments.run(target, ["you"])) == ["Hello you"]


MODULE = """
class Agent:
    made = 0
    def __init__(self):
        Agent.made += 1
        self.count = 0
    def ask(self, input):
        self.count += 1
        return [input, self.count]
    @classmethod
    def of_class(cls, input): return input
class Needy:
    def __init__(self, model): self.model = model
    def __call__(self, input): return [self.model, input]
def make(model): return Needy(model)
agent = Agent()
def run(input): return input
"""


@pytest.mark.parametrize(
    ("runner", "output"),
    [
        ({"target": "forms:run"}, "x"),
        ({"target": "forms.run"}, "x"),
        ({"module_path": "forms"}, "x"),
        ({"module_path": "forms", "function_name": "run"}, "x"),
        ({"target": "forms:Agent.ask"}, ["x", 1]),
        ({"target": "forms:agent.ask"}, ["x", 1]),
        ({"target": "forms:Agent.of_class"}, "x"),
        ({"target": "forms:Needy", "factory": "forms:make", "factory_kwargs": {"model": "m"}}, ["m", "x"]),
    ],
)
def test_every_name_of_a_target_is_understood(runner, output):
    """
    Functions, methods, instances and factories are found by name, from the working directory.
    """
    Path("forms.py").write_text(MODULE)

    assert outputs(experiments.run(config={"runner": runner, "base_inputs": ["x"]})) == [output]


@pytest.mark.parametrize(("per_run", "counts"), [(False, [1, 2, 3]), (True, [1, 1, 1])])
def test_runs_share_an_instance_unless_each_has_its_own(per_run, counts):
    """
    A class is created once for all runs; with `instance_per_run`, once for each.
    """
    Path("forms.py").write_text(MODULE)
    runner = {"target": "forms:Agent.ask", "instance_per_run": per_run}

    experiment = experiments.run(config={"runner": runner, "base_inputs": ["a", "b", "c"]})

    assert [output[1] for output in outputs(experiment)] == counts


class Request(BaseModel):
    """A typed input."""

    city: str
    days: int = 1


def test_arguments_are_bound_by_name():
    """
    The input goes to the parameter with the name of an input, the rest to parameters of their names.
    """

    def agent(persona, other=5, *, query, iteration, session_id, seed, messages):
        return [persona.name, other, query, iteration, session_id.endswith("-1"), seed is not None, messages]

    config = {"personas": [{"name": "P"}], "iterations": 2, "seed": 1}
    experiment = experiments.run(agent, ["q"], config=config)

    assert outputs(experiment)[1] == ["P", 5, "q", 1, True, True, []]


def test_a_parameter_keeps_its_default_where_a_run_has_no_value():
    """
    Without a seed or a persona, the target's own default is used; a parameter without one is None.
    """

    def agent(message, persona, seed=7, persona_prompt="a tourist", iteration=4):
        return [persona, seed, persona_prompt, iteration]

    result = experiments.run(agent, ["hi"])

    assert [row.data["output"] for row in result.rows()] == [[None, 7, "a tourist", 0]]


def test_mappings_become_arguments_or_models():
    """
    A mapping whose keys are parameters is spread; for a parameter that is a model, it is validated.
    """

    def spread(city, days):
        return [city, days]

    def typed(request: Request):
        return [type(request).__name__, request.city, request.days]

    def whole(data):
        return sorted(data)

    assert outputs(experiments.run(spread, [{"input": {"city": "Rome", "days": 2}}])) == [["Rome", 2]]
    assert outputs(experiments.run(typed, [{"input": {"city": "Rome"}}])) == [["Request", "Rome", 1]]
    assert outputs(experiments.run(whole, [{"input": {"a": 1, "b": 2}}])) == [["a", "b"]]


def test_expected_metadata_and_ids_reach_the_rows():
    """
    What an input carries is in its row.
    """
    given = {"id": "one", "input": "x", "expected": {"a": 1}, "metadata": {"level": 3}, "persona": "Ann"}
    row = only_row(experiments.run(lambda input: input, [given]))

    assert (row["input_id"], row["expected"], row["metadata"], row["persona"]) == ("one", {"a": 1}, {"level": 3}, "Ann")


variable = contextvars.ContextVar("variable", default=0)


def test_each_run_has_its_own_context_trace_and_session():
    """
    A context variable that a run sets is not seen by another, also with fewer workers than runs.
    """

    async def agent(input):
        before = variable.get()
        variable.set(before + 1)
        await asyncio.sleep(0)
        return before

    experiment = experiments.run(fluxloop.agent(agent), [str(n) for n in range(20)], parallel=3)

    assert set(outputs(experiment)) == {0}
    traces = list(fluxloop.read_traces(experiment.folder / "artifacts"))
    assert len({trace.trace_id for trace in traces}) == len({trace.session_id for trace in traces}) == 20


def test_a_failed_run_is_executed_again():
    """
    With `retries`, a run that fails twice succeeds at the third attempt; its trace shows the failed ones.
    """
    attempts = []

    def agent(input):
        attempts.append(input)
        if len(attempts) < 3:
            raise ConnectionError(f"attempt {len(attempts)}")
        return "fine"

    experiment = experiments.run(agent, ["x"], config={"runner": {"retry_delay": 0.01}}, retries=5)

    (trace,) = fluxloop.read_traces(experiment.folder / "artifacts")
    events = [observation.metadata for observation in trace.observations if observation.name == "retry"]
    assert (only_row(experiment)["attempts"], outputs(experiment)) == (3, ["fine"])
    assert [(event["attempt"], event["error"]) for event in events] == [(1, "attempt 1"), (2, "attempt 2")]


def test_the_timeout_counts_for_threads_too():
    """
    A sync target that does not return in time is a timeout; the experiment ends without it.
    """
    release = threading.Event()

    def agent(input):
        return release.wait(60) if input == "slow" else input

    try:
        experiment = experiments.run(agent, ["slow", "fast"], parallel=1, timeout=1)
    finally:
        release.set()

    assert [row.status for row in experiment.rows()] == ["timeout", "success"]


def test_a_timeout_error_of_the_target_is_its_own_error():
    """
    A target that raises TimeoutError failed; it did not exceed the run's timeout.
    """

    def agent(input):
        raise TimeoutError("the database")

    row = only_row(experiments.run(agent, ["x"]))

    assert (row["status"], row["error"]) == ("error", {"type": "TimeoutError", "message": "the database"})


async def test_experiments_run_inside_a_running_loop():
    """
    `run_async` runs in the current loop, and `run` beside it.
    """

    async def agent(input):
        await asyncio.sleep(0)
        return input

    assert outputs(await experiments.run_async(agent, ["a"])) == ["a"]
    assert outputs(experiments.run(agent, ["b"])) == ["b"]


def test_the_seed_makes_runs_repeatable():
    """
    With a seed and one run at a time, `random` gives the same numbers in the same run of each experiment.
    """

    def agent(input):
        return random.random()

    first, second = (outputs(experiments.run(agent, ["a", "b"], seed=7)) for _ in range(2))

    assert first == second
    assert first[0] != first[1]


def test_two_projects_in_one_process_stay_apart(tmp_path):
    """
    Each project gets its own module of the same name, and its own records; the search path is as before.
    """
    import sys

    before = sys.path[:], dict(os.environ)
    results = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "app.py").write_text(
            f"import os, fluxloop\n@fluxloop.agent\ndef agent(input): return ['{name}', os.environ['WHICH']]"
        )
        (folder / "setting.yaml").write_text(
            f"runner:\n  target: app:agent\n  environment_vars: {{WHICH: {name}}}\nbase_inputs: [x]"
        )
        results.append(experiments.run(config=folder))

    assert [outputs(result) for result in results] == [[["one", "one"]], [["two", "two"]]]
    assert [result.folder.parent.parent.name for result in results] == ["one", "two"]
    for result in results:
        assert len(list(fluxloop.read_traces(result.folder / "artifacts"))) == 1
    assert (sys.path, dict(os.environ)) == before
    assert "app" not in sys.modules


def test_an_experiment_inside_a_trace_has_its_own_traces():
    """
    A run that is started by an agent that is recorded itself is a trace of its own, in the experiment's folder.
    """

    @fluxloop.agent
    def outer():
        return experiments.run(lambda input: input, ["x"])

    with fluxloop.testing.capture() as captured:
        experiment = outer()

    (trace,) = fluxloop.read_traces(experiment.folder / "artifacts")
    assert [observation.name for observation in trace.observations] == [f"{experiment.name}_iter0"]
    assert captured.outline().startswith("AGENT outer")


def test_program_settings_for_redaction_apply():
    """
    Keys that the program masks are masked in the records and rows of experiments.
    """
    fluxloop.configure(redact_keys=["patient"], enabled=False, record_args=True, recording_file="calls.jsonl")

    @fluxloop.agent
    def agent(input):
        return {"patient": "Ann Example", "ok": 1}

    experiment = experiments.run(agent, ["x"])

    written = "".join(path.read_text() for path in experiment.folder.rglob("*.jsonl"))
    assert "Ann Example" not in written
    assert outputs(experiment)[0]["ok"] == 1
    assert len(list(fluxloop.read_traces(experiment.folder / "artifacts"))) == 1
    assert not Path("calls.jsonl").exists()


@dataclass
class Answer:
    """An output of a class."""

    text: str


def test_outputs_of_any_type_are_json():
    """
    Objects become their data; a target that returns nothing has the output of its agent, or an empty text.
    """
    inner = fluxloop.agent(lambda text: text + "!")

    def through_agent(input):
        inner(input)

    def final(input):
        with fluxloop.observe("agent_final_response") as observation:
            observation.output = "final"
        return "other"

    assert outputs(experiments.run(lambda input: Answer(input), ["a"])) == [{"text": "a"}]
    assert outputs(experiments.run(through_agent, ["a"])) == ["a!"]
    assert outputs(experiments.run(lambda input: None, ["a"])) == [""]
    assert outputs(experiments.run(final, ["a"])) == ["final"]


def test_tokens_and_cost_are_those_of_the_model_calls():
    """
    Usage is counted once per model call and priced as `fluxloop list` prices it.
    """
    Path("pyproject.toml").write_text("[tool.fluxloop.prices]\ngpt-test = { input = 1.0, output = 10.0 }\n")

    @fluxloop.prompt(model="gpt-test")
    def model(text):
        return {"usage": {"prompt_tokens": 1000, "completion_tokens": 100}}

    @fluxloop.agent
    def agent(input):
        model(input)
        return model(input)

    row = only_row(experiments.run(agent, ["x"]))

    assert row["token_usage"] == {"prompt_tokens": 2000, "completion_tokens": 200, "total_tokens": 2200}
    assert row["cost"] == pytest.approx(2 * (1000 * 1e-6 + 100 * 10e-6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "nope"}, "unknown input 'nope'"),
        ({"personas": ["Zoe"]}, "unknown persona 'Zoe'"),
        ({"engine": "cluster"}, "engine must be one of local, processes, ray, got 'cluster'"),
        ({"iterations": 0}, "iterations must be greater than or equal to 1, got 0"),
    ],
)
def test_wrong_arguments_are_errors_before_anything_is_written(options, message):
    """
    A wrong argument is a ConfigError that names it.
    """
    with pytest.raises(ConfigError, match=message):
        experiments.run(lambda input: input, ["x"], **options)

    assert not Path("experiments").exists()
