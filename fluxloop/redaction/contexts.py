"""
Find secrets that follow their name without ``=`` or ``:``: options of commands, XML, netrc, SQL.

Each shape reads a head of limited length first. The value is read only if the head is the name of a secret. After a long
value that is rejected, the search continues at its end, so that no character is read repeatedly.
"""

from __future__ import annotations

import re
from functools import cache, partial

from .assignments import key_before
from .heuristics import READ, is_argument, is_description, is_placeholder, is_short_random
from .keys import Keys, Sensitivity, any_of
from .shapes import EVERYWHERE, MASK, Shape, Span

_SPACE = r"(?:\s|\\{1,7}[nrt])"
"""White space, also as an escape in nested JSON."""
_Q = r"""\\{0,7}["']"""
_TEXT = r"(?P<text>[^<]++)(?P<closed><\\{0,3}/)?+"
_ARGUMENT = rf"""(?:{_Q}(?=[^\\"'])(?P<quoted>[^"'\n\\]++)|(?P<bare>[^\s"'|;&<>\\,]++))"""

_KEYED = (
    # anchor; the head, from the anchor on; the value
    # --api-key X, and '--api-key', 'X' in the repr of a list
    (
        r"(?<![\w\]-])(?:--(?=[A-Za-z])|-(?=(?i:pass|pwd|secret|token|api)))",
        rf"--?(?P<key>[A-Za-z][\w.-]{{0,60}}+)(?:[ \t]{{1,8}}+|{_Q},[ ]?(?={_Q}))",
        _ARGUMENT,
    ),
    # <password>X</password>
    (
        r"<(?=[A-Za-z])",
        rf"<(?:[\w.-]{{1,64}}:)?(?P<key>[\w.-]{{1,64}}+)(?:{_SPACE}{{1,8}}[\w:.-]{{1,64}}=[^<>]{{0,200}}+)?>{_SPACE}{{0,64}}+(?:<!\[CDATA\[)?",
        _TEXT,
    ),
    # <add key="ApiKey" value="X"/>
    (
        rf"(?i)(?<!\w)(?:name|key|id)=(?={_Q})",
        rf"(?i)\w+={_Q}(?P<key>[\w.:\- ]{{1,64}}+){_Q}{_SPACE}{{1,8}}(?:[\w:.-]{{1,64}}=[^<>]{{0,200}}?)??(?:value|content)={_Q}",
        r"""(?P<text>[^"'<>\\]++)""",
    ),
    # variable "password" { default = "X" }
    (
        rf"(?<!\w)variable (?={_Q})",
        rf"variable {_Q}(?P<key>[\w.-]{{1,64}}+){_Q}{_SPACE}{{0,8}}\{{[^{{}}]{{0,200}}?default{_SPACE}{{0,16}}={_SPACE}{{0,16}}(?={_Q})",
        _ARGUMENT,
    ),
    # <entry key="password">X</entry>
    (
        rf"(?i)(?<!\w)(?:name|key|id)=(?={_Q})",
        rf"(?i)\w+={_Q}(?P<key>[\w.:\- ]{{1,64}}+){_Q}(?:{_SPACE}{{1,8}}[\w:.-]{{1,64}}=[^<>/]{{0,200}}+)?>{_SPACE}{{0,64}}+",
        _TEXT,
    ),
    # <key>password</key><string>X</string>
    (
        r"<(?:key|name|string)>",
        rf"<\w+>(?P<key>[\w.:\- ]{{1,64}}+)<\\{{0,3}}/\w{{1,8}}>{_SPACE}{{0,64}}+<(?:string|value|data)>",
        _TEXT,
    ),
)

