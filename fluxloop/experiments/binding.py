"""
Bind what a run offers (its input, persona, conversation) to the parameters of the target, by their names.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ..errors import ConfigError
from .configuration.models import Persona

INPUT_NAMES = ("input", "input_text", "message", "query", "text", "content", "user_message")
"""Parameters that receive the input, in this order; if a target has none of them, its first parameter does."""


@dataclass(slots=True)
class Offer:
    """What a run can pass to its target."""

    value: Any
    run: int = 0
    iteration: int = 0
    persona: Persona | None = None
    seed: int | None = None
    session_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    expected: Any = None
    is_conversation: bool = False
    auto_approve: bool = True
    messages: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)


_PROVIDERS: dict[tuple[str, ...], Callable[[Offer], Any]] = {
    ("conversation_state", "state", "dialog_state"): lambda offer: offer.state,
    ("conversation_metadata", "state_metadata", "conversation_meta"): lambda offer: offer.state.get("metadata", {}),
    ("messages", "history", "turns"): lambda offer: [dict(message) for message in offer.messages],
    ("persona", "user_persona", "persona_config"): lambda offer: offer.persona,
    ("persona_prompt", "persona_description", "persona_text"): lambda offer: offer.persona and offer.persona.prompt,
    ("auto_approve", "auto_approve_tools", "approve_tools", "autoapprove"): lambda offer: offer.auto_approve,
    ("iteration", "run_iteration", "loop_index"): lambda offer: offer.iteration,
    ("run_number",): lambda offer: offer.run,
    ("seed", "random_seed"): lambda offer: offer.seed,
    ("session_id", "thread_id", "conversation_id"): lambda offer: offer.session_id,
    ("input_metadata",): lambda offer: dict(offer.metadata),
}
"""What a parameter of each name receives, besides the input."""

PROVIDERS = {name: provide for names, provide in _PROVIDERS.items() for name in names}

OFFERED = ", ".join([*INPUT_NAMES[:3], *PROVIDERS])

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Binding:
    """
    The way in which the arguments of one target are made. It is worked out once.

    Args:
        function: The target.
        name: Its name, for messages.
        fixed: Arguments that are the same for every run.

    Raises:
        ConfigError: If the target has no parameter for the input, or needs an argument that nothing provides.
    """

    def __init__(self, function: Callable[..., Any], name: str, fixed: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.fixed = dict(fixed or {})
        parameters = _parameters(function)
        if parameters is None:
            self._positional, self._input, self._model, self._provided = True, "", None, {}
            self._names, self._required, self._defaults = set[str](), set[str](), set[str]()
            return
        usable = [each for each in parameters if each.kind not in _VARIADIC]
        self._names = {each.name for each in usable}
        self._defaults = {each.name for each in usable if each.default is not each.empty}
        takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
        if not takes_any and (unknown := self.fixed.keys() - self._names):
            raise ConfigError(f"runner.args: {name} has no parameter {min(unknown)!r}")
        chosen = self._input_parameter(usable, parameters)
        self._input = chosen.name
        self._positional = chosen.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
        self._model = _model_of(function, chosen)
        self._provided = {
            each.name: PROVIDERS[each.name]
            for each in usable
            if each.name in PROVIDERS and each.name != self._input and each.name not in self.fixed
        }
        self._required = {
            each.name
            for each in usable
            if each.default is each.empty and each.name not in (self._input, *self._provided, *self.fixed)
        }

    def _input_parameter(
        self, usable: list[inspect.Parameter], all_of_them: list[inspect.Parameter]
    ) -> inspect.Parameter:
        free = [each for each in usable if each.name not in self.fixed]
        for name in INPUT_NAMES:
            for each in free:
                if each.name == name:
                    return each
        first = next((each for each in free if each.name not in PROVIDERS), None)
        first = first or next((each for each in free if each.name in ("messages", "state")), None)
        first = first or next((each for each in all_of_them if each.kind in _VARIADIC), None)
        if first is None:
            raise ConfigError(f"{self.name} has no parameter for the input. Add one, for example 'input'")
        if first.kind is inspect.Parameter.VAR_KEYWORD:
            return first.replace(name="input")
        return first

    def check(self, sample: Any) -> None:
        """
        Raise ConfigError if the target needs an argument that an input such as *sample* does not contain.
        """
        missing = self._required - (sample.keys() if isinstance(sample, Mapping) else set())
        if missing:
            names = ", ".join(sorted(missing))
            raise ConfigError(
                f"{self.name} needs {names}, which nothing provides. Give it a default, a value in runner.args, "
                "inputs that are mappings with these keys, or record a call and use replay_args. Provided by name: "
                f"{OFFERED}"
            )

    def arguments(self, offer: Offer) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and the keyword arguments of one call."""
        provided = {name: provide(offer) for name, provide in self._provided.items()}
        given = {name: each for name, each in provided.items() if each is not None or name not in self._defaults}
        kwargs = {**self.fixed, **given}
        value = offer.value
        if self._spreads(value):
            return (), {**kwargs, **value}
        if self._model is not None and isinstance(value, Mapping):
            value = self._model.model_validate(dict(value))
        if self._positional:
            return (value,), kwargs
        kwargs[self._input] = value
        return (), kwargs

    def _spreads(self, value: Any) -> bool:
        """Whether the keys of *value* are the parameters of the target."""
        return (
            isinstance(value, Mapping)
            and bool(value)
            and value.keys() <= self._names
            and self._required <= value.keys()
            and (self._input in value)
            and not self._positional
        )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Return the parameters of *function*; None if it has no signature, as some built-in functions and proxies."""
    try:
        return list(inspect.signature(function).parameters.values())
    except Exception:  # a proxy may raise anything for an attribute that it does not have
        return None


def _model_of(function: Callable[..., Any], parameter: inspect.Parameter) -> type[BaseModel] | None:
    """Return the pydantic model that *parameter* is annotated with, if any."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        try:
            annotation = typing.get_type_hints(inspect.unwrap(function)).get(parameter.name)
        except Exception:  # an annotation that only exists for type checkers
            return None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
