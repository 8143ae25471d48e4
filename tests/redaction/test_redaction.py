"""
What `fluxloop.redaction` masks, what it leaves alone, and that its fast path never misses anything.

The secrets are made up and put together from halves, so that no scanner takes them for real ones.
"""

from __future__ import annotations

import copy
import os
import re
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxloop.errors import ConfigError
from fluxloop.redaction import JSON, MASK, Redactor, Rules
from fluxloop.redaction.keys import BEFORE_KEY, BEFORE_PASS, BEFORE_TOKEN, WORDS, Keys, Sensitivity
from fluxloop.redaction.providers import PROVIDERS

from .corpus import drawn

DIGITS = "0123456789"
OPAQUE = "aB3" * 20
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0." + "c2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEowIBAAKCAQEA\nabcd\n-----END RSA PRIVATE" + " KEY-----"
OPENAI = "sk-" + "proj-" + OPAQUE
GITHUB = "ghp_" + OPAQUE
AWS = "AKIA" + "IOSFODNN7EXAMPLE"

REDACTOR = Redactor()
with patch.dict(sys.modules, {"hyperscan": None}):
    # A key of its own, because equal rules share one compiled prefilter.
    ELSEWHERE = Redactor(Rules(keys=["kept apart"]))
"""The same rules on a machine without hyperscan."""


def masked(value: Any, redactor: Redactor = REDACTOR) -> Any:
    return redactor.redact(value)[0]


SECRET_KEYS = [
    "api_key", "apiKey", "apikey", "API_KEY", "OPENAI_API_KEY", "x-goog-api-key", "X-Api-Key", "XApiKey", "APIKey",
    "api_key_2", "apiKeys", "AWS_SECRET_ACCESS_KEY", "private_key", "client_secret", "secret", "secrets",
    "password", "PASSWORD", "password1", "db.password", "PGPASSWORD", "passwd", "pwd", "passphrase",
    "authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "jwt", "credentials", "access_token",
    "accessToken", "refresh_token", "id_token", "X-Auth-Token", "DB_PASS", "service_role_key",
]  # fmt: skip

OTHER_KEYS = [
    "max_tokens", "keyboard", "author", "monkey", "key", "token_count", "total_tokens", "tokenizer", "secretary",
    "passenger", "key_name", "api_key_name", "primary_key", "public_key", "pass", "passed", "compass", "tokens",
    "session_id", "author_id", "cookie_policy", "password_policy", "secretive", "paid_token_count",
    "next_page_token", "eos_token",
]  # fmt: skip


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_key_whose_last_words_name_a_secret_hides_its_value(key: str) -> None:
    """
    Keys are read as whole words in any spelling.
    """
    assert masked({key: "x7"}) == {key: MASK}


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_a_key_that_only_contains_such_letters_keeps_its_value(key: str) -> None:
    """
    ``max_tokens``, ``keyboard``, ``author`` and ``monkey`` are not secrets (issue 2, row 5).
    """
    value = {key: ["x7", 7, OPAQUE[:12]]}

    assert REDACTOR.redact(value) == (value, 0)
    assert not REDACTOR.suspects(orjson.dumps(value))


def test_a_bare_token_is_secret_only_when_it_looks_opaque() -> None:
    """
    Log probabilities carry ``{"token": " the"}`` by the hundred; a credential has no spaces and is long.
    """
    words = [{"token": " the"}, {"token": "internationalization"}, {"token": "to be or not to be"}]

    assert masked(words) == words
    assert masked([{"token": OPAQUE}, {"hf_token": OPAQUE}]) == [{"token": MASK}, {"hf_token": MASK}]


def test_under_a_secret_key_every_leaf_is_masked_and_the_shape_stays() -> None:
    """
    Texts and numbers go; None, booleans and empty texts say nothing and stay.
    """
    value = {"credentials": {"user": "ann", "pin": 1234, "ok": True, "no": None, "": "", "many": ["a", {"b": 1.5}]}}

    clean, places = REDACTOR.redact(value)

    assert clean == {
        "credentials": {"user": MASK, "pin": MASK, "ok": True, "no": None, "": "", "many": [MASK, {"b": MASK}]}
    }
    assert places == 4


