"""
The fast way to JSON: orjson, as far as it can be trusted with values that belong to somebody else.

Two things it does would end the process. It calls ``default``, and thereby lets other threads run, in the middle
of a list which it reads without holding on to it; so it gets no ``default``, and what it does not know goes the
careful way (`fluxloop.encoding.cleaning`). And since 3.12 it does not count the levels of tuples; where that is
so, nothing that may hold one is given to it.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

AS_IT_IS = orjson.OPT_PASSTHROUGH_DATACLASS
"""The option for `dumps`. Dataclasses are refused: some are contexts which hold half the program."""
MOST_LOOKED_INTO = 100_000
"""Containers looked into for tuples before a value is left to the careful way."""


def counts_levels(encode: Callable[[object], bytes]) -> bool:
    """Return whether *encode* refuses tuples that are nested too deep, as it does lists and dicts."""
    nested: object = None
    for _ in range(300):
        nested = (nested,)
    try:
        encode(nested)
    except TypeError:
        return True
    return False


def has_no_tuples(value: object) -> bool:
    """Return whether *value* is certainly free of tuples: all of it was looked at, and every type is known."""
    pending = [value]
    for _ in range(MOST_LOOKED_INTO):
        if not pending:
            return True
        inner = pending.pop()
        if type(inner) is dict:
            pending += [item for item in inner.values() if type(item) not in _SCALARS]
        elif type(inner) is list:
            pending += [item for item in inner if type(item) not in _SCALARS]
        elif type(inner) not in _SCALARS:
            return False
    return False


_SCALARS = frozenset({str, int, float, bool, type(None)})


def careful_dumps(value: object, default: None, option: int) -> bytes:
    """Do what `dumps` does, for values without tuples only."""
    if not has_no_tuples(value):
        raise TypeError("may hold tuples, whose levels this orjson does not count")
    return orjson.dumps(value, default, option)


dumps: Callable[[object, None, int], bytes] = orjson.dumps if counts_levels(orjson.dumps) else careful_dumps
"""``dumps(value, None, AS_IT_IS)`` is the JSON of a value that is JSON as it is; any other raises."""
