"""
The errors of FluxLoop, raised by decorators, settings, readers and storages.

::

    FluxLoopError
    ├── ConfigError       (ValueError)  an unknown or invalid setting
    ├── DecorationError   (TypeError)   a decorator on an object that cannot be recorded
    ├── TypeNameError     (ValueError)  a name that is not an observation type
    ├── FilterError       (ValueError)  a condition on traces that cannot be understood
    ├── PriceError        (ValueError)  a price in [tool.fluxloop.prices] that cannot be understood
    ├── ReadError         (OSError)     a path that cannot be read as records
    ├── ReplayError       (ValueError)  a recording that cannot be replayed as asked
    │   └── ReplayMismatch (LookupError) a call without an answer in the recording, or an answer that no call asked for
    ├── ReplayedError     (RuntimeError) a recorded exception whose class is not there any more
    └── WriteError        (OSError)     records that a storage could not write

No error reaches a program while it is recorded: FluxLoop logs its own failures once per cause to
``logging.getLogger("fluxloop")`` and counts them in `fluxloop.report`. It reports a value that it cannot use as a
`FluxLoopWarning` at the caller's line.
"""

from __future__ import annotations


class FluxLoopError(Exception):
    """The base class of all errors that FluxLoop raises."""


class ConfigError(FluxLoopError, ValueError):
    """A setting is unknown or its value is invalid; the message names the setting, the value and its source."""


class DecorationError(FluxLoopError, TypeError):
    """A decorator was applied to an object that cannot be recorded."""


class TypeNameError(FluxLoopError, ValueError):
    """A name is not an observation type; the message lists the valid names."""


class FilterError(FluxLoopError, ValueError):
    """A condition on traces is unknown or its value is invalid; the message names it and what is accepted."""


class PriceError(FluxLoopError, ValueError):
    """The table of prices has a mistake; the message names the entry and what is accepted."""


class ReadError(FluxLoopError, OSError):
    """A path cannot be read as records."""


class ReplayError(FluxLoopError, ValueError):
    """A recording cannot be replayed as asked; the message has what to do."""


class ReplayMismatch(ReplayError, LookupError):
    """The recording has no answer for a call, or a recorded call was not made; the message has the nearest one."""


class ReplayedError(FluxLoopError, RuntimeError):
    """A recorded exception, raised again by a replay, whose class cannot be imported."""

    def __init__(self, text: str, error_type: str = "") -> None:
        super().__init__(f"{error_type}: {text}" if error_type and not text.startswith(error_type) else text)
        self.error_type = error_type


class WriteError(FluxLoopError, OSError):
    """A storage could not write all records that it received; the recorder counts the lost ones."""

    lost = 1
    """The number of lost records."""


class FluxLoopWarning(UserWarning):
    """FluxLoop cannot use a value that it was given, and continues without it."""