_COMMANDS = (
    # command; its option before the secret, where QUOTE is an optional quote
    (r"(?:mysql|mariadb)\w{0,8}", r"-p"),
    (r"sshpass", r"-p ?"),
    (r"redis-cli", r"-a "),
    (r"(?:docker|podman|nerdctl|helm|registry|az|oc|cf) login", r"-p "),
    (r"(?:mongo|mongosh|mongodump|mongorestore|mongoexport|mongoimport|snowsql|clickhouse-client)", r"-p "),
    (r"(?:curl|wget)", r"(?:-u|-U|--user|--proxy-user|--auth|-a)[ =]?QUOTE[^\s:\"'|;&]{0,128}:"),
    (r"curl", r"(?:--oauth2-bearer|--pass|--key-pass)[ =]"),
    (r"curl", r"(?:-b|--cookie)[ =]?QUOTE[^\s=\"'|;&]{1,128}="),
    (r"(?:sqlcmd|isql|zip|unzip|osql)", r"-P ?"),
    (r"(?:7z|7za)", r"-p"),
    (r"cqlsh", r"-p ?"),
    (r"(?:https?|xh)", r"(?:-a|--auth)[ =]?QUOTE[^\s:\"'|;&]{1,128}:"),
    (r"lftp", r"-u ?QUOTE[^\s,]{1,64},"),
    (r"snmp\w{2,10}", r"-[AX] "),
    (r"(?:sqlplus|sqlldr|expdp|impdp)", r"QUOTE[^\s/@\"'-]{1,64}/(?=[^\s/])"),
    (r"(?:keytool|jarsigner)", r"-(?:src|dest)?(?:store|key)pass "),
    (r"net use", r"/user:\S{1,64} "),
    (r"(?:ldapsearch|ldapadd|ldapmodify|ldapdelete|ldapwhoami|ldappasswd)", r"-w ?"),
    (r"openssl", r"(?:pass:|-k )"),
    (r"smbclient", r"-U ?QUOTE[^\s%]{1,64}%"),
    (r"htpasswd", r"-[a-zA-Z]{0,6}b[a-zA-Z]{0,6} \S{1,128} \S{1,64} "),
    (r"rabbitmqctl", r"(?:add_user|change_password) \S{1,64} "),
)

_PHRASES = (
    # anchor; the text up to the secret
    *(
        (
            rf"(?<![\w-]){command}(?= )",
            rf"{command} (?:[^\n|;&]{{0,300}}? )??" + option.replace("QUOTE", r"(?:\\{0,3}[\"'])?"),
        )
        for command, option in _COMMANDS
    ),
    # echo X | docker login --password-stdin, echo 'ann:X' | chpasswd
    (
        r"(?<![\w-])echo(?= )",
        (
            r"echo (?:-n )?(?:(?=[^\n|]{0,100}\|[^\n|]{0,60}(?:--password-stdin|--with-token|--passphrase-fd|sudo -S))"
            rf"|(?=[^\n|]{{0,100}}\|[^\n|]{{0,60}}chpasswd)(?:{_Q})?[^\s:'\"]{{1,64}}:)"
        ),
    ),
    # machine example.com login ann password X
    (
        r"(?<!\w)(?:machine|default)(?=\s|\\)",
        (
            rf"(?:machine{_SPACE}{{1,8}}[^\s\\]{{1,128}}|default)(?:{_SPACE}{{1,8}}(?:login|account){_SPACE}{{1,8}}[^\s\\]{{1,128}}){{1,2}}"
            rf"{_SPACE}{{1,8}}password{_SPACE}{{1,8}}"
        ),
    ),
    # CREATE USER ann IDENTIFIED BY 'X', ALTER ROLE ann WITH PASSWORD 'X'
    (
        r"(?<!\w)(?i:identified|password)(?= )",
        r"(?i)(?:identified (?:with \w{1,32} )?(?:by|as)|password)(?: =)? (?=\\{0,7}[\"'])",
    ),
    # SET PASSWORD = PASSWORD('x1'), CREATE USER ann IDENTIFIED BY x1
    (
        r"(?<!\w)(?:(?i:password)(?=\()|(?i:identified)(?= ))",
        r"(?i)(?:password\((?=\\{0,7}[\"'][^\s\"']{0,40}[0-9])|identified (?:by|as) (?=[^\s\"']{0,40}[0-9]))",
    ),
    # auth=('ann', 'X')
    (
        r"(?<![A-Za-z])(?:auth|credentials)(?= ?= ?\()",
        rf"\w{{4,11}} ?= ?\({_Q}[^\"'\\\n]{{0,128}}{_Q}, ?",
    ),
    # jdbc:oracle:thin:ann/X@host
    (r"jdbc:oracle:(?=\w)", r"jdbc:oracle:\w{1,8}:[^\s/@]{1,64}/"),
)

