"""
A generated corpus: secrets of real shapes are masked, innocent texts that resemble them are not.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from random import Random
from typing import Any
from unittest.mock import patch

import orjson
import pytest

import fluxloop
from fluxloop.redaction import MASK, Redactor, Rules
from fluxloop.redaction.values import Masking
from fluxloop.testing import capture

from .corpus import Case, innocents, secrets

SEED = int(os.environ.get("FLUXLOOP_SEED") or (7 if "CI" in os.environ else Random().getrandbits(32)))
REDACTOR = Redactor()


@pytest.fixture(autouse=True)
def seed() -> None:
    """Print the seed beside a failure; ``FLUXLOOP_SEED`` repeats it."""
    print(f"FLUXLOOP_SEED={SEED}")


def is_visible(case: Case, recorded: Any) -> bool:
    """Return whether the secret, or an eighth of it and more, can be read in what was *recorded*."""
    text = orjson.dumps(recorded).decode() if not isinstance(recorded, str) else recorded
    piece = case.secret[: max(8, len(case.secret) // 2)]
    return (bool(piece) and piece in text) or MASK not in text


def test_no_secret_of_the_corpus_is_recorded() -> None:
    """At least 300 shapes, each with a random secret; the prefilter suspects every one of them."""
    cases = secrets(SEED)
    visible = [case for case in cases if is_visible(case, REDACTOR.redact(orjson.loads(orjson.dumps(case.value)))[0])]

    assert len({case.shape for case in cases}) >= 300
    assert visible == []
    assert [case for case in cases if not REDACTOR.suspects(orjson.dumps(case.value))] == []


def test_at_most_one_innocent_text_in_the_corpus_is_masked() -> None:
    """At least 300 values of code, prose, logs and data with the words of secrets in them."""
    values = innocents(SEED)
    masked = [value for value in values if REDACTOR.redact(orjson.loads(orjson.dumps(value)))[1]]

    assert len(values) >= 300
    assert len(masked) <= 1, masked


def test_masking_the_corpus_again_changes_nothing() -> None:
    """What is masked once stays as it is."""
    for case in secrets(SEED):
        clean = REDACTOR.redact(orjson.loads(orjson.dumps(case.value)))[0]

        assert REDACTOR.redact(clean) == (clean, 0), case


def _chunks(text: str, dice: Random) -> list[str]:
    cuts = sorted(dice.randint(0, len(text)) for _ in range(4))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


WRAPPERS = {
    "texts": lambda chunk: chunk,
    "bytes": lambda chunk: chunk.encode(),
    "mappings": lambda chunk: {"text": chunk},
    "nested mappings": lambda chunk: {"choices": [{"delta": {"body": chunk}}]},
    "server-sent events": lambda chunk: "data: " + orjson.dumps({"part": chunk}).decode() + "\n\n",
    "server-sent events as bytes": lambda chunk: b"data: " + orjson.dumps({"part": chunk}) + b"\n\n",
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_no_secret_split_over_the_items_of_a_stream_is_recorded(wrapper: str) -> None:
    """Whatever the items are, neither the output nor the items show the parts of a secret."""
    dice = Random(SEED)
    cases = [case for case in secrets(SEED) if isinstance(case.value, str) and len(case.secret) > 12]
    for case in dice.sample(cases, 25):
        chunks = list(map(WRAPPERS[wrapper], _chunks(case.value, dice)))

        with capture() as captured:
            list(fluxloop.agent(_generator(chunks))())

        recorded = str([*captured.storage.read()])
        third = len(case.secret) // 3
        assert case.secret[third : 2 * third] not in recorded, case


def _generator(chunks: list[Any]) -> Any:
    def generate() -> Any:
        yield from chunks

    return generate


def test_no_secret_in_an_error_or_a_traceback_is_recorded() -> None:
    """Texts of errors and tracebacks pass the same rules."""
    dice = Random(SEED)
    cases = [case for case in secrets(SEED) if isinstance(case.value, str)]
    for case in dice.sample(cases, 60):
        try:
            raise ConnectionError(case.value)
        except ConnectionError as error:
            text = "".join(traceback.format_exception(error))

        assert not is_visible(case, REDACTOR.text(text)[0]), case


def test_no_secret_in_the_name_of_an_observation_is_recorded() -> None:
    """Names are often URLs or commands; the name of the trace is masked as well."""
    dice = Random(SEED)
    cases = [case for case in secrets(SEED) if isinstance(case.value, str) and case.secret]
    for case in dice.sample(cases, 60):
        with capture() as captured, fluxloop.instrument(case.value), fluxloop.observe(case.value, "tool"):
            fluxloop.event(case.value)

        for record in captured.storage.read():
            assert not is_visible(case, record), case


def test_the_prefilter_misses_nothing_that_the_rules_find() -> None:
    """With hyperscan or without, the same stretches of whole, cut and joined texts are masked, and again nothing."""
    with patch.dict(sys.modules, {"hyperscan": None}):
        plain = Redactor(Rules(keys=["kept apart"]))  # equal rules share one prefilter
    dice = Random(SEED)
    texts = [case.value for case in secrets(SEED) if isinstance(case.value, str)]
    texts += [value for value in innocents(SEED) if isinstance(value, str)]
    for text in texts:
        other = dice.choice(texts)
        at, there = dice.randint(0, len(text)), dice.randint(0, len(other))
        for candidate in (text, text[:at] + other[there:], other[there : there + 40] + text[at:], json.dumps(text)):
            spans = plain.spans(candidate)

            assert REDACTOR.spans(candidate) == spans, candidate
            assert not spans or REDACTOR.suspects(orjson.dumps(candidate)), candidate
            assert REDACTOR.spans(REDACTOR.text(candidate)[0]) == [], candidate


def test_parts_of_a_value_that_are_searched_as_a_whole_hide_no_secret() -> None:
    """A part without secrets is skipped after one search; the result equals that of an examination of every text."""
    dice = Random(SEED)
    secret, innocent = [case.value for case in secrets(SEED)], innocents(SEED)

    def nested(depth: int) -> Any:
        values = [
            nested(depth - 1)
            if depth and dice.random() < 0.6
            else dice.choice(secret if dice.random() < 0.1 else innocent)
            for _ in range(dice.randint(1, 4))
        ]
        names = ["text", "name", "value", "api_key", "content", "password", "id", "headers"]
        return values if dice.random() < 0.5 else dict(zip(dice.sample(names, len(values)), values, strict=True))

    for _ in range(150):
        value = orjson.loads(orjson.dumps(nested(6)))
        plain = Masking(REDACTOR._keys, REDACTOR._masked)
        examined = plain.value(value)

        assert REDACTOR.redact(value) == (examined, plain.places)


def test_encoded_json_is_masked_as_the_value_is() -> None:
    """Where only the strings with secrets are decoded, the result is the JSON of the masked value, byte for byte."""
    dice = Random(SEED)
    secret, innocent = [case.value for case in secrets(SEED)], innocents(SEED)
    texts = [value for value in secret if isinstance(value, str)]
    cutters = ['"', "\\", '\\"', "é", "\n", '":"', '","', "\\\\"]

    def some(depth: int) -> Any:
        if depth and dice.random() < 0.6:
            values = [some(depth - 1) for _ in range(dice.randint(1, 4))]
            names = [*dice.sample(["text", "name", "value", 'a "key"', "back\\"], 4), dice.choice(texts)]
            return values if dice.random() < 0.5 else dict(zip(names, values, strict=False))
        if dice.random() < 0.5:
            return dice.choice(innocent if dice.random() < 0.8 else secret)
        return dice.choice(cutters).join((dice.choice(texts), dice.choice(texts)[: dice.randint(0, 40)], "end"))

    for redactor in (REDACTOR, Redactor(Rules(patterns=[r"cust-\d+"])), Redactor(Rules(hook=lambda value: value))):
        for _ in range(300):
            encoded = orjson.dumps(some(4))
            masked, places = redactor.redact(orjson.loads(encoded))

            assert redactor.redact_json(encoded) == (orjson.dumps(masked), places), encoded


def test_of_encoded_json_only_the_strings_with_secrets_are_decoded() -> None:
    """The work for one secret does not grow with the value around it, except for the search itself."""
    secret = "sk-proj-" + "a1B2c3D4" * 6
    items = [{"id": f"doc-{number}", "text": 'a "text" about trains ' * 10} for number in range(1_000)]
    items[500]["text"] = f'it is "{secret}"'
    decoded: list[bytes] = []
    decode = orjson.loads

    with patch("orjson.loads", lambda given: decoded.append(given) or decode(given)):
        masked, places = REDACTOR.redact_json(orjson.dumps(items))

    items[500]["text"] = f'it is "{MASK}"'
    assert (decode(masked), places) == (items, 1)
    assert decoded == [orjson.dumps(f'it is "{secret}"')]


def test_a_secret_in_a_large_value_costs_the_examination_of_its_own_part() -> None:
    """Texts are counted that are examined one by one: those beside the secret, and not those of the other items."""
    examined: list[str] = []
    items: list[Any] = [{"id": f"doc-{number}", "text": "a text about trains " * 10} for number in range(1_000)]
    items[500]["text"] = f"the key is {secrets(SEED)[0].secret} and password: hunter2xyz"

    def record(text: str) -> tuple[str, int]:
        examined.append(text)
        return REDACTOR._masked(text)

    Masking(REDACTOR._keys, record, REDACTOR._finds_any).value({"documents": items})

    assert 0 < len(examined) < 20
