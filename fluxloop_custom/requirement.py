"""What an adapter says where its framework is missing."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec


def find_spec_of(module: str) -> ModuleSpec | None:
    """Return where *module* would be imported from, without importing it; None if it is not installed."""
    try:
        return find_spec(module)
    except ModuleNotFoundError:  # the package around it
        return None


def require(module: str, *, extra: str, by: str) -> None:
    """
    Return where *module* can be imported, without importing it.

    Args:
        module: The framework's module.
        extra: The extra of ours that installs it.
        by: The module of ours that needs it.

    Raises:
        ImportError: If it is not installed; the message says how to.
    """
    if find_spec_of(module) is None:
        raise ImportError(f"{by} needs '{module}', which is not installed.\n    pip install 'fluxloop[{extra}]'")