def test_a_tool_definition_with_a_password_parameter_stays_readable() -> None:
    """
    JSON schema describes values; only the values in it (``default``, ``examples``) are masked.
    """
    schema = {
        "type": "object",
        "properties": {
            "password": {"type": "string", "description": "At least eight characters", "minLength": 8},
            "api_key": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Api Key"},
        },
        "required": ["password", "api_key"],
    }

    assert masked(schema) == schema
    assert masked({"password": {"type": "string", "default": "hunter2"}}) == {
        "password": {"type": "string", "default": MASK}
    }
    assert masked({"credentials": {"type": "string", "value": "x"}}) == {"credentials": {"type": MASK, "value": MASK}}


def test_headers_kept_as_pairs_are_masked_by_their_name() -> None:
    """
    ``[[name, value], …]`` and ``{"name": …, "value": …}`` are how HTTP clients keep headers.
    """
    headers = [["accept", "*/*"], ["authorization", "abc"], ["x-api-key", "def"]]
    named = [{"name": "authorization", "value": "abc"}, {"key": "X-Api-Key", "value": "d"}, {"name": "a", "value": "b"}]

    assert masked(headers) == [["accept", "*/*"], ["authorization", MASK], ["x-api-key", MASK]]
    assert masked(named) == [
        {"name": "authorization", "value": MASK},
        {"key": "X-Api-Key", "value": MASK},
        {"name": "a", "value": "b"},
    ]
    assert masked({"required": ["password", "user"]}) == {"required": ["password", "user"]}


def test_the_current_folder_in_an_environment_is_no_password() -> None:
    """
    ``PWD`` is a folder in every dump of an environment, and a password elsewhere.
    """
    assert masked({"PWD": "/home/ann", "OLDPWD": "C:\\work", "MYSQL_PWD": "hunter2"}) == {
        "PWD": "/home/ann",
        "OLDPWD": "C:\\work",
        "MYSQL_PWD": MASK,
    }


TEXTS = {
    f"use {OPENAI} please": f"use {MASK} please",
    f"key={GITHUB}, id": f"key={MASK}, id",
    f"({AWS})": f"({MASK})",
    f"got {JWT}. Next": f"got {MASK}. Next",
    "Bearer " + OPAQUE: f"Bearer {MASK}",
    "authorization: bearer abc-123": f"authorization: bearer {MASK}",
    "Basic " + "dXNlcjpwYXNz": f"Basic {MASK}",
    "postgres://ann:p@ss:w@db/x": f"postgres://ann:{MASK}@db/x",
    r"{\"url\": \"redis:\/\/:pa55@h\"}": rf"{{\"url\": \"redis:\/\/:{MASK}@h\"}}",
    "?q=1&api_key=abc&x=2": f"?q=1&api_key={MASK}&x=2",
    "export DB_PASSWORD='a b'\nPWD=/tmp": f"export DB_PASSWORD='{MASK}'\nPWD=/tmp",
    '{"api_key": "a\\"b", "max_tokens": 5}': f'{{"api_key": "{MASK}", "max_tokens": 5}}',
    r"{\"api_key\": \"a\\\"b\", \"n\": 5}": rf"{{\"api_key\": \"{MASK}\", \"n\": 5}}",
    "{'password': 'it', 'pin': None}": f"{{'password': '{MASK}', 'pin': None}}",
    '"password": 12345, "x"': f'"password": {MASK}, "x"',
    "password: hunter2 and": f"password: {MASK} and",
    "Cookie: sid=abc; theme=dark\nHost: x": f"Cookie: {MASK}\nHost: x",
    'os.environ["API_KEY"] = "abc"': f'os.environ["API_KEY"] = "{MASK}"',
    "AccountKey=ab==;Endpoint=x": f"AccountKey={MASK};Endpoint=x",
    f"a\n{PEM}\nb": f"a\n{MASK}\nb",
    PEM.replace("\n", "\\n"): MASK,
    PEM.partition("abcd")[0] + "ab": MASK,
    f"line\\n{OPENAI}": f"line\\n{MASK}",
    "token=" + OPAQUE: f"token={MASK}",
}

