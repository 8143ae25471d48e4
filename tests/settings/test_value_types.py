"""Which values each setting accepts, and the errors for all others."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from isolation import MinimalStorage, isolated_settings

from fluxloop.errors import ConfigError
from fluxloop.settings.layers import Configuration


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path) -> Iterator[None]:
    with isolated_settings(tmp_path):
        yield


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"storag": "x"}, r"unknown setting 'storag' \(from configure\(\)\), did you mean 'storage'\? .*base_path"),
        ({"qqqqq": 1}, r"unknown setting 'qqqqq' \(from configure\(\)\) \(accepted: storage, base_path"),
        ({"sample_rate": 1.5}, r"sample_rate must lie between 0 and 1, got 1.5 \(from configure\(\)\)"),
        ({"sample_rate": True}, "got True"),
        ({"sample_rate": float("nan")}, "got nan"),
        ({"sample_rate": 10**400}, "got 1000"),
        ({"sample_rate": None}, "got None"),
        ({"enabled": "perhaps"}, "enabled must be true or false .* got 'perhaps'"),
        ({"enabled": 2}, "got 2"),
        ({"enabled": None}, "got None"),
        ({"max_leaf_bytes": 63}, "max_leaf_bytes must be a whole number from 64 up, got 63"),
        ({"max_leaf_bytes": 64.5}, "got 64.5"),
        ({"max_leaf_bytes": "64.5"}, "got 64.5"),
        ({"max_depth": 201}, "max_depth must be a whole number from 1 to 200, got 201"),
        ({"max_depth": 10**5000}, "got a very large number"),
        ({"max_stream_items": False}, "got False"),
        ({"base_path": ""}, "base_path must be a path, got ''"),
        ({"base_path": b"x"}, "an object of type bytes"),
        ({"base_path": "a\0b"}, "base_path must be a path"),
        ({"base_path": "~no-such-user-here/x"}, "the home folder for ~ is unknown"),
        ({"session_id": uuid.UUID(int=1)}, "session_id must be text, or None, got an object of type UUID"),
        ({"storage": "fil"}, "'fil' is not a storage name, did you mean 'file'?"),
        ({"storage": ""}, "storage must be 'file', 'memory' or 'http'"),
        ({"storage": []}, "an object of type list"),
        ({"storage": MinimalStorage}, r"MinimalStorage is a class; pass an instance: MinimalStorage\(…\)"),
        ({"storage": ["file", 3]}, r"3 has no write\(\) and close\(\)"),
        ({"storage": io.BytesIO()}, "BytesIO is an open file"),
        ({"storage": None}, r"None has no write\(\) and close\(\)"),
        ({"redact_keys": 3}, "redact_keys must be a list of words"),
        ({"redact_keys": ["a", 3]}, "3 is not a non-empty text"),
        ({"redact_keys": [" "]}, "' ' is not a non-empty text"),
        ({"redact_patterns": ["("]}, r"'\(' does not compile \(missing \)"),
        ({"redact_patterns": ["[[a]"]}, "does not compile"),
        ({"redact_hook": "x"}, "redact_hook must be a function, or None, got 'x'"),
        ({"debug": "x" * 1000}, "got '" + "x" * 78 + "…"),
    ],
)
def test_an_invalid_value_is_rejected_and_nothing_changes(values: dict[str, Any], message: str) -> None:
    """The error names key, value, source and valid values; valid values in the same call have no effect either."""
    layers = Configuration()
    before = layers.configure(sample_rate=0.5)

    with pytest.raises(ConfigError, match=message) as caught:
        layers.configure(service_name="new", **values)

    assert isinstance(caught.value, ValueError)
    assert layers.settings() is before


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ({"sample_rate": "0.5"}, 0.5),
        ({"sample_rate": 0}, 0.0),
        ({"max_stream_items": 0}, 0),
        ({"base_path": Path("/data/../x")}, Path("/x")),
        ({"base_path": "~/x"}, Path.home() / "x"),
        ({"session_id": " "}, None),
        ({"session_id": "thr_1"}, "thr_1"),
        ({"storage": ["Memory"]}, "memory"),
        ({"storage": ["file", "file", "memory"]}, ("file", "memory")),
        ({"redact_keys": {"b", "a"}}, ("a", "b")),
        ({"redact_patterns": r"\d{3,4}"}, (r"\d{3,4}",)),
        ({"redact_patterns": []}, ()),
        ({"redact_hook": len}, len),
        ({"redact_hook": None}, None),
    ],
)
def test_accepted_forms_of_a_value_are_converted(values: dict[str, Any], read: object) -> None:
    """Each accepted form is converted to the type of the setting; 0 and empty values are valid."""
    settings = Configuration().configure(**values)

    assert getattr(settings, *values) == read


def test_storage_objects_are_used_as_they_are() -> None:
    """A storage object, isolated_settings or in a list, is used as it is and not copied."""
    keep = MinimalStorage()

    assert Configuration().configure(storage=keep).storage is keep
    assert Configuration().configure(storage=[keep, "file", keep]).storage == (keep, "file")


@pytest.mark.parametrize("words", ["1 true yes on y t enabled", "0 false no off n f disabled"])
@pytest.mark.parametrize("change", [str.lower, str.upper, str.title, " {} ".format])
def test_booleans_accept_all_common_spellings(words: str, change: Any) -> None:
    """Each spelling of true and false is accepted in any case; FluxLoop 0.1 read `1` and `yes` as false."""
    read = set()
    for word in words.split():
        os.environ["FLUXLOOP_ENABLED"] = change(word)
        layers = Configuration()
        read.add((layers.settings().enabled, layers.source("enabled")))

    assert read == {(words.startswith("1"), "FLUXLOOP_ENABLED")}
