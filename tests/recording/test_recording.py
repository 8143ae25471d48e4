"""
Arguments of agents are recorded, and come back as what they were.
"""

from __future__ import annotations

import asyncio
import enum
import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, NamedTuple
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

import fluxloop
from fluxloop import experiments
from fluxloop.recording.decoding import Attributes, Provider, find_class, restored
from fluxloop.recording.encoding import tagged
from fluxloop.recording.lines import read_recording
from fluxloop.tracing.calls import interceptors

FILE = Path("recordings/args.jsonl")


def lines():
    return [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []


@pytest.fixture
def recording():
    fluxloop.configure(record_args=True, recording_file=FILE)
    yield
    fluxloop.disable_recording()


def test_the_folder_is_created_and_the_call_is_recorded(recording):
    """
    `configure` creates the folder; each call of an agent is one line with target and arguments by name.
    """
    assert FILE.parent.is_dir()

    @fluxloop.agent()
    def my_handler(request, *, limit=3):
        return request

    my_handler("a")
    my_handler("b", limit=5)

    assert [(line["iteration"], line["kwargs"]) for line in lines()] == [
        (0, {"request": "a", "limit": 3}),
        (1, {"request": "b", "limit": 5}),
    ]
    assert lines()[0]["target"] == f"{__name__}:{my_handler.__qualname__}"
    assert lines()[0]["_version"] == "2"


class Handler:
    """A class whose methods are agents of every call shape."""

    @fluxloop.agent
    def plain(self, x):
        return x

    @fluxloop.agent
    async def coroutine(self, x):
        return x

    @fluxloop.agent
    def generator(self, x):
        yield x

    @fluxloop.agent
    async def async_generator(self, x):
        yield x


async def test_every_call_shape_is_recorded_without_self(recording):
    """
    Methods, coroutines and generators are recorded when they run; tools are not.
    """
    handler = Handler()
    fluxloop.tool(lambda x: x)(0)
    handler.plain(1)
    await handler.coroutine(2)
    list(handler.generator(3))
    assert [item async for item in handler.async_generator(4)] == [4]

    assert [(line["target"].rpartition(".")[2], line["kwargs"]) for line in lines()] == [
        ("plain", {"x": 1}),
        ("coroutine", {"x": 2}),
        ("generator", {"x": 3}),
        ("async_generator", {"x": 4}),
    ]


def test_nothing_is_recorded_before_or_after(recording):
    """
    Recording ends with `configure(record_args=False)`; then no call passes through it.
    """
    agent = fluxloop.agent(lambda x: x)
    agent(1)
    fluxloop.configure(record_args=False)
    agent(2)

    assert len(lines()) == 1
    assert interceptors == []


def test_the_functions_do_as_the_settings():
    """
    `enable_recording`, `record_call_args`, `set_recording_options` and `disable_recording`.
    """
    fluxloop.record_call_args("m:f", x=0)
    fluxloop.enable_recording(FILE)
    fluxloop.record_call_args("m:f", x=1)
    fluxloop.record_call_args("m:f", iteration=5, x=2)
    fluxloop.record_call_args("m:f", x=3)
    fluxloop.set_recording_options(iteration_auto_increment=False)
    fluxloop.record_call_args("m:f", x=4)
    fluxloop.set_recording_options(iteration_auto_increment=True)
    fluxloop.disable_recording()
    fluxloop.record_call_args("m:f", x=5)

    numbers = [line["iteration"] for line in lines()]
    assert [line["kwargs"]["x"] for line in lines()] == [1, 2, 3, 4]
    assert numbers[1:] == [5, 6, 0]


class Color(enum.Enum):
    """An enumeration."""

    RED = 1


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int


class Address(BaseModel):
    """A model in a model."""

    street: str
    born: datetime


class Person(BaseModel):
    """A model with a validator that must not run again, an alias and a nested model."""

    name: str
    address: Address
    tags: set[str] = set()
    nick: str = Field("", alias="nickName")

    def model_post_init(self, context: object) -> None:
        self.name = self.name + "*"


@dataclass(frozen=True)
class Order:
    """A frozen dataclass."""

    number: int
    lines: list[Decimal] = field(default_factory=list)


@attrs.define
class Box:
    """A class of attrs, with slots."""

    size: int
    inner: object = None


class Plain:
    """A class without any help; its constructor must not run again."""

    made = 0

    def __init__(self, value):
        Plain.made += 1
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Plain) and other.value == self.value

    __hash__ = None


