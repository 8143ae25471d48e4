"""
Every error FluxLoop raises, all of them at the edge: decoration, configuration, reading.

::

    FluxLoopError
    ├── ConfigError       (ValueError)  a setting that is unknown or not acceptable
    ├── DecorationError   (TypeError)   a decorator on something that cannot be recorded
    ├── TypeNameError     (ValueError)  a word that is no observation type
    ├── ReadError         (OSError)     a path that holds no records
    └── WriteError        (OSError)     records that a storage could not keep

While a program is being recorded nothing is raised: failures of our own are logged once per cause
to ``logging.getLogger("fluxloop")`` and counted in `fluxloop.report`. A value that cannot be recorded as given is
reported as a `FluxLoopWarning` at the user's line.
"""

from __future__ import annotations


class FluxLoopError(Exception):
    """The root of all errors raised by FluxLoop."""


class ConfigError(FluxLoopError, ValueError):
    """A setting is unknown, or its value is not acceptable; the message names key, value and source."""


class DecorationError(FluxLoopError, TypeError):
    """A decorator was put on something that is no function."""


class TypeNameError(FluxLoopError, ValueError):
    """A word was given that is no observation type; the message lists those that are."""


class ReadError(FluxLoopError, OSError):
    """A path was given that cannot be read as records."""


class WriteError(FluxLoopError, OSError):
    """A storage could not keep all records it was given; the recorder counts those that are missing."""

    lost = 1
    """How many records were lost."""


class FluxLoopWarning(UserWarning):
    """Something was given that FluxLoop cannot use; the program goes on without it."""
