"""
The values that records are made of: a time, and token counts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel
from pydantic_core import core_schema


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)


if TYPE_CHECKING:
    Time = datetime
else:

    class _DatetimeSchema:
        """An explicit schema: pydantic does not recognize `datetime` while a test library replaces the class."""

        @staticmethod
        def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
            return core_schema.datetime_schema()

    # This module may be imported while freezegun replaces `datetime` by a subclass.
    _real_datetime = next(cls for cls in datetime.__mro__ if cls.__module__ == "datetime")
    Time = Annotated[_real_datetime, _DatetimeSchema]


class Usage(BaseModel):
    """
    The token counts of a model call, or of a trace.

    ``input_tokens`` includes cached tokens and ``output_tokens`` includes reasoning tokens, for every provider. A count
    that was not reported is None, not zero.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def reported(self) -> bool:
        """Whether any count was reported."""
        return any(count is not None for _, count in self)

    def __add__(self, other: Usage) -> Usage:
        """Return the sum; a count that neither operand reports stays None."""
        pairs = ((name, count, getattr(other, name)) for name, count in self)
        return Usage(**{name: a if b is None else b if a is None else a + b for name, a, b in pairs})
