"""
`fluxloop.Secret`: values, parameters and fields that code marks as secret.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import attrs
import pytest
from pydantic import BaseModel

import fluxloop
from fluxloop import Secret
from fluxloop.redaction import MASK
from fluxloop.testing import capture


def recorded(value: Any, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """Return the output recorded for a function that returns *value*, and its record."""
    with capture(**settings) as captured:
        fluxloop.agent(lambda: value)()
    line = next(captured.storage.read())
    return line["output"], line


@dataclass
class Login:
    user: str
    pin: Annotated[str, Secret]


@attrs.define
class Session:
    user: str
    pin: Annotated[int, Secret]


class Model(BaseModel):
    user: str
    pin: Annotated[str | None, Secret] = None


def test_a_secret_is_masked_wherever_it_appears_in_a_captured_value() -> None:
    """In containers, as a key, in the attributes of an object; each place is counted."""
    holder = type("Holder", (), {})()
    holder.pin = Secret("hidden-1")
    value = {"a": Secret("hidden-2"), "b": [Secret(3), (Secret(None),)], "c": holder, Secret("hidden-4"): 1}

    output, line = recorded(value)

    assert output["a"] == MASK
    assert output["b"] == [MASK, [MASK]]
    assert output["c"]["pin"] == MASK
    assert output[MASK] == 1
    assert "hidden" not in str(line)
    assert line["redacted"] == 5


def test_a_secret_is_masked_when_redaction_is_switched_off() -> None:
    """The mark is part of the value, not of the settings."""
    assert recorded(Secret("hidden"), redact=False)[0] == MASK


def test_the_text_of_a_secret_is_its_mask() -> None:
    """Logs, f-strings and error messages do not show it; `get` returns it."""
    secret = Secret("hidden")

    assert [str(secret), f"{secret}", f"{secret:>3}", "%s" % secret, repr(secret)] == [
        MASK,
        MASK,
        MASK,
        MASK,
        f"Secret({MASK})",
    ]
    assert secret.get() == "hidden"
    assert secret == Secret("hidden") != Secret("other")
    assert hash(secret) == hash(Secret("hidden"))


def test_a_secret_is_copied_and_pickled_with_its_value() -> None:
    """Agents pass their state to other processes."""
    secret = Secret({"pin": 4711})

    assert pickle.loads(pickle.dumps(secret)) == copy.deepcopy(secret) == copy.copy(secret) == secret


@pytest.mark.parametrize("wanted", [Login("ann", "hidden"), Session("ann", 4711), Model(user="ann", pin="hidden")])
def test_a_marked_field_is_masked(wanted: Any) -> None:
    """Of dataclasses, attrs classes and pydantic models; the other fields stay."""
    output, _ = recorded([wanted])

    assert {"user": "ann", "pin": MASK}.items() <= output[0].items()


def test_a_marked_parameter_is_masked_by_name() -> None:
    """Positional or by keyword, with a default or in a union; the call itself gets the value."""

    @fluxloop.tool
    def log_in(
        user: str,
        pin: Annotated[str, Secret],
        code: Annotated[int, Secret] | None = None,
        *rest: Annotated[str, Secret],
        session: Secret[str] | None = None,
    ) -> Any:
        return [pin, code, rest, session]

    with capture() as captured, fluxloop.instrument("run"):
        assert log_in("ann", "hidden", 4711, "more") == ["hidden", 4711, ("more",), None]

    line = next(line for line in captured.storage.read() if line.get("name") == "log_in")
    assert line["input"] == {"user": "ann", "pin": MASK, "code": MASK, "rest": MASK, "session": MASK}


def test_an_annotation_that_cannot_be_resolved_is_masked_by_its_text() -> None:
    """A name that only type checkers see must not cost the mark."""

    def pay(card: Annotated[Unknown, fluxloop.Secret], amount: int) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    with capture() as captured:
        fluxloop.agent(pay)("4111", 5)

    assert next(captured.storage.read())["input"] == {"card": MASK, "amount": 5}


def test_marking_costs_nothing_where_it_is_not_used() -> None:
    """`import fluxloop` does not load the module, and neither does a decorator."""
    program = (
        "import sys, fluxloop\n@fluxloop.tool\ndef f(a: int): ...\nprint('fluxloop.redaction.secret' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "False"


def test_a_name_is_masked_in_the_record_the_journal_and_the_trace() -> None:
    """Names are often URLs; ordinary names stay as they are."""
    url = "https://example.com/items?api_key=hidden1234"

    @fluxloop.tool(name=url)
    def fetch() -> None: ...

    with capture() as captured, fluxloop.instrument(url), fluxloop.observe("step 2: gpt-4o", "span"):
        fetch()
        fluxloop.event(url)

    assert "hidden1234" not in str([*captured.storage.read()])
    assert captured.outline().splitlines()[:2] == [
        f"SPAN https://example.com/items?api_key={MASK}",
        "  SPAN step 2: gpt-4o",
    ]


def test_a_name_is_recorded_as_it_is_when_redaction_is_switched_off() -> None:
    """The same decorated function follows the settings of the moment."""
    call = fluxloop.agent(name="x?api_key=hidden1234")(lambda: None)
    names = []
    for redact in (True, False, True):
        with capture(redact=redact) as captured:
            call()
        names.append(next(captured.storage.read())["name"])

    assert names == [f"x?api_key={MASK}", "x?api_key=hidden1234", f"x?api_key={MASK}"]