PROSE = [
    "password: must be long",
    "the secret: be kind",
    "token: the smallest unit of text",
    "Bearer authentication, basic understanding of iOS",
    "task-3f2a6b1c-1111-2222-3333-abcdef012345 disk-space-usage-2024-report",
    "max_tokens=1000, token_count: 12345678",
    "api_key=os.environ['X'], password=getpass(), secret=self.secret, api_key=api_key, api_key=OPENAI_API_KEY",
    "API_KEY=${API_KEY} password=<password> api_key: {{ api_key }} password=**** token=$TOKEN",
    "if password == 'x': return None",
    "Files start with -----BEGIN PRIVATE" + " KEY----- and end alike.",
    "https://example.com:8080/a?to=x@y.org mailto:a@b.c",
    "cookie: chocolate; secret: true; password: null",
    "sk-folding-cube-wrapper risk-averse-population-1234567890",
]


@pytest.mark.parametrize(("text", "clean"), TEXTS.items())
def test_inside_a_text_only_the_secret_stretch_is_masked(text: str, clean: str) -> None:
    """
    Provider keys, bearer tokens, JWTs, private key blocks, URLs and assignments are masked where they stand.
    """
    assert REDACTOR.text(text)[0] == clean
    assert REDACTOR.redact([text]) == ([clean], 1)
    assert REDACTOR.suspects(orjson.dumps([text]))


@pytest.mark.parametrize("text", PROSE)
def test_prose_and_source_code_about_secrets_stay_readable(text: str) -> None:
    """
    A colon in prose, a placeholder and an expression that fetches a secret are none.
    """
    assert REDACTOR.text(text) == (text, 0)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_a_key_of_each_provider_is_masked_from_its_least_length_on(provider: Any) -> None:
    """
    Each row of the table of providers masks what it describes, and nothing shorter.
    """
    dice = Random(provider.name)
    prefix, body = drawn(provider.prefix, dice), drawn(f"{provider.alphabet}{{{provider.least}}}", dice)

    assert REDACTOR.text(f"x {prefix}{body} y") == (f"x {MASK} y", 1)
    assert REDACTOR.text(f"x {prefix}{body[:-1]} y")[1] == 0


SCRAPS = [
    *TEXTS, *PROSE, *SECRET_KEYS[:12], MASK, OPENAI, GITHUB, AWS, JWT, "=", ": ", '"', "'", "\\", '\\"', "\n", " ", "&",
    "password", "token", "https://", "@", "/", "-", "é", "密", "\x00", "\x1f", "🔑", "1", "Bearer ", "sk-",
    "{", "}", "]",
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(SCRAPS), max_size=5).map("".join),
    st.lists(st.one_of(st.sampled_from(SCRAPS), st.text(max_size=4)), max_size=6).map("".join),
)
keys = st.one_of(
    st.sampled_from([*SECRET_KEYS, *OTHER_KEYS, "name", "key", "value", "token", "type", "default"]), texts
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), texts
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(keys, inner, max_size=4),
        st.lists(st.tuples(keys, inner).map(list), min_size=1, max_size=2),
        st.builds(lambda name, value: {"name": name, "value": value}, keys, inner),
    ),
    max_leaves=12,
)


