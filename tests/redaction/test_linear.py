"""
The work of redaction is proportional to the length of a text, also of texts made to cost more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .step_counting import counted

SHORT = 1_000
"""Characters of the shorter text; longer than what a rule reads for one anchor."""

UNITS = [
    # names, signs and values
    "pwd=/", "pwd=~", "password=", "password: ", "password:", "password= ", "password=x ", "password=a,", "password=a;",
    "password=a&", "password=f(", "password=$(", "password={", "password=<", "password=x[redacted]", "password=[",
    "token=", "token:", "token=a(", "token=a.b", "token=ab12", 'token="', "token='", "secret=config.", "api key is ",
    "api_key aB3", "cookie:", "cookie:a=", "cookie: a=b;", "authorization: bearer ", "authorization: oauth ", "a=", "=",
    ":", "key=", "?key=", "&sig=a1", "?code=a1b2c3&", "-Dpassword=", "user=a pass=", "pass=", "password provided: ",
    # quotes and nesting
    '"', "'", "\\", '\\"', "\\\\", 'password="', "password='", 'password=\\"', 'password="\\', '"password":"', '"password": ',
    "'password', '", '("password", "', '\\"password\\":\\"', '"password":1', '"password"', "password]", "password   ", "\\n",
    # options, commands, XML, netrc
    "--api-key ", "--api-key x", "--api-key f(", "--api-key '", "'--api-key', '", "--", "-", "-a-", "mysql ", "mysql -p",
    "mysql -", "curl -u ", "curl -u a", "curl ", "docker login ", "openssl ", "machine ", "machine a login b ", "default login ",
    "<password>", "<password", "<password a=", "<password>x", "<", "</password>", "<a>", "<a b=", 'name="password">',
    'name="x">', 'name="token">', 'key="password" ', 'key="password" a=', 'name="', "<key>password</key>", "<key>",
    "echo ", "echo a:", "echo a|", "password: |\n a1b2c3", "password:\n - a1b2c3\n", "password:\n", "- a1b2c3\n", "a: str = '",
    "password: str = '", 'variable "password" {', 'variable "a" {default', "password=b'", 'password="""', "password=`", "`",
    "http -a a:", "sqlplus a/", "net use ", "password('", "password 'a1",
    "password '", "identified by '", "auth=('a', ", "jdbc:oracle:a:", "jdbc:oracle:thin:a/",
    # formats
    "sk-", "-sk-a", "sk-a1", "-eyJ", "eyJ", "-eyJhbGciOiJI.", "eyJhbGciOiJIUzI1NiJ9.", "SG.", "ghp_", "_ghp_", "AKIA", "-AKIA",
    "xoxb-", "-xoxb-1", "123456789:A", "1234567890", "0a", "deadbeef", "AAAA", "a1B2c3D4", "[", "]", "abcdefgh-us1", "A3-",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN RSA PRIVATE KEY-----\n", "-----", "PRIVATE KEY-----", "----BEGIN",
    "-----BEGIN PRIVATE KEY-----a-", "-----BEGIN PRIVATE KEY-----\\", "bearer ", "bearer a", "basic ", "basic aA", "basic dXNl",
    "://", "a://", "a://b:", "a://b:c", "a://b@", "a://b:c@", "@", "a:\\/\\/", "://a:b:c:d",
    # encodings
    "%", "%3D", "%253D", "%2525", "password%3D", "password%3Da", "%22password%22%3A", "a%3A%2F%2Fb%3Ac", "%3A%2F%2F", "bearer%20",
    "&quot;", "password&quot;", "&#61;", "password&#61;", "&amp;", "&amp;amp;", "\\u0022", "\\u0022password\\u0022:", "u0026key=",
    "&lt;password&gt;", "private%20key", "+",
    # whatever
    "a", " ", "\n", "\t", "é", "🔑", "[redacted]", "password=[redacted]", "a b ", "a.b.", "a-b_c ", ",", ";", "{", "}", "none ",
]  # fmt: skip


@pytest.fixture(scope="module")
def counting() -> Iterator[object]:
    with counted() as (redaction, steps):
        yield redaction.Redactor(), steps


def work(counting: tuple, text: str) -> int:
    """Return the steps that redacting *text* takes."""
    redactor, steps = counting
    before = steps.taken
    redactor.text(text)
    return steps.taken - before


MOST = [pytest.param(unit, marks=[] if number % 6 == 0 else pytest.mark.slow) for number, unit in enumerate(UNITS)]


@pytest.mark.parametrize("unit", MOST)
def test_the_work_for_a_text_twice_as_long_is_at_most_twice_as_much(unit: str, counting: tuple) -> None:
    """Steps of the regular expressions are counted, which repeats exactly; a quadratic rule takes four times as many."""
    short, long = (work(counting, unit * (size // len(unit))) for size in (SHORT, 2 * SHORT))

    assert long <= 2.5 * short + 1_000
    assert long <= 1_200 * 2 * SHORT
