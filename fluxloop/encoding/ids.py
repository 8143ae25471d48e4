"""
Ids for what we record, and what has to change when the process forks.

An id is UUID-shaped text (version 8 of RFC 9562, whose bits are ours to fill): 62 random bits drawn
once per process, then a counter. That is five times cheaper than `uuid.uuid4`, cannot be made to
repeat by a program that seeds `random`, and stays unique across `os.fork`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count

fork_count = 0
"""How many forks lie between the importing process and this one; an observation of another epoch is not ours to end."""

_in_child: list[Callable[[], object]] = []


def new_id() -> str:
    """Return a new id, unique in this process and, but for an accident of 62 bits, everywhere."""
    return f"{_prefix}{next(_numbers)}"


def session_id() -> str:
    """Return the id of this process's own session, for traces of which nobody said what they belong to."""
    return _session


def after_fork(renew: Callable[[], object]) -> None:
    """Call *renew* in every child this process forks, before the child goes on."""
    _in_child.append(renew)


def _reseed() -> None:
    global _prefix, _numbers, _session
    seed = os.urandom(16).hex()
    _prefix = f"{seed[:8]}-{seed[8:12]}-8{seed[12:15]}-{'89ab'[int(seed[15], 16) % 4]}{seed[16:19]}-"
    _numbers = count(10**11 + int(seed[20:], 16) % 10**11)  # stays at twelve digits, which hexadecimal ones may be
    _session = new_id()


def _forked() -> None:
    global fork_count
    fork_count += 1
    _reseed()
    for renew in _in_child:
        renew()


_prefix: str
_numbers: count[int]
_session: str
_reseed()
if hasattr(os, "register_at_fork"):  # not on Windows, where there is no fork either
    os.register_at_fork(after_in_child=_forked)