def has_shape_of(clean: JSON, value: JSON) -> bool:
    """Whether *clean* has the lengths and keys of *value*, but for keys that were masked."""
    if isinstance(value, dict):
        return (
            isinstance(clean, dict)
            and len(clean) == len(value)
            and all(new == old or MASK in new for new, old in zip(clean, value, strict=True))
            and all(map(has_shape_of, clean.values(), value.values()))
        )
    if isinstance(value, list):
        return isinstance(clean, list) and len(clean) == len(value) and all(map(has_shape_of, clean, value))
    return not isinstance(clean, dict | list)


def is_encodable(value: JSON) -> bool:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:  # a lone surrogate
        return False
    return True


@pytest.mark.parametrize("under", ["api_key", "password", "authorization", "client_secret"])
def test_a_sentence_under_a_secret_key_is_examined_too(under: str) -> None:
    """A description under a secret key stays, and the secrets in it are masked as in any text."""
    sentence = "use sk-proj-aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3 please"

    for value in ({under: sentence}, {under: [sentence]}, {"name": under, "value": sentence}, [[under, sentence]]):
        clean, places = REDACTOR.redact(value)
        assert "sk-proj" not in str(clean)
        assert places == 1
    assert REDACTOR.redact({under: ["This field is required."]})[1] == 0


@given(values.filter(is_encodable))
@settings(max_examples=400, deadline=None)
def test_redaction_is_idempotent_keeps_the_shape_and_is_foreseen(value: Any) -> None:
    """
    Applied twice it equals applied once, keys and lengths stay, the input is untouched, and whatever it
    changes the prefilter has suspected.
    """
    before = copy.deepcopy(value)

    clean, places = REDACTOR.redact(value)

    assert value == before
    assert has_shape_of(clean, value)
    assert (places == 0) == (clean == value)
    assert REDACTOR.redact(clean) == (clean, 0)
    assert places == 0 or REDACTOR.suspects(orjson.dumps(value))


@given(texts)
@settings(max_examples=400, deadline=None)
def test_the_fast_path_finds_what_the_plain_one_finds(text: str) -> None:
    """
    With hyperscan or without, the same stretches are masked; without it everything is suspected.
    """
    assert REDACTOR.spans(text) == ELSEWHERE.spans(text)
    assert ELSEWHERE.suspects(b"{}")


@given(texts, st.data())
@settings(max_examples=200, deadline=None)
def test_a_secret_split_over_chunks_is_masked_as_in_the_joined_text(text: str, data: st.DataObject) -> None:
    """
    Chunks cut secrets anywhere; pieces are redacted as if joined, and stay as many.
    """
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    clean, places = REDACTOR.split(pieces)

    assert len(clean) == len(pieces)
    assert ("".join(clean), places) == REDACTOR.text(text)


