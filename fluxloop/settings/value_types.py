"""
The types of settings: how a value from any layer is checked and converted.

A `ValueType` accepts text (environment, `.env`), TOML values and Python values. It returns a value of one type, or
raises `RejectedError`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ..storage.address import checked_key, checked_url

if TYPE_CHECKING:
    from ..storage import Storage

StorageName = Literal["file", "memory", "http"]
"""The storages that can be given by name."""

STORAGE_NAMES: tuple[str, ...] = get_args(StorageName)

CollectorProtocol = Literal["fluxloop", "upstream"]
"""The protocol for the collector: batches, or one request per record, as in FluxLoop 0.1."""

_TRUE = {"1", "true", "yes", "on", "y", "t", "enabled"}
_FALSE = {"0", "false", "no", "off", "n", "f", "disabled"}

_MAX_SHOWN = 80
"""The limit of characters of an invalid value in an error message."""


class RejectedError(ValueError):
    """A value is invalid; the message, if any, gives the reason."""


class ValueType(NamedTuple):
    """The values that a setting accepts."""

    accepted: str
    """The accepted values in words; completes the sentence "it must …"."""
    annotation: str
    """The type of the values for `configure`, for type checkers and editors."""
    read: Callable[[Any], Any]
    """Converts a given value to the value of the setting, or raises `RejectedError`."""


def between(low: float, high: float) -> ValueType:
    """Return the type of numbers from *low* to *high*, both included."""

    def read(given: Any) -> float:
        if isinstance(given, bool) or not isinstance(given, (int, float, str)):
            raise RejectedError
        try:
            number = float(given)
        except (ValueError, OverflowError):
            raise RejectedError from None
        if not low <= number <= high:  # also rejects NaN
            raise RejectedError
        return number

    return ValueType(f"lie between {low:g} and {high:g}", "float", read)


def integer(low: int, high: int | None = None) -> ValueType:
    """Return the type of whole numbers from *low* to *high*, both included."""

    def read(given: Any) -> int:
        if isinstance(given, bool) or not isinstance(given, (int, str)):
            raise RejectedError
        try:
            number = int(given)
        except ValueError:
            raise RejectedError from None
        if number < low or (high is not None and number > high):
            raise RejectedError
        return number

    return ValueType(f"be a whole number from {low} {'up' if high is None else f'to {high}'}", "int", read)


def _flag(given: Any) -> bool:
    if isinstance(given, str):
        word = given.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    elif isinstance(given, int) and given in (0, 1):
        return bool(given)
    raise RejectedError


def _text(given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise RejectedError
    return given if given and not given.isspace() else None


def _key(given: Any) -> str | None:
    text = _text(given)
    return None if text is None else _checked(checked_key, text)


def _url(given: Any) -> str:
    if not isinstance(given, str):
        raise RejectedError
    return _checked(checked_url, given)


def _checked(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise RejectedError(*error.args) from None


def one_of(words: tuple[str, ...], annotation: str) -> ValueType:
    """Return the type of texts that are one of *words*, ignoring case."""

    def read(given: Any) -> str:
        if isinstance(given, str) and (word := given.strip().lower()) in words:
            return word
        raise RejectedError(did_you_mean(given, words).removeprefix(", ") if isinstance(given, str) else "")

    return ValueType(f"be {' or '.join(map(repr, words))}", annotation, read)


def _path(given: Any) -> Path:
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str) or not given or given.isspace() or "\0" in given:
        raise RejectedError
    expanded = os.path.expanduser(given)
    if expanded.startswith("~"):
        raise RejectedError(f"the home folder for ~ is unknown (for a folder of that name, write ./{expanded})")
    try:
        return Path(os.path.abspath(expanded))
    except OSError:  # the working directory was removed: return the relative path, and let the storage report the error
        return Path(expanded)


def _optional_path(given: Any) -> Path | None:
    return None if given is None or given == "" else _path(given)


def _words(given: Any) -> tuple[str, ...]:
    return tuple(word.strip() for word in _items(given, separator=","))


def _patterns(given: Any) -> tuple[str, ...]:
    patterns = _items(given, separator="\n")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError, Warning) as error:  # Warning: with -W error
            raise RejectedError(f"{shown(pattern)} does not compile ({error})") from None
    return patterns


def _items(given: Any, separator: str) -> tuple[str, ...]:
    """Return the items of a list, or the parts of a text between separators."""
    if isinstance(given, str):
        return tuple(item for part in given.split(separator) if (item := part.strip()))
    if not isinstance(given, (list, tuple, set, frozenset)):
        raise RejectedError
    for item in given:
        if not isinstance(item, str) or not item or item.isspace():
            raise RejectedError(f"{shown(item)} is not a non-empty text")
    return tuple(sorted(given) if isinstance(given, (set, frozenset)) else given)


def _hook(given: Any) -> Callable[..., Any] | None:
    if given is not None and not callable(given):
        raise RejectedError
    return given  # type: ignore[no-any-return]  # the type of its result is unknown


def _storage(given: Any) -> str | Storage | tuple[str | Storage, ...]:
    items: Iterable[Any] = given if isinstance(given, (list, tuple)) else [given]
    if isinstance(given, str):
        items = _items(given, separator=",")
    chosen: list[str | Storage] = []
    for item in items:
        storage = _one_storage(item)
        if not any(storage is other for other in chosen):  # do not store each record twice in one storage
            chosen.append(storage)
    if not chosen:
        raise RejectedError
    return chosen[0] if len(chosen) == 1 else tuple(chosen)


def _one_storage(item: Any) -> str | Storage:
    if isinstance(item, str):
        for word in STORAGE_NAMES:
            if item.strip().lower() == word:
                return word
        raise RejectedError(f"{shown(item)} is not a storage name{did_you_mean(item, STORAGE_NAMES)}")
    if isinstance(item, io.IOBase):
        raise RejectedError(f"{shown(item)} is an open file, not a storage")
    if isinstance(item, type):
        raise RejectedError(f"{item.__name__} is a class; pass an instance: {item.__name__}(…)")
    if not callable(getattr(item, "write", None)) or not callable(getattr(item, "close", None)):
        raise RejectedError(f"{shown(item)} has no write() and close()")
    return item  # type: ignore[no-any-return]  # it has the methods of a Storage


FLAG = ValueType("be true or false (or yes/no, on/off, 1/0)", "bool", _flag)
TEXT = ValueType("be text, or None", "str | None", _text)
KEY = ValueType("be printable ASCII text without spaces, or None", "str | None", _key)
URL = ValueType("be an http or https URL, such as http://localhost:8000", "str", _url)
PROTOCOL = one_of(get_args(CollectorProtocol), "CollectorProtocol")
FILE = ValueType("be a path, or None", "str | PathLike[str] | None", _optional_path)
PATH = ValueType("be a path", "str | PathLike[str]", _path)
WORDS = ValueType("be a list of words, or words separated by commas", "str | Sequence[str] | Set[str]", _words)
PATTERNS = ValueType(
    "be a list of regular expressions, or text with one per line", "str | Sequence[str] | Set[str]", _patterns
)
HOOK = ValueType("be a function, or None", "Callable[..., Any] | None", _hook)
STORAGE = ValueType(
    f"be {', '.join(map(repr, STORAGE_NAMES[:-1]))} or {STORAGE_NAMES[-1]!r}, an object with write() and close(), "
    "or a list of these",
    "StorageName | Storage | Sequence[StorageName | Storage]",
    _storage,
)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the closest of *words*, or an empty text if none is close."""
    from difflib import get_close_matches  # only needed for error messages

    close = get_close_matches(word, list(words), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def shown(value: Any) -> str:
    """Return *value* as text for error messages, shortened; a number given as text is shown without quotes."""
    if value is not None and not isinstance(value, (str, int, float)):
        return f"an object of type {type(value).__name__}"
    try:
        text = value.strip() if isinstance(value, str) and _is_number(value) else repr(value)
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "a very large number"
    text = _CREDENTIALS.sub("//***@", text)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


_CREDENTIALS = re.compile(r"//[^/@\s]*@")
"""The user and password in a URL, which messages do not show."""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
