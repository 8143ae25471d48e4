"""
Distinguish secrets from placeholders, references in code and prose.

Every function reads a limited number of characters, so that the work for a text is proportional to its length.
"""

from __future__ import annotations

import re

READ = 64
"""The number of characters that are examined to decide whether a value looks random."""
LONGEST_PLACEHOLDER = 200
"""The longest placeholder or description, in characters."""

OPAQUE = r"[A-Za-z0-9_.~+/=:|%@!$*,;-]"
"""A character of an opaque token: not white space, and not escaped in JSON."""

LEAST_RANDOM = 16
"""The shortest value that can look random, in characters."""

_PLACEHOLDER = re.compile(
    r"""<.*>|\$?\{.*\}|\$\(.*\)|%\(?\w*\)?s|\$[A-Z_][A-Z0-9_]*|%[A-Z_]{2,}%|\?|:\w+|\*+(?:[A-Za-z ]{1,20}\*+)?|[\w-]{1,12}(?:\.{3}|…)|•+|\.{2,}|…|[xX]{3,}|[-_]+
    |(?i:none|null|nil|true|false|undefined|todo|tbd|redacted|\[?(?:redacted|hidden|masked|filtered|withheld)\]?)
    |(?i:(?:your|my-own|insert|enter|replace|put|add)[ _-].{0,60}(?:key|token|secret|passw|pass|pwd|here|value|me|credential).{0,20})
    |(?i:change[ _-]?(?:me|it|this))
    """,
    re.VERBOSE | re.DOTALL,
)
"""Placeholders in templates, in documentation and in the output of other redaction tools."""

_VOCABULARY = frozenset(
    "a an any and are as at be by empty enabled disabled expired field for found given has here hidden in incorrect "
    "integer invalid is it json known bool boolean bytes masked missing must needed no none not number object of omitted "
    "optional or password passwords plain present provided required secret set should str string strings text that the "
    "this to token unknown unset used valid value via was with wrong type cookie cookies authorization header headers key "
    "keys credential credentials auth authentication bearer basic only accepted rejected denied forbidden allowed same "
    "origin".split()
)
"""Words that occur in descriptions, and rarely in passwords."""

_STATES = frozenset(
    "required optional string str text bool boolean int integer number bytes object missing invalid expired unknown unset "
    "empty incorrect denied forbidden hidden masked omitted secretstr enabled disabled bearer basic provided include omit inherit "
    "creds cred".split()
)
"""Single words that describe a value."""

