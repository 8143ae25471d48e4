"""
The configuration of an experiment, as pydantic models: every key, its type and its default.

Keys that the published packages accepted and never used are accepted here as well, so that existing files load; they
are listed in `ACCEPTED_UNUSED` and have no effect. Every other unknown key is an error.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

ACCEPTED_UNUSED = frozenset(
    {
        *("source_root", "version", "collector_url", "collector_api_key", "save_traces", "save_aggregated_metrics"),
        *("variation_strategies", "variation_count", "variation_temperature", "variation_model"),
        *("custom_variation_prompt", "input_generation"),
        *("evaluation", "evaluation_goal", "evaluators", "aggregate", "limits", "success_criteria"),
        *("additional_analysis", "report", "advanced", "metrics", "efficiency"),
    }
)
"""Top-level keys that have no effect on a run: those of other commands, and those that never had one."""

RUNNER_UNUSED = frozenset({"requirements_file", "setup_commands", "use_docker", "docker_image", "guards"})
"""Keys of ``runner`` that have no effect."""


MOST = 1_000_000_000
"""The largest count of a configuration: the product of several still is a size that Python has."""


class Section(BaseModel):
    """A mapping in the file. Unknown keys are errors, except those in ``unused``."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)

    unused: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _without_unused(cls, given: Any) -> Any:
        if isinstance(given, dict) and not cls.unused.isdisjoint(given):
            return {key: value for key, value in given.items() if key not in cls.unused}
        return given


def _listed(given: Any) -> Any:
    """Return a single value as a list."""
    return given if given is None or isinstance(given, list) else [given]


Texts = Annotated[list[str], BeforeValidator(_listed)]


def _command(given: str | list[str]) -> str | list[str]:
    """Check that a command has a program."""
    try:
        words = shlex.split(given) if isinstance(given, str) else given
    except ValueError:  # a quotation that is not closed
        words = []
    if not words or not words[0] or any("\0" in word for word in words):
        raise ValueError("a command with a program, such as 'python agent.py'")
    return given


def _pattern(given: str | None) -> str | None:
    """Check a regular expression."""
    try:
        re.compile(given or "")
    except re.error as exc:
        raise ValueError(f"a regular expression ({exc})") from None
    return given


def _variables(given: dict[str, Any]) -> dict[str, Any]:
    """Check that environment variables can be set."""
    for name, value in given.items():
        if not name or "=" in name or "\0" in f"{name}{value}":
            raise ValueError(f"names and values of environment variables, which {name!r} cannot be")
    return given


class Persona(Section):
    """A user that the inputs come from."""

    name: str
    description: str = ""
    characteristics: Texts = []
    language: str = "en"
    expertise_level: str = "intermediate"
    goals: Texts = []
    constraints: Texts = []
    custom_attributes: dict[str, Any] = {}

    @property
    def prompt(self) -> str:
        """The persona in words, for an agent or a supervisor."""
        facts = {
            "Characteristics": "; ".join(self.characteristics),
            "Goals": "; ".join(self.goals),
            "Constraints": "; ".join(self.constraints),
            "Expertise": self.expertise_level,
            "Language": self.language,
        }
        lines = [f"{name}: {text}" for name, text in facts.items() if text]
        return "\n".join([f"{self.name}: {self.description}" if self.description else self.name, *lines])


class HttpRunner(Section):
    """An agent behind an HTTP endpoint."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body_template: Any = None
    """The JSON body; ``{input}``, ``{persona}``, ``{session_id}`` and ``{iteration}`` in its texts are replaced."""
    timeout: float | None = Field(default=None, gt=0)
    retry: Any = None
    stream: Literal["sse"] | None = None
    output_path: str | None = None
    stream_output_path: str | None = None
    stream_event_filter: Texts = []


class ProcessRunner(Section):
    """An agent in a process of its own, which reads and writes JSON lines."""

    command: Annotated[str | list[str], AfterValidator(_command)]
    cwd: str | None = None
    env: Annotated[dict[str, str], AfterValidator(_variables)] = {}
    protocol: Literal["jsonl"] = "jsonl"
    ready_pattern: Annotated[str | None, AfterValidator(_pattern)] = None
    timeout: float | None = Field(default=None, gt=0)


class Runner(Section):
    """What is run, and how."""

    unused: ClassVar[frozenset[str]] = RUNNER_UNUSED

    target: str | None = None
    module_path: str | None = None
    function_name: str = "run"
    factory: str | None = None
    factory_kwargs: dict[str, Any] = {}
    instance_per_run: bool = False
    args: dict[str, Any] = {}
    stream_output_path: str | None = None
    working_directory: str | None = None
    python_path: Texts = []
    environment_vars: Annotated[dict[str, Any], AfterValidator(_variables)] = {}
    iterations: int | None = Field(default=None, ge=1, le=MOST)
    timeout_seconds: float | None = Field(default=300.0, gt=0)
    max_retries: int = Field(default=0, ge=0, le=100)
    retry_delay: float = Field(default=1.0, ge=0)
    processes: bool = False
    install: bool = True
    """Whether to record model calls, runs and tools of the frameworks that are installed."""
    http: HttpRunner | None = None
    process: ProcessRunner | None = None


class ReplayArgs(Section):
    """Arguments of recorded calls, used instead of bound ones."""

    enabled: bool = False
    recording_file: str | None = None
    callable_providers: dict[str, str] = {
        "send_message_callback": "builtin:collector.send",
        "send_error_callback": "builtin:collector.error",
    }
    override_param_path: str | None = "data.content"
    mode: Literal["last", "cycle", "each"] = "last"
    """The recorded call of a run: the last one; the next one, again from the first; or one run per recorded call."""


class Supervisor(Section):
    """What decides on the next user message of a conversation."""

    provider: Literal["openai", "mock"] = "openai"
    model: str = "gpt-5-mini"
    temperature: float | None = None
    system_prompt: str | None = None
    api_key: str | None = None
    base_url: str | None = None
    metadata: dict[str, Any] = {}


class MultiTurn(Section):
    """Conversations of several turns."""

    enabled: bool = False
    max_turns: int = Field(default=8, ge=1, le=100)
    auto_approve_tools: bool = True
    persona_override: str | None = None
    supervisor: Supervisor = Supervisor()


class Output(Section):
    """Where results go."""

    directory: str | None = None


class ExperimentConfig(Section):
    """The whole configuration; only ``runner`` is required."""

    unused: ClassVar[frozenset[str]] = ACCEPTED_UNUSED

    name: str | None = None
    description: str = ""
    tags: Texts = []
    metadata: dict[str, Any] = {}

    personas: list[Persona] = []
    base_inputs: list[Any] | None = None
    inputs_file: str | None = None
    input_template: str | None = None

    iterations: int | None = Field(default=None, ge=1, le=MOST)
    parallel_runs: int = Field(default=1, ge=1, le=10_000, validation_alias=AliasChoices("parallel_runs", "parallel"))
    run_delay_seconds: float = Field(default=0, ge=0)
    seed: int | None = None
    limit: int | None = Field(default=None, ge=1, le=MOST)

    runner: Runner = Runner()
    replay_args: ReplayArgs = ReplayArgs()
    multi_turn: MultiTurn = MultiTurn()
    output_directory: str | None = None
    output: Output = Output()

    @property
    def repeats(self) -> int:
        """How often each input is run; ``runner.iterations`` counts where the top level has none."""
        return self.iterations or self.runner.iterations or 1

    def output_folder(self, base: Path) -> Path:
        """Return the folder in which the experiments are created."""
        return base / Path(self.output_directory or self.output.directory or "experiments").expanduser()