_READINGS = (
    any_of(("echo", *(command for command, _ in _COMMANDS))) + " ",
    r"(?:login|account)(?:\s|\\+[nrt])+[^\s]+(?:\s|\\+[nrt])+password(?:\s|\\)",
    r"(?i)(?:identified (?:by|as|with)|password(?:\(|(?: =)? )\\*['\"])",
    r"(?:auth|credentials) ?= ?\(",
    r"jdbc:oracle:\w",
)
"""One of them matches wherever a row of `_PHRASES` does."""


def named_contexts(keys: Keys) -> tuple[Shape, ...]:
    """Return the shapes of secrets that follow one of *keys* without ``=`` or ``:``."""
    mentioned = Shape(_MENTION, partial(_mentioned, keys), (), 200)
    return mentioned, *(
        Shape(
            re.compile(anchor),
            partial(_keyed, keys, re.compile(head, re.ASCII), re.compile(value)),
            (),  # `assignments` has them in its own
            EVERYWHERE,
        )
        for anchor, head, value in _KEYED
    )


_MENTION = re.compile(r"(?<=[A-Za-z0-9])[ \t]{1,4}")
"""``the API key is 0p4que``, ``ENV SECRET_KEY 0p4que``."""
_MENTIONED = re.compile(
    rf"(?:is:? |was )?(?:{_Q}(?=[^\s\"'\\]{{8,64}}{_Q})|(?=[\w.+/=~-]{{10}}))(?=[A-Za-z_.+/=~-]{{0,24}}[0-9])"
    r"(?P<secret>(?P<head>[\w.+/=~-]{8,64}+)[\w.+/=~-]*+)",
    re.ASCII,
)


def _mentioned(keys: Keys, text: str, anchor: re.Match[str]) -> Span | None:
    if keys.sensitivity(key_before(text, anchor.start())) is not Sensitivity.ALWAYS:
        return None
    match = _MENTIONED.match(text, anchor.end())
    return match.span("secret") if match and is_short_random(match["head"]) else None


@cache
def commands() -> Shape:
    """Return the shape of secrets that follow an option of a known command, or a fixed phrase."""
    anchors, patterns = zip(*((anchor, re.compile(before + _ARGUMENT)) for anchor, before in _PHRASES), strict=True)
    return Shape(
        re.compile("|".join(f"(?:{anchor})" for anchor in anchors)), partial(_argument, patterns), _READINGS, EVERYWHERE
    )


def _keyed(
    keys: Keys, head: re.Pattern[str], follows: re.Pattern[str], text: str, anchor: re.Match[str]
) -> Span | None:
    """Return the span of a plausible value after a secret key; an empty span after a long value that is rejected."""
    named = head.match(text, anchor.start())
    sensitivity = keys.sensitivity(named["key"]) if named else None
    match = follows.match(text, named.end()) if named and sensitivity else None
    if named is None or match is None:
        return None
    group = next(group for group in ("text", "quoted", "bare") if match.groupdict().get(group) is not None)
    value = match[group].strip()
    if group == "text":
        secret = keys.hides(named["key"], value) and match.groupdict().get("closed", "") is not None
    else:
        secret = is_argument(value) and not is_description(value)
        secret = secret and (group == "quoted" or sensitivity is Sensitivity.ALWAYS or not value.isalpha())
    if not secret or MASK in value:
        return (match.end(), match.end()) if len(value) > READ else None
    start = match.start(group) + len(match[group]) - len(match[group].lstrip())
    return start, start + len(value)


def _argument(patterns: tuple[re.Pattern[str], ...], text: str, anchor: re.Match[str]) -> Span | None:
    for pattern in patterns:
        match = pattern.match(text, anchor.start())
        if match is None:
            continue
        group = match.lastgroup or "bare"
        if is_argument(match[group]) if group == "quoted" else not is_placeholder(match[group]):
            return match.span(group)
    return None