VALUES = [
    *(None, True, 0, -5, 2**70, 1.5, float("inf"), "text", b"\x00\xff", bytearray(b"x"), 1 + 2j),
    *(
        [1, [2]],
        (1, (2,)),
        {1, 2},
        frozenset({"a"}),
        {"a": {"b": 1}},
        {1: "x", (2, 3): "y"},
        {"$type": "x", "$value": 1},
    ),
    *(
        datetime(2026, 1, 17, 14, 30, tzinfo=UTC),
        datetime(2026, 1, 1),
        date(2026, 1, 1),
        time(12, 30),
        timedelta(days=-1),
    ),
    *(UUID(int=5), Decimal("1.10"), Path("/tmp/x"), Color.RED, Point(1, 2)),
    *(Person(name="Ann", address=Address(street="s", born=datetime(2026, 1, 1)), tags={"a"}, nickName="A"),),
    *(Order(5, [Decimal("1.5")]), Box(2, Box(3)), Plain([Plain(1)])),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {value!r:.30}")
def test_values_come_back_as_what_they_were(value):
    """
    Through JSON, a value is equal and of the same type; constructors and validators do not run again.
    """
    made = Plain.made
    (back,) = restored(json.loads(json.dumps({"x": tagged(value)})), provide).values()

    assert type(back) is type(value) or (type(value) is dict and isinstance(back, dict))
    assert back == value
    assert Plain.made == made


def provide(found: Provider):
    return f"provided {found.parameter} {found.name}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.just("$type"), inner),
    max_leaves=20,
)


@given(json_values)
def test_any_plain_value_comes_back(value):
    """
    Whatever is nested in whatever, also with keys that look like tags.
    """
    (back,) = restored(json.loads(json.dumps({"x": tagged(value)})), provide).values()

    assert back == value


def test_what_cannot_be_rebuilt_stays_readable():
    """
    Cycles, locks and unknown classes do not raise; a class that is gone becomes an object with attributes.
    """
    cycle: list[object] = []
    cycle.append(cycle)
    module = ModuleType("gone")
    exec("class Old:\n    def __init__(self): self.a = {'b': 1}", module.__dict__)
    old = module.Old()

    text = json.dumps({"cycle": tagged(cycle), "lock": tagged(__import__("threading").Lock()), "old": tagged(old)})
    back = restored(json.loads(text), provide)

    assert back["cycle"] == ["<list>"]
    assert "lock" in back["lock"]
    assert isinstance(back["old"], Attributes)
    assert back["old"].a.b == back["old"]["a"]["b"] == 1


def test_a_recording_imports_and_runs_nothing():
    """
    Classes of the standard library, of modules that nothing imported, and with a finalizer are not created.
    """
    (Path.cwd() / "evil.py").write_text("open('ran', 'w')")
    sys.path.insert(0, str(Path.cwd()))
    try:
        for name in ("evil:X", "subprocess:Popen", "tempfile:_TemporaryFileCloser", "os:system", "builtins:eval"):
            assert find_class(name) is None, name
        value = {"x": {"$type": "evil:X", "$value": {"a": 1}}}
        assert restored(value, provide)["x"] == {"a": 1}
    finally:
        sys.path.remove(str(Path.cwd()))
    assert not Path("ran").exists()


class SignIn(BaseModel):
    """A model with secrets of every kind."""

    password: str
    api_key: str
    token: SecretStr
    pin: Annotated[str, fluxloop.Secret]
    max_tokens: int


def test_secrets_are_masked_also_in_objects(recording):
    """
    Keys and shapes of secrets are masked as in records, in attributes too; other keys are not.
    """

    @fluxloop.agent
    def agent(request, config, note):
        return None

    agent(
        SignIn(password="p4ssw0rd", api_key="sk-1", token="t0ken", pin="1234", max_tokens=5),
        {"nested": [{"password": "h1dden-v4lue"}], "monkey": "banana"},
        "use sk-proj-" + "a1B2c3D4e5F6" * 4,
    )

    text = FILE.read_text()
    assert [word for word in ("p4ssw0rd", "sk-1", "t0ken", "1234", "h1dden", "a1B2c3D4") if word in text] == []
    assert lines()[0]["kwargs"]["request"]["$value"]["max_tokens"] == 5
    assert lines()[0]["kwargs"]["config"]["monkey"] == "banana"


def test_failures_of_recording_do_not_reach_the_program(recording):
    """
    If the file cannot be written, the call goes on, and the loss is counted.
    """
    dropped = fluxloop.report().dropped
    FILE.mkdir()

    assert fluxloop.agent(lambda x: x)(1) == 1
    assert fluxloop.report().dropped == dropped + 1


