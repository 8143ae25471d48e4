"""
The texts of a row in a tree: type and name, status, and what the record says besides its values.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..enums import ObservationLevel, ObservationType, Status
from ..models import ObservationData
from ..reading.json_text import escaped
from ..reading.values import brief
from . import formatting
from .folding import MAX_FAILED, Shared
from .formatting import Pieces
from .value_lines import TYPE_WIDTH, Look

PLAIN_STYLE = "dim green"
"""The style of a success, which needs no attention."""


def type_and_name(observation: ObservationData, look: Look) -> tuple[Pieces, Pieces]:
    """Return the type, and the name with the model."""
    kind = (f"{observation.type.name:{TYPE_WIDTH}}", formatting.TYPE_STYLES[observation.type])
    name = (look.printable(escaped(observation.name)) or "(no name)", "bold")
    if not observation.model:
        return (kind,), (name,)
    return (kind,), (name, (f" {look.signs.dot} {look.printable(escaped(observation.model))}", "dim"))


def status_text(observation: ObservationData, signs: formatting.Signs) -> tuple[str, str]:
    """Return status and style; a success with a warning or a tripped guardrail shows that instead."""
    if observation.status is not Status.SUCCESS:
        return formatting.status_word(observation.status, signs), formatting.STATUS_STYLES[observation.status]
    output = observation.output
    if observation.type is ObservationType.EVALUATION and isinstance(output, dict) and output.get("triggered") is True:
        return f"{signs.warning} tripped", "bold yellow"
    if observation.level is ObservationLevel.WARNING:
        return f"{signs.warning} warning", "bold yellow"
    if observation.level is ObservationLevel.ERROR:
        return f"{signs.warning} level error", "bold red"
    return formatting.status_word(observation.status, signs), PLAIN_STYLE


def hidden_text(count: int, failures: int) -> str:
    """Return how many observations are below a row that does not show them, and how many of them failed."""
    return f"{formatting.counted(count, 'observation')} below{f', {failures:,} failed' if failures else ''}"


def in_common(facts: Shared) -> Iterator[str]:
    """Facts about the observations of a shared row: their durations, and what is below them."""
    if facts.shortest_ms is not None and facts.longest_ms is not None:
        shortest, longest = formatting.duration(facts.shortest_ms), formatting.duration(facts.longest_ms)
        yield f"{shortest} each" if shortest == longest else f"{shortest} to {longest} each"
    if facts.below:
        failed = f", {facts.failed_below:,} failed" if facts.failed_below else ""
        yield f"{formatting.counted(facts.below, 'observation')} below them{failed}"
    if facts.failed > MAX_FAILED:
        yield f"the first {MAX_FAILED} that failed follow"


def record_notes(observation: ObservationData) -> Iterator[str]:
    """Facts about the record that its values do not show."""
    stream = observation.metadata.get("stream")
    first = formatting.duration(observation.time_to_first_token_ms)
    if isinstance(stream, dict) and isinstance(count := stream.get("count"), int):
        if not first and isinstance(offset := stream.get("first_item_ms"), int | float):
            first = formatting.duration(offset)
        yield f"stream of {formatting.counted(count, 'chunk')}" + (f", first after {first}" if first else "")
    elif first:
        yield f"first token after {first}"
    if observation.status_message:
        yield escaped(" ".join(observation.status_message.split()))
    if observation.level not in (ObservationLevel.INFO, ObservationLevel.ERROR) and not _is_in_status(observation):
        yield f"level {observation.level.value}"
    if observation.redacted:
        yield f"{observation.redacted:,} redacted"
    if observation.truncated:
        yield f"{observation.truncated:,} cut to the size limit"
    if as_recorded := observation.metadata.get("as_recorded"):
        yield f"recorded as {brief(as_recorded)}"


def _is_in_status(observation: ObservationData) -> bool:
    return observation.status is Status.SUCCESS and observation.level is ObservationLevel.WARNING