@pytest.mark.parametrize(
    "unit", ["password=", "password=f(", "password=x[redacted]", "token=a(", "sk-", "-eyJ", "cookie:"]
)
def test_a_text_that_begins_a_secret_again_and_again_takes_linear_time(unit: str) -> None:
    """
    What begins inside a secret is not looked at again; with quadratic time this test would take minutes.
    """
    text = unit * (200_000 // len(unit))

    assert REDACTOR.text(text)[1] == ELSEWHERE.text(text)[1] == (unit == "password=")


def test_the_mask_stands_in_the_piece_where_the_secret_begins() -> None:
    """
    The pieces that follow lose their part of the secret and keep the rest.
    """
    pieces = ["my key is sk-", "proj-" + OPAQUE[:9], OPAQUE, " ok"]

    assert REDACTOR.split(pieces) == ([f"my key is {MASK}", "", "", " ok"], 1)
    assert REDACTOR.split([]) == ([], 0)


@pytest.mark.parametrize("key", ["customer_ssn", "Kundennummer", "straße", "x_2fa", "a/b"])
def test_own_keys_match_like_the_built_in_ones(key: str) -> None:
    """
    A user's key is a phrase: other spellings and longer names that end with it count too.
    """
    redactor = Redactor(Rules(keys=[key]))
    value = {key: "x", f"old-{key}": 7, f"{key}_2": "x", f"{key}_count": "x"}

    assert redactor.redact(value) == ({key: MASK, f"old-{key}": MASK, f"{key}_2": MASK, f"{key}_count": "x"}, 3)
    assert redactor.suspects(orjson.dumps({key: "x"}))
    assert not redactor.suspects(orjson.dumps({f"{key}_count": "x"}))


def test_own_keys_are_found_in_texts_and_other_spellings() -> None:
    """
    ``customer_ssn`` is also ``customerSSN`` and ``Customer-SSN=…``.
    """
    redactor = Redactor(Rules(keys=("customer_ssn",)))

    assert masked({"customerSSN": "1", "CUSTOMER SSN": "2"}, redactor) == {"customerSSN": MASK, "CUSTOMER SSN": MASK}
    assert redactor.text("Customer-SSN=078-05") == (f"Customer-SSN={MASK}", 1)


def test_own_patterns_mask_the_match_or_its_group_named_secret() -> None:
    """
    The rest of the text stays; patterns may be compiled or not.
    """
    redactor = Redactor(Rules(patterns=[r"\bCUST-\d+", re.compile(r"(?i)pin (?P<secret>\d{4})")]))

    assert redactor.text("CUST-123 has PIN 9876.") == (f"{MASK} has PIN {MASK}.", 2)


SIMPLE = [
    r"CUST-\d+",
    r"\b\d{3}-\d{2}-\d{4}\b",
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"(?i)k[is]{2} (?P<secret>[a-z]{3})",
    "a{2}?b*c+",
]
INTRICATE = [
    "a.c",
    r"^x\d",
    '"q"',
    "line\nbreak",
    "[^a-y]z",
    r"\s7",
    "(?<=p)q",
    "[A-z]{4}",
    "tür",
    "x{100}",
    r"\b(?:zz)?\b",
]


@pytest.mark.parametrize("examples", [80, pytest.param(400, marks=pytest.mark.slow)])
def test_own_patterns_are_foreseen_by_the_prefilter(examples: int) -> None:
    """
    Whatever a user's pattern matches in the text, the prefilter suspects in its JSON: escapes, other scripts, case.
    """

    @given(pattern=st.sampled_from(SIMPLE + INTRICATE), data=st.data())
    @settings(max_examples=examples, deadline=None)
    def check(pattern: str, data: st.DataObject) -> None:
        redactor = Redactor(Rules(patterns=[pattern]))
        text = data.draw(texts) + data.draw(st.from_regex(pattern)) + data.draw(texts)

        places = redactor.redact({"a": text})[1]

        assert not places or not is_encodable(text) or redactor.suspects(orjson.dumps({"a": text}))

    check()


@pytest.mark.parametrize("pattern", SIMPLE)
def test_a_simple_pattern_keeps_the_prefilter_fast(pattern: str) -> None:
    """
    A value without a match is let pass by the same one scan.
    """
    assert not Redactor(Rules(patterns=[pattern])).suspects(orjson.dumps({"a": "nothing here"}))


@pytest.mark.parametrize("pattern", [*INTRICATE, re.compile("a b", re.VERBOSE)])
def test_a_pattern_that_cannot_be_searched_in_json_makes_every_value_suspicious(pattern: str) -> None:
    """
    Line breaks, quotes, anchors and the like differ between a text and its JSON: slow then, and never wrong.
    """
    redactor = Redactor(Rules(patterns=[pattern]))

    assert redactor.suspects(orjson.dumps({"a": "nothing here"}))
    assert list(redactor.redact({"pin": "x", "password": "x"})[0].values()) == ["x", MASK]


def test_the_hook_has_the_last_word_on_every_value() -> None:
    """
    It sees what the rules have left over, as a copy, and what it returns is recorded.
    """
    seen = []

    def hook(value: Any) -> Any:
        seen.append(copy.deepcopy(value))
        if isinstance(value, dict):
            value["name"] = "someone"
        return value

    given_value = {"name": "Ann", "password": "x"}
    redactor = Redactor(Rules(hook=hook))

    assert redactor.redact(given_value) == ({"name": "someone", "password": MASK}, 2)
    assert redactor.redact([1]) == ([1], 0)
    assert seen == [{"name": "Ann", "password": MASK}, [1]]
    assert given_value == {"name": "Ann", "password": "x"}
    assert redactor.suspects(b"1")


@pytest.mark.parametrize("hook", [lambda value: 1 / 0, lambda value: object(), lambda value: {1: "x"}])
def test_a_hook_that_fails_masks_the_whole_value_and_is_reported(hook: Any) -> None:
    """
    Redaction fails closed and never raises; the report holds no data.
    """
    said: list[str] = []
    redactor = Redactor(Rules(hook=hook), on_problem=said.append)

    assert redactor.redact({"a": "private"}) == (MASK, 1)
    assert redactor.text("private") == (MASK, 1)
    assert redactor.split(["pri", "vate"]) == ([MASK, ""], 1)
    assert "redact_hook failed" in said[0]
    assert "private" not in "".join(said)


def test_a_hook_changes_streamed_text_as_a_whole() -> None:
    """
    The result of a hook on the joined text cannot be split like the pieces, so the first piece gets it; texts stay texts.
    """
    redactor = Redactor(Rules(hook=lambda value: value.replace("Ann", "A.")))

    assert redactor.split(["An", "n says", " hi"]) == (["A. says hi", "", ""], 1)
    assert redactor.text("Ann") == ("A.", 1)
    assert Redactor(Rules(hook=lambda value: [value])).text("x") == (MASK, 1)


def test_a_value_too_deep_to_walk_is_masked_as_a_whole() -> None:
    """
    Near the end of the user's stack the walk fails closed instead of raising.
    """
    said: list[str] = []
    deep: Any = "x"
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]

    assert Redactor(on_problem=said.append).redact(deep) == (MASK, 1)
    assert "RecursionError" in said[0]


