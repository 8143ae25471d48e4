"""
Inputs from every kind of file, and the runs that are made of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxloop.errors import ConfigError
from fluxloop.experiments.configuration.loading import Loaded, validated
from fluxloop.experiments.inputs import plan, read_inputs
from fluxloop.experiments.preparing import NO_PERSONAS, Options, prepare

FILES = {
    "a.jsonl": '{"input": "one", "expected": 1, "level": 2}\n\n{"input": "two", "persona": "Ann"}\n',
    "a.json": '{"inputs": [{"input": "one", "expected": 1, "level": 2}, {"input": "two", "persona": "Ann"}]}',
    "a.yaml": "- input: one\n  expected: 1\n  level: 2\n- {input: two, persona: Ann}\n",
    "a.csv": "input,expected,level,persona\none,1,2,\ntwo,,,Ann\n",
}


def planned(config, **options):
    return plan(Loaded(validated(config), Path.cwd()), **options)


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_inputs(name):
    """
    JSONL, JSON, YAML and CSV: input, expected, persona; other keys are metadata.
    """
    Path(name).write_text("\ufeff" + FILES[name])

    one, two = planned({"inputs_file": name, "personas": [{"name": "Ann", "language": "de"}]}).entries

    assert (one.value, str(one.expected), {key: str(value) for key, value in one.metadata.items()}) == (
        "one",
        "1",
        {"level": "2"},
    )
    assert (two.value, two.persona.language) == ("two", "de")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "inputs can be read from"),
        ("a.jsonl", '{"input": 1}\nnope', "a.jsonl, line 2: this is not valid JSON"),
        ("a.json", "{", "this is not valid JSON"),
        ("a.json", '"text"', "must contain a list"),
        ("a.csv", "inptu,b\n1,2\n", "a column named 'input' is missing, did you mean 'inptu'"),
        ("a.csv", 'input\n"torn', "a.csv, line 1: this is not valid CSV"),
        ("a.yaml", "- {input: [}", "a.yaml, line 1, column 12: this is not valid YAML"),
        ("a.json", '[{"inptu": 1}]', "entry 1: 'input' is missing, did you mean 'inptu'"),
        ("a.json", '[{"input": "a", "id": "x"}, {"input": "b", "id": "x"}]', "the id 'x' occurs twice"),
        ("a.json", '[{"input": "a", "metadata": 5}]', "metadata must be a mapping"),
        ("a.json", "[]", "has no inputs"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(name, content, message):
    """
    The message has the file, the line or entry, and what is wrong.
    """
    Path(name).write_text(content)

    with pytest.raises(ConfigError) as caught:
        planned({"inputs_file": name})

    assert message in str(caught.value)


PERSONAS = [{"name": "Ann"}, {"name": "Bob"}]


def test_two_personas_of_one_name_are_a_mistake():
    """
    Their runs would have the same key.
    """
    with pytest.raises(ConfigError, match="the persona 'Ann' occurs twice"):
        planned({"personas": [*PERSONAS, {"name": "Ann", "language": "de"}]})


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_spreadsheets_may_use_other_delimiters(sign):
    """
    The delimiter is the one with which there is a column `input`; texts may have any length and any line break.
    """
    text = "x" * 200_000 + "\u2028" + "y, z"
    Path("a.csv").write_text(f'"input"{sign}expected\n"a{sign}b"{sign}1\n{text}{sign}2\n')

    assert [(entry.value, entry.expected) for entry in planned({"inputs_file": "a.csv"}).entries] == [
        (f"a{sign}b", "1"),
        (text, "2"),
    ]


def test_personas_multiply_inputs_that_have_none():
    """
    Base inputs run once per persona and iteration; an entry with a persona runs as that one.
    """
    runs = planned({"base_inputs": ["a", {"input": "b", "persona": "Bob"}], "personas": PERSONAS, "iterations": 2})

    names = [(run.number, run.iteration, run.entry.value, run.entry.persona.name) for run in runs]
    assert names == [
        (0, 0, "a", "Ann"),
        (1, 0, "a", "Bob"),
        (2, 0, "b", "Bob"),
        (3, 1, "a", "Ann"),
        (4, 1, "a", "Bob"),
        (5, 1, "b", "Bob"),
    ]


def test_personas_do_not_multiply_a_file_unless_they_are_chosen():
    """
    With `inputs_file`, an entry without a persona runs once; with `--personas`, once for each of them.
    """
    Path("a.jsonl").write_text('{"input": "a"}\n{"input": "b", "persona": "Bob"}\n')
    config = {"inputs_file": "a.jsonl", "personas": PERSONAS}

    assert [run.entry.persona and run.entry.persona.name for run in planned(config)] == [None, "Bob"]
    assert [(run.entry.value, run.entry.persona.name) for run in planned(config, personas=["Ann"])] == [("a", "Ann")]


@pytest.mark.parametrize(
    ("entry", "options", "is_warned"),
    [
        ('{"input": "a"}', Options(), True),
        ('{"input": "a", "persona": "Bob"}', Options(), False),
        ('{"input": "a"}', Options(personas=("Ann",)), False),
    ],
)
def test_personas_without_a_run_are_a_warning(entry, options, is_warned):
    """
    They are configured, and would be missing from the results without a word.
    """
    Path("a.jsonl").write_text(entry)

    prepared = prepare({"inputs_file": "a.jsonl", "personas": PERSONAS}, options, function=print)

    assert prepared.loaded.warnings == ((NO_PERSONAS,) if is_warned else ())


def test_inputs_are_chosen_limited_and_filled_in():
    """
    `--input` by id, `--limit`, and the template around texts.
    """
    config = {"base_inputs": [{"input": "a", "id": "x"}, "b", {"input": {"c": 1}}], "input_template": "Say {input}!"}

    assert [entry.value for entry in planned(config).entries] == ["Say a!", "Say b!", {"c": 1}]
    assert [entry.id for entry in planned(config, only=["x", "2"]).entries] == ["x", "2"]
    assert len(planned({**config, "limit": 2})) == 2


def test_the_plan_of_many_runs_is_not_stored():
    """
    Runs are made one by one: a billion runs have a length, and a first one.
    """
    many = planned({"base_inputs": ["a"], "iterations": 10**9})

    assert len(many) == 10**9
    assert next(iter(many)).number == 0


def test_read_inputs_returns_plain_data():
    """
    YAML is returned without the classes of its parser.
    """
    Path("a.yml").write_text("inputs:\n  - input: {a: [1, 2.5, true, null]}\n")

    (entry,) = read_inputs(Path("a.yml"))

    assert type(entry) is dict
    assert entry == {"input": {"a": [1, 2.5, True, None]}}
