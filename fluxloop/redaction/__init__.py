"""
Mask secrets in JSON-safe data before any storage sees them.

`Redactor.redact` never raises, keeps the shape of what it is given, leaves the input untouched, and
changes nothing the second time. `Redactor.suspects` says in microseconds whether it would change anything
at all. What counts as a secret: `keys` (by name), `providers` and `shapes` (by format), `assignments` and `contexts`
(by the name beside it in a text), the user's own `Rules`, and what the program marks with `Secret`.
"""

from __future__ import annotations

from .redactor import Redactor
from .rules import JSON, Rules
from .shapes import MASK

__all__ = ["JSON", "MASK", "Redactor", "Rules"]
