"""
The calls that a replay runs for real: its option ``live``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ..enums import ObservationType
from .recording import Place

_TOOLS = frozenset({ObservationType.TOOL, ObservationType.RETRIEVAL})
_MODELS = frozenset({ObservationType.GENERATION, ObservationType.EMBEDDING})

GROUPS = {"tools": _TOOLS, "models": _MODELS, "all": _TOOLS | _MODELS}
"""The groups of calls that ``live`` accepts beside names."""


def check_live(live: str | Sequence[str]) -> tuple[str, ...]:
    """Return *live* as a tuple of names."""
    return (live,) if isinstance(live, str) else tuple(live)


def is_live(live: Collection[str], observation_type: ObservationType, name: str) -> bool:
    """Whether *live* has the name of a call, or its group."""
    return any(one == name or observation_type in GROUPS.get(one, ()) for one in live)


def unknown_live(live: Collection[str], recorded: Iterable[Place], made: Collection[str]) -> str | None:
    """Return a message about the names in *live* that no call has, neither a *recorded* one nor one *made*; or None."""
    names = list(dict.fromkeys(place.observation.name for place in recorded if place.is_answer()))
    if not (missing := [one for one in live if not (one in GROUPS or one in names or one in made)]):
        return None
    return (
        f"live: no call is named {', '.join(map(repr, missing))}, recorded or made. The recording has "
        f"{', '.join(names) or 'no call'}; groups are {', '.join(GROUPS)}"
    )
