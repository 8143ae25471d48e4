"""
Mask secrets in JSON-safe data before any storage sees them.

`Redactor.redact` never raises, keeps the shape of what it is given, leaves the input untouched, and
changes nothing the second time. `Redactor.suspects` says in microseconds whether it would change anything
at all. What counts as a secret: `keys` (by name), `shapes` (by looks), `assignments` (by the name
beside it in a text), and the user's own `Rules`.
"""

from __future__ import annotations

from .redactor import Redactor
from .rules import JSON, Rules
from .shapes import MASK

__all__ = ["JSON", "MASK", "Redactor", "Rules"]
