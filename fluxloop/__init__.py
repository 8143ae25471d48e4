"""
FluxLoop records what AI agents do into plain files, without a server.

    import fluxloop

    @fluxloop.agent
    def my_agent(prompt: str) -> str: ...

Importing the package creates no files or threads, uses no network and changes no environment variables. Modules that
need pydantic are loaded on first use.
"""

from __future__ import annotations

import sys

# `python -m fluxloop`: the working directory is first, and its `queue.py` would be imported in place of Python's.
if (
    sys.argv[:1] == ["-m"]
    and sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "fluxloop"
    and not sys.flags.safe_path
    and not __file__.startswith(f"{sys.path[0]}/")
):
    del sys.path[0]

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors
from .client import FluxLoopClient, default
from .context import FluxLoopContext, get_current_context, get_current_trace
from .enums import ObservationLevel, ObservationType, Status
from .errors import FluxLoopError, ReplayMismatch
from .report import Report
from .tracing.propagation import copy_context
from .tracing.threads import install_threads, uninstall_threads

if TYPE_CHECKING:
    import os

    from fluxloop_custom import (
        instrument_anthropic,
        instrument_google_genai,
        instrument_openai,
        uninstrument_anthropic,
        uninstrument_google_genai,
        uninstrument_openai,
    )
    from fluxloop_custom.installing import install, installed, uninstall

    from . import experiments, models, storage, testing
    from .experiments.evaluation.traces import evaluate_trace as evaluate
    from .models import ObservationData, Score, Trace, TraceData, Usage
    from .reading import read_traces
    from .recording.functions import disable_recording, enable_recording, record_call_args, set_recording_options
    from .redaction.secret import Secret
    from .replay import replay
    from .replay.cassettes import cassette
    from .settings.schema import Settings
    from .tracing.propagation import ContextThreadPoolExecutor

__all__ = [
    "ContextThreadPoolExecutor",
    "FluxLoopClient",
    "FluxLoopContext",
    "FluxLoopError",
    "ObservationData",
    "ObservationLevel",
    "ObservationType",
    "ReplayMismatch",
    "Report",
    "Score",
    "Secret",
    "Settings",
    "Status",
    "Trace",
    "TraceData",
    "Usage",
    "agent",
    "cassette",
    "configure",
    "copy_context",
    "disable_recording",
    "enable_recording",
    "errors",
    "evaluate",
    "event",
    "experiments",
    "flush",
    "get_config",
    "get_current_context",
    "get_current_trace",
    "install",
    "install_threads",
    "installed",
    "instrument",
    "instrument_anthropic",
    "instrument_google_genai",
    "instrument_openai",
    "load_env",
    "models",
    "observe",
    "prompt",
    "read_traces",
    "record_call_args",
    "replay",
    "report",
    "reset_config",
    "score",
    "set_recording_options",
    "shutdown",
    "storage",
    "testing",
    "tool",
    "trace",
    "uninstall",
    "uninstall_threads",
    "uninstrument_anthropic",
    "uninstrument_google_genai",
    "uninstrument_openai",
]

agent = default.agent
trace = default.trace
tool = default.tool
prompt = default.prompt
instrument = default.instrument
observe = default.observe
event = default.event

configure = default.configure
get_config = default.get_config
reset_config = default.reset_config
report = default.report
score = default.score
flush = default.flush
shutdown = default.shutdown


def load_env(path: str | os.PathLike[str] | None = None, *, override: bool = False) -> bool:
    """
    Load a ``.env`` file into the environment, and apply the settings in it immediately.

    Args:
        path: The file, or its folder; None searches the working directory and its parents.
        override: Whether to replace variables that are already set. Empty values replace nothing.

    Returns:
        Whether a file was found.

    Raises:
        ConfigError: If the file cannot be read.
    """
    from .settings.dotenv import load_env

    found = load_env(path, override=override)
    if found:
        default.refresh()
    return found


_LAZY = {
    "disable_recording": "recording.functions",
    "enable_recording": "recording.functions",
    "record_call_args": "recording.functions",
    "set_recording_options": "recording.functions",
    "ContextThreadPoolExecutor": "tracing.propagation",
    "ObservationData": "models",
    "Score": "models",
    "Secret": "redaction.secret",
    "Settings": "settings.schema",
    "Trace": "models",
    "TraceData": "models",
    "Usage": "models",
    "instrument_anthropic": "fluxloop_custom",
    "instrument_google_genai": "fluxloop_custom",
    "instrument_openai": "fluxloop_custom",
    "uninstrument_anthropic": "fluxloop_custom",
    "uninstrument_google_genai": "fluxloop_custom",
    "uninstrument_openai": "fluxloop_custom",
    "install": "fluxloop_custom.installing",
    "installed": "fluxloop_custom.installing",
    "uninstall": "fluxloop_custom.installing",
    "read_traces": "reading",
    "evaluate": "experiments.evaluation.traces:evaluate_trace",
    "experiments": "",
    "cassette": "replay.cassettes",
    "replay": "replay",
    "models": "",
    "reading": "",
    "storage": "",
    "testing": "",
}
"""Public names that are loaded on first use, each with its module, and its name there if it differs; an empty
module means that the name is one."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("fluxloop")
        except PackageNotFoundError:  # a source checkout
            return "0+unknown"
    if name not in _LAZY:
        raise AttributeError(f"module 'fluxloop' has no attribute {name!r}")
    path, _, own_name = (_LAZY[name] or name).partition(":")
    module = import_module(path if path.startswith("fluxloop_") else f".{path}", __name__)
    value = getattr(module, own_name or name) if _LAZY[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
