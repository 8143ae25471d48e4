"""
Configuration: where it is found, how files are merged, and what mistakes look like.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxloop.errors import ConfigError
from fluxloop.experiments.configuration.loading import load
from fluxloop.experiments.configuration.models import ACCEPTED_UNUSED, RUNNER_UNUSED
from fluxloop.experiments.configuration.yaml_files import edit_yaml


def write(**files):
    for name, text in files.items():
        path = Path(name.replace("__", "/").replace("_yaml", ".yaml"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_folder_of_files_is_merged_in_order():
    """
    project, input and simulation are one configuration; paths start beside `configs`.
    """
    write(
        configs__project_yaml="name: p\nmetadata: {a: 1}\nrunner: {max_retries: 2}",
        configs__input_yaml="base_inputs: [x]",
        configs__simulation_yaml="runner: {target: 'm:f'}\nmetadata: {b: 2}",
        configs__evaluation_yaml="whatever: it is",
    )

    for place in (None, Path("configs"), Path("configs/simulation.yaml"), Path()):
        loaded = load(place)
        assert (loaded.config.name, loaded.config.runner.max_retries, loaded.config.runner.target) == ("p", 2, "m:f")
        assert loaded.config.metadata == {"a": 1, "b": 2}
        assert loaded.base == Path.cwd()


@pytest.mark.parametrize("name", ["setting.yaml", "config.yaml", "fluxloop.yaml"])
def test_a_single_file_is_found_by_its_names(name):
    """
    Without `configs/`, one of three files is enough.
    """
    Path(name).write_text("runner: {target: 'm:f'}")

    assert load().config.runner.target == "m:f"


def test_nothing_to_load_is_an_error_that_shows_how_to_begin():
    """
    The message lists the places and the smallest configuration.
    """
    with pytest.raises(ConfigError, match=r'(?s)configs/simulation.yaml, setting.yaml.*target: "my_module:my_agent"'):
        load()


@pytest.mark.parametrize(
    ("outer", "inner", "repeats", "warns"),
    [(None, 3, 3, False), (2, None, 2, False), (2, 3, 2, True), (None, None, 1, False)],
)
def test_iterations_may_stand_in_two_places(outer, inner, repeats, warns):
    """
    `iterations` and `runner.iterations` are accepted; the first counts, with a warning if they differ.
    """
    text = f"runner: {{target: 'm:f'{f', iterations: {inner}' if inner else ''}}}\nbase_inputs: [a]\n"
    Path("setting.yaml").write_text(text + (f"iterations: {outer}\n" if outer else ""))

    loaded = load()

    assert loaded.config.repeats == repeats
    assert bool(loaded.warnings) == warns
    assert load(overrides={"iterations": 9}).config.repeats == 9


def test_every_mistake_is_named_with_its_line():
    """
    Unknown keys with the nearest known one, missing keys, wrong types: a line each, with the file.
    """
    write(
        configs__simulation_yaml="runner:\n  targt: x\n  timeout_seconds: soon\niteratons: 2\n",
        configs__input_yaml="personas:\n  - name: A\n    goal: x\n  - description: y\n",
    )

    number = "a valid number, unable to parse string as a number"

    with pytest.raises(ConfigError) as caught:
        load()

    assert sorted(str(caught.value).splitlines()) == [
        "configs/input.yaml, line 3: unknown key 'goal' in personas[0], did you mean 'goals'?",
        "configs/input.yaml, line 4: personas[1].name is missing",
        "configs/simulation.yaml, line 2: unknown key 'targt' in runner, did you mean 'target'?",
        f"configs/simulation.yaml, line 3: runner.timeout_seconds must be {number}, got 'soon'",
        "configs/simulation.yaml, line 4: unknown key 'iteratons', did you mean 'iterations'?",
    ]


BOMB = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base_inputs: [!image cat.png]", "setting.yaml, line 1: the tag !image is not supported; write a plain value"),
        ("runner:\n  target: !!python/name:os.system x", "line 2: the tag tag:yaml.org,2002:python/name:os.system"),
        (f"metadata:\n{BOMB}", "line 7: aliases make more than 1,000,000 values of this one"),
        (f"metadata: {'[' * 400}{']' * 400}", "setting.yaml: this is not usable YAML: it is nested too deep"),
        ("name: a\nname: b", 'line 2, column 1: this is not valid YAML: found duplicate key "name"'),
    ],
)
def test_yaml_that_is_more_than_data_is_refused(text, message):
    """
    Tags, aliases that multiply, and absurd nesting are one line each, and nothing is executed.
    """
    write(setting_yaml=text)

    with pytest.raises(ConfigError) as error:
        load()

    assert message in str(error.value)


def test_anchors_and_merge_keys_are_plain_values():
    """
    An alias is replaced by its value; a merge key fills in what an entry does not have.
    """
    write(setting_yaml="base_inputs:\n  - &first {input: a, expected: x}\n  - {<<: *first, input: b}\ntags: &t ['1']")

    config = load().config

    assert config.base_inputs == [{"input": "a", "expected": "x"}, {"input": "b", "expected": "x"}]
    assert config.tags == ["1"]


def test_keys_of_the_published_packages_are_accepted():
    """
    Keys that never had an effect, and those of other commands, do not prevent a run.
    """
    lines = [f"{key}: []" for key in sorted(ACCEPTED_UNUSED)]
    lines += ["runner:", "  target: m:f", *(f"  {key}: []" for key in sorted(RUNNER_UNUSED))]
    Path("setting.yaml").write_text("\n".join(lines))

    assert load().config.runner.target == "m:f"


def test_an_edit_keeps_comments_quotes_and_order():
    """
    Setting a value changes its line only, and adds what is missing at the end.
    """
    before = "# top\nb: \"quoted\"  # why\nrunner:\n  target: 'm:f' # which\n\n# last\na: [1, 2]\n"
    Path("x.yaml").write_text(before)

    edit_yaml(Path("x.yaml"), {"runner.target": "n:g", "replay_args.enabled": True})

    assert Path("x.yaml").read_text() == (before.replace("m:f", "n:g") + "replay_args:\n  enabled: true\n")