def test_without_hyperscan_redaction_works_and_says_that_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A platform without wheels loses speed, not secrets.
    """
    said: list[str] = []
    monkeypatch.setitem(sys.modules, "hyperscan", None)

    redactor = Redactor(Rules(keys=["only here"]), on_problem=said.append)

    assert redactor.suspects(b"{}")
    assert redactor.redact({"a": "password=hunter2"}) == ({"a": f"password={MASK}"}, 1)
    assert "hyperscan" in said[0]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"patterns": ["("]}, r"redact_patterns .* got '\(' \(missing"),
        ({"patterns": ["a*"]}, "must not match the empty text, got 'a"),
        ({"patterns": [re.compile(b"a")]}, "over text"),
        ({"patterns": [7]}, "got 7"),
        ({"patterns": "abc"}, "must be a list of regular expressions, got 'abc'"),
        ({"keys": "abc"}, "must be a list of key names, got 'abc'"),
        ({"keys": [7]}, "got 7"),
        ({"keys": ["_"]}, "at least one word"),
        ({"keys": ['a"b']}, "without quotes"),
        ({"hook": "abc"}, "redact_hook must be a function"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_when_it_is_made(rules: Any, message: str) -> None:
    """
    The error names the setting, the value and what would have been accepted.
    """
    with pytest.raises(ConfigError, match=message):
        Rules(**rules)


def test_ordinary_model_traffic_is_not_suspicious() -> None:
    """
    Messages, tool calls, log probabilities, images and usage pass with one scan.
    """
    traffic = {
        "model": "gpt-4o",
        "max_tokens": 1000,
        "api_key": None,
        "messages": [
            {
                "role": "system",
                "content": "Keep each secret. A token is a word. A key opens: the password must be long.",
            },
            {"role": "user", "content": [{"image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 200}}]},
            {"tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": '{"key": "x", "q": "é\\n"}'}}]},
        ],
        "logprobs": {"content": [{"token": " password", "logprob": -0.1, "bytes": [1]}, {"token": "the"}]},
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
        "url": "https://example.com/a?x=1",
    }

    assert not REDACTOR.suspects(orjson.dumps(traffic))


def test_one_redactor_serves_many_threads() -> None:
    """
    Scans release the interpreter lock; concurrent scans do not affect each other.
    """
    wrong: list[object] = []
    long = "nothing to see here " * 2000

    def work(number: int) -> None:
        secret, plain = {"a": f"{long} password=hunter{number}"}, {"a": f"{long} {number}"}
        for _ in range(50):
            if not REDACTOR.suspects(orjson.dumps(secret)) or REDACTOR.suspects(orjson.dumps(plain)):
                wrong.append(number)
            if REDACTOR.redact(secret)[1] != 1:
                wrong.append(secret)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_goes_on_redacting() -> None:
    """
    The child inherits the compiled prefilter and uses scratch space of its own.
    """
    REDACTOR.suspects(b"{}")

    pid = os.fork()
    if pid == 0:
        seen = REDACTOR.suspects(b'{"password":"x"}') and not REDACTOR.suspects(b'{"a":"x"}')
        os._exit(0 if seen and masked({"password": "x"}) == {"password": MASK} else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_scan_inside_a_scan_has_its_own_scratch() -> None:
    """
    A signal handler or a finaliser that records something may run in the middle of a scan.
    """
    prefilter = REDACTOR._prefilter
    assert prefilter is not None
    inner: list[bool] = []

    scratch = prefilter._idle.pop()
    prefilter._scan(b'{"password":"x"}', lambda *_: inner.append(prefilter.any(b'{"password":"x"}')), 0, None, scratch)
    prefilter._idle.append(scratch)

    assert inner == [True]


def test_the_cache_of_keys_is_bounded() -> None:
    """
    Keys are data as often as names; a program that makes up millions of them must not grow.
    """
    names = Keys()
    for number in range(5000):
        names.sensitivity(f"user-{number}")

    assert names._known.cache_info().currsize <= 4096
    assert names.sensitivity("password") is Sensitivity.ALWAYS


def test_the_page_lists_what_is_masked() -> None:
    """
    The names and providers on the page about redaction are those of the tables.
    """
    page = (Path(__file__).parent.parent.parent / "docs" / "redaction.md").read_text(encoding="utf-8")
    rows = [WORDS, BEFORE_KEY, BEFORE_TOKEN, BEFORE_PASS]
    providers = sorted({provider.name.partition(",")[0] for provider in PROVIDERS}, key=str.casefold)

    assert [row for row in rows if f"| {', '.join(f'`{word}`' for word in row)} |" not in page] == []
    assert ", ".join(providers) in page


def test_secrets_in_keys_are_masked():
    """A key that holds a secret is masked, and no two keys become one."""
    secrets = [f"sk-proj-{letter * 3}B3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9" for letter in "xyz"]

    clean, places = REDACTOR.redact({secrets[0]: 1, secrets[1]: 2, "of": {f"key {secrets[2]}": 3}, "[redacted]": 4})

    assert clean == {"[redacted] 2": 1, "[redacted] 3": 2, "of": {"key [redacted]": 3}, "[redacted]": 4}
    assert places == 3
    assert REDACTOR.redact(clean) == (clean, 0)


@pytest.mark.parametrize(
    "text", ["-token 'wPYCSUgTV2mvARWdft6Y'", '-secret "RmxJnMO0rEP7VEnR"', "user=ann pass=hunter2x9"]
)
def test_a_secret_at_the_beginning_of_a_text_is_masked(text: str) -> None:
    """The prefilter finds what the rules find without a character before it."""
    assert REDACTOR.spans(text) == ELSEWHERE.spans(text) != []
    assert REDACTOR.spans(f"a {text}") == ELSEWHERE.spans(f"a {text}") != []
