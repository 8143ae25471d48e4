"""
Mask secrets in JSON-safe data, before any storage receives them.

`Redactor.redact` never raises, keeps the shape of a value, does not change its input, and is idempotent.
`Redactor.suspects` checks in microseconds whether a value can contain a secret. Secrets are recognised by their key
(`keys`), by their format (`providers`, `shapes`), by a name before them in a text (`assignments`, `contexts`), by the
user's `Rules`, and by the marker `Secret`.
"""

from __future__ import annotations

from .redactor import Redactor
from .rules import JSON, Rules
from .shapes import MASK

__all__ = ["JSON", "MASK", "Redactor", "Rules"]