_DESCRIPTION = re.compile(
    r"(?i)\b(?:must|should|cannot|can't|can not|may not|required|invalid|incorrect|too (?:short|long|weak|common)|at least|"
    r"at most|does not|doesn't|do not|don't|did not|didn't|is not|isn't|was not|not found|please|enter (?:your|the|a)|"
    r"used to|used for|in the form|characters)\b"
)
_REFERENCE_WORDS = (
    "key|token|secret|password|passwd|pwd|credentials?|auth|authorization|cookies?|value|input|field|text|str|string|name|"
    "args?|param|env|var|data|id|hash|default|provider|getter|function|factory|header|none|type|fn|cb|callback|label|prompt"
)
_REFERENCE = re.compile(
    rf"(?=.*[_.]|[a-z]+[A-Z])(?:[A-Za-z_]\w*\.)*\w*?(?:(?<![A-Za-z])|_)?(?i:{_REFERENCE_WORDS})s?\Z", re.ASCII
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*(?:\??\.[A-Za-z_]\w*)*\Z", re.ASCII)

_PART = r"(?:(?:[A-Z]?[a-z]{2,}|[A-Z]{2,5}(?![a-z])|[A-Z](?=[A-Z][a-z]))+[0-9]{0,2}|[A-Z]+[0-9]{0,4}|[a-z]?|[0-9]{1,4}[a-z]{0,2})"
_WORDS = re.compile(rf"{_PART}(?:[_.\-/:,;=|@+]+{_PART})*+")
"""Words, abbreviations and short numbers, with separators: identifiers, slugs, paths, dates, versions."""
_RANDOM = re.compile(rf"{OPAQUE}{{{LEAST_RANDOM},}}")
_LETTERS = re.compile(r"[A-Za-z]")
_CALL = re.compile(
    r"\$?\{|\$\(|[A-Za-z_$][\w$.]{0,80}+[\[(]"
    r"|(?:self|this|cls|os|sys|config|settings|args|env|process|cfg|opts|options|kwargs|request|secrets|ctx|context)\.[A-Za-z_]"
)
"""The start of an expression that computes or reads a value: a placeholder, a call, a subscript, an attribute."""

_PLAIN_WORD = re.compile(r"[A-Za-z]?[a-z]+[.,:;!?)]*\Z|[A-Z]+\Z")
_PROSE_AFTER_FLAG = frozenset(
    "option options flag flags argument arguments parameter parameters param switch setting value values field and or is "
    "are was were to for with if in on as at the a an from must can could should will would has have not no file path "
    "via when then instead takes stdin env by of that this which requires required only also before after without prompt "
    "prompts means expects accepts needs lets allows reads sets gives".split()
)


def is_placeholder(value: str) -> bool:
    """Return whether *value* is a placeholder, such as ``<your key>``, ``${KEY}`` or ``****``."""
    return len(value) <= LONGEST_PLACEHOLDER and _PLACEHOLDER.fullmatch(value) is not None


def is_description(value: str) -> bool:
    """Return whether *value* describes a secret, as schemas, forms and error messages do: ``must be 8 characters``."""
    if len(value) > LONGEST_PLACEHOLDER:
        return False
    words = re.findall(r"[a-z']+", value.lower())
    if len(words) == 1:
        return value.strip().lower() in _STATES
    if words and not any(map(str.isdigit, value)) and all(word in _VOCABULARY for word in words):
        return True
    return len(words) > 2 and " " in value and _DESCRIPTION.search(value) is not None


def is_reference(value: str, key: str) -> bool:
    """Return whether *value* is a variable with the name of its key: ``api_key=api_key``, ``key=OPENAI_API_KEY``."""
    if len(value) > LONGEST_PLACEHOLDER:
        return False
    name = _squeezed(key.rpartition(" ")[2])
    own = _squeezed(value)
    return (len(own) > 2 and name.endswith(own)) or (
        value.isupper() and _IDENTIFIER.match(value) is not None and own.endswith(name[-6:])
    )


def is_code(value: str) -> bool:
    """Return whether an unquoted *value* is a variable of source code: ``form.password``, ``user_input``."""
    return len(value) <= READ and _IDENTIFIER.match(value) is not None and _REFERENCE.match(value) is not None


def begins_code(text: str, start: int) -> bool:
    """Return whether an expression of source code or a template starts at *start*."""
    return _CALL.match(text, start) is not None


def is_random(value: str) -> bool:
    """Return whether *value* looks like generated characters: long, without white space, not made of words."""
    head = value[:READ]
    if _RANDOM.fullmatch(head) is None or _LETTERS.search(head) is None:
        return False
    return _WORDS.fullmatch(head) is None


def is_short_random(value: str) -> bool:
    """Return whether *value* has letters and digits, and is not made of words and numbers."""
    head = value[:READ]
    has_both = _LETTERS.search(head) is not None and re.search("[0-9]", head) is not None
    return len(value) >= 6 and has_both and _WORDS.fullmatch(head) is None


def is_argument(value: str) -> bool:
    """Return whether *value*, after an option or a name in a pair, is a secret and not a word of prose or an option."""
    value = value.rstrip("])}>.,:;")
    if not value or value[0] == "-" or is_placeholder(value) or begins_code(value, 0):
        return False
    if _PLAIN_WORD.match(value[:READ]):
        word = value.rstrip("!?").lower()
        return len(word) > 4 and word not in _PROSE_AFTER_FLAG and word not in _VOCABULARY
    return True


def is_opaque(value: str) -> bool:
    """Return whether *value* is not a word of prose: it has a digit, or is long."""
    return len(value) >= 20 or (len(value) >= 6 and re.search(r"[0-9]", value) is not None)


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
