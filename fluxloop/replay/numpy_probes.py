"""
Numpy's random numbers as a source that differs from run to run; numpy is not imported here, the program does that.

Generators without a seed take theirs from the random numbers of the operating system, which are a source of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..answering.late_imports import LateImports

MODULE = "numpy.random"

_STATE = frozenset({"seed", "get_state", "set_state"})


def watch(replace: Callable[..., None], seed: int, *, is_repeatable: bool) -> None:
    """
    Replace the functions of ``numpy.random`` once the program imports it.

    Args:
        replace: Replaces a function, as `fluxloop.replay.probes.Probes` does.
        seed: The seed of repeatable numbers.
        is_repeatable: Whether numbers are the same in each run.
    """

    def on_loaded(name: str) -> None:
        module: Any = sys.modules[MODULE]
        if is_repeatable:
            module.seed(seed)
        other = module.RandomState(seed + 1)
        shared = module.mtrand._rand
        for function in module.__all__:
            if getattr(getattr(module, function), "__self__", None) is shared and function not in _STATE:
                replace(module, function, "random numbers", _drawn(getattr(other, function)))

    if MODULE in sys.modules:
        on_loaded(MODULE)
    else:
        LateImports({MODULE}, on_loaded).open()


def _drawn(draw_other: Callable[..., Any]) -> Callable[..., Any]:
    def draw(original: Any, is_changed: bool, *args: Any, **kwargs: Any) -> Any:
        value = original(*args, **kwargs)  # also if it is not used: later numbers stay the same
        return draw_other(*args, **kwargs) if is_changed else value

    return draw
