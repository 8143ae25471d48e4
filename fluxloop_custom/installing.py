"""
Switch on every adapter whose framework is installed.

    import fluxloop

    fluxloop.install()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fluxloop import FluxLoopClient
from fluxloop.bridge import default, log
from fluxloop.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Adapter:
    """How an adapter is switched on and off. Its module is imported by name, as adapters do not import each other."""

    framework: str
    """The framework's module."""
    part: str
    """A file or folder in it, by which it differs from a package of the program with the same name."""
    module: str
    on: str
    off: str
    is_on: str
    of: tuple[Any, ...] = ()
    """The arguments of *is_on*."""

    def is_available(self) -> bool:
        """Whether its framework is installed."""
        try:
            found = find_spec(self.framework)
        except ModuleNotFoundError:  # of a parent package
            return False
        folders = found.submodule_search_locations if found is not None else None
        return any(Path(folder, self.part).exists() for folder in folders or ())

    def call(self, function: str, *args: Any, **options: Any) -> Any:
        """Call *function* of the adapter."""
        found: Callable[..., Any] = getattr(import_module(self.module), function)
        return found(*args, **options)


def _client_adapter(framework: str, part: str) -> Adapter:
    name = framework.replace(".", "_")
    clients = "fluxloop_custom.clients"
    return Adapter(
        framework, part, clients, f"instrument_{name}", f"uninstrument_{name}", "is_instrumented", (framework,)
    )


ADAPTERS = {
    "langchain": Adapter(
        "langchain_core", "callbacks", "fluxloop_langchain.hook", "install", "uninstall", "is_installed"
    ),
    "openai-agents": Adapter(
        "agents", "tracing", "fluxloop_custom.openai_agents.installation", "install", "uninstall", "is_installed"
    ),
    "openai": _client_adapter("openai", "_client.py"),
    "anthropic": _client_adapter("anthropic", "_client.py"),
    "google-genai": _client_adapter("google.genai", "_api_client.py"),
}
"""By the extra that installs the framework."""

_switched_on: list[str] = []


def install(*names: str, client: FluxLoopClient = default) -> tuple[str, ...]:
    """
    Record every model call, run and tool of the frameworks that are installed, without changes to the program.

    Each framework is imported. An adapter that the program switched on itself stays as it is.

    Args:
        names: The adapters: ``langchain`` (LangGraph included), ``openai-agents``, ``openai``, ``anthropic``,
            ``google-genai``. By default all whose framework is installed.
        client: The client whose traces are recorded into; the package's own by default.

    Returns:
        The names of the adapters that are switched on now.

    Raises:
        ConfigError: If a name is none of these.
        ImportError: If the framework of a name is not installed.
    """
    unknown = [name for name in names if name not in ADAPTERS]
    if unknown:
        raise ConfigError(f"install() got {unknown[0]!r:.100}. Expected: {', '.join(ADAPTERS)}")
    return tuple(name for name in names or ADAPTERS if _switch_on(name, client, is_wanted=bool(names)))


def _switch_on(name: str, client: FluxLoopClient, *, is_wanted: bool) -> bool:
    adapter = ADAPTERS[name]
    if not is_wanted and not adapter.is_available():
        return False
    try:
        if not adapter.call(adapter.is_on, *adapter.of):
            adapter.call(adapter.on, client=client)
            _switched_on.append(name)
    except ImportError as exc:  # a framework whose own requirements are missing does not keep the others from working
        if is_wanted:
            raise
        log.warning("install() skipped %s, which cannot be imported: %s", name, exc)
        return False
    return True


def installed() -> tuple[str, ...]:
    """Return the names of the adapters that `install` has switched on."""
    return tuple(_switched_on)


def uninstall(*names: str) -> None:
    """
    Switch off the adapters that `install` has switched on; what is open is recorded to its end.

    Args:
        names: The adapters; by default all.
    """
    for name in [name for name in reversed(_switched_on) if name in (names or _switched_on)]:
        _switched_on.remove(name)
        adapter = ADAPTERS[name]
        adapter.call(adapter.off)
