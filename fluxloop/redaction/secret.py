"""
Mark values in code as secret.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

from .shapes import MASK

T = TypeVar("T")


class Secret(Generic[T]):
    """
    A value that is never recorded.

    A `Secret` in a captured value, also in a list, a mapping or a field of an object, is recorded as ``"[redacted]"``.
    ``str``, ``repr`` and formatting return that text too, so a secret does not reach logs or error messages. The result
    of `get` is an ordinary value, which is not protected.

    As a marker, ``Annotated[str, fluxloop.Secret]`` masks a parameter of a decorated function, a field of a dataclass
    or of a pydantic model.

    A `Secret` can be pickled and copied, because agents pass their state to other processes. A pickle contains the
    value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def get(self) -> T:
        """Return the value."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def is_marked(annotation: Any) -> bool:
    """Return whether *annotation* contains `Secret`: ``Secret``, ``Annotated[str, Secret]``, ``… | None``."""
    if annotation is Secret or isinstance(annotation, Secret):
        return True
    metadata = getattr(annotation, "__metadata__", ())
    return any(map(is_marked, (*metadata, *get_args(annotation)))) or getattr(annotation, "__origin__", None) is Secret