@dataclass
class Message:
    """The data of a request."""

    content: str
    user: str = "ann"


@dataclass
class Request:
    """What a handler receives."""

    data: Message
    flags: tuple[int, ...] = (1,)


def handler(data, send_message_callback, *, flags=()):
    """A handler that answers through a callback."""
    send_message_callback({"text": f"{data.user}: {data.content}", "flags": list(flags), "type": type(data).__name__})


async def async_handler(data, send_message_callback, flags=()):
    """A handler that answers through an awaited callback, after it has returned."""

    async def later():
        await asyncio.sleep(0.01)
        await send_message_callback(data.content)

    asyncio.current_task().later = asyncio.create_task(later())


def record(function):
    async def send(message): ...

    fluxloop.enable_recording(FILE)
    fluxloop.agent(lambda: None)
    name = f"{__name__}:{function.__name__}"
    fluxloop.record_call_args(name, data=Message("first"), send_message_callback=send, flags=(1, 2))
    fluxloop.record_call_args(name, data=Message("second", "bob"), send_message_callback=send, flags=(3,))
    fluxloop.disable_recording()


def replayed(target, inputs, **replay):
    config = {"replay_args": {"enabled": True, "recording_file": str(FILE), **replay}}
    experiment = experiments.run(target, inputs, config=config)
    return [row.data for row in sorted(experiment.rows(), key=lambda row: row.run)]


def test_recorded_arguments_are_used_with_the_input_replaced():
    """
    The handler gets its recorded objects, `data.content` is the input, and what it sends is the output.
    """
    record(handler)

    (row,) = replayed(handler, ["hi"])

    assert row["output"] == {"text": "bob: hi", "flags": [3], "type": "Message"}
    assert row["callback_messages"] == {"send": [row["output"]]}


@pytest.mark.parametrize(
    ("mode", "inputs", "texts"),
    [
        ("last", ["a", "b"], ["bob: a", "bob: b"]),
        ("cycle", ["a", "b", "c"], ["ann: a", "bob: b", "ann: c"]),
        ("each", ["unused"], ["ann: first", "bob: second"]),
    ],
)
def test_the_mode_chooses_the_recorded_call(mode, inputs, texts):
    """
    The last call, each in turn, or one run per call as it was.
    """
    record(handler)

    assert [row["output"]["text"] for row in replayed(handler, inputs, mode=mode)] == texts


def test_an_answer_that_is_sent_later_is_waited_for():
    """
    A handler that returns before it sends has its message as the output.
    """
    record(async_handler)

    assert replayed(async_handler, ["hi"])[0]["output"] == "hi"


def test_a_callable_without_a_provider_is_an_error_that_says_what_to_add():
    """
    The run fails with the line for the configuration.
    """
    fluxloop.enable_recording(FILE)
    fluxloop.record_call_args("m:f", data=Message("x"), save=print)
    fluxloop.disable_recording()

    (row,) = replayed(lambda data, save: None, ["hi"])

    assert "save: builtin:collector.send" in row["error"]["message"]


def test_recordings_of_the_published_packages_are_read():
    """
    Version 1: dicts with attributes, named callables, dotted paths; torn lines are skipped.
    """
    FILE.parent.mkdir()
    old = {"_version": "1", "iteration": 0, "target": "m:f", "timestamp": "2026-01-01T00:00:00"}
    kwargs = {"data": {"content": "x", "meta": [{"id": 1}]}, "send_message_callback": "<builtin:collector.send>"}
    FILE.write_text(json.dumps({**old, "kwargs": kwargs}) + '\n{"_version": "1", "targ')

    def agent(data, send_message_callback):
        send_message_callback([data.content, data["content"], data.meta[0].id])

    assert len(list(read_recording(FILE))) == 1
    assert replayed(agent, ["hi"])[0]["output"] == ["hi", "hi", 1]


def test_an_input_path_that_does_not_exist_is_an_error_that_names_the_arguments():
    """
    With a single text among the arguments that one is replaced; otherwise the message lists them.
    """
    fluxloop.enable_recording(FILE)
    fluxloop.record_call_args("m:f", question="recorded", count=1)
    fluxloop.disable_recording()

    assert replayed(lambda question, count: [question, count], ["hi"])[0]["output"] == ["hi", 1]

    fluxloop.enable_recording(FILE)
    fluxloop.record_call_args("m:f", one=1, two=2)
    fluxloop.disable_recording()
    (row,) = replayed(lambda one, two: one, ["hi"])
    assert "its arguments are one, two" in row["error"]["message"]
