"""
``fluxloop context``: what each model call of a trace was given, and what changed since the call before.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..enums import ObservationType
from ..errors import FluxLoopError
from ..llm.context_diff import ContextDiff, context_diff, messages_of, settings_of, text_of, tools_of
from ..models import ObservationData, Trace
from ..reading.json_text import encode
from .filter_options import NoColor
from .formatting import console, counted, print_json
from .replay import trace_at

EPILOG = """
[bold]Examples[/]

  fluxloop context 00a1b2c3                   each model call, and what changed since the one before
  fluxloop context 00a1b2c3 --call 3          all that the third call was given
  fluxloop context 00a1b2c3 --call 5 --diff 2 what changed from the second call to the fifth
  fluxloop context case.jsonl --json          for other programs: one JSON object per call

[bold]Exit codes[/]: 0 printed, 1 the trace has no such call, 2 not readable.
"""

SHOWN_CHARS = 100
"""Characters of a message in one line."""


def context(
    trace: Annotated[
        str,
        typer.Argument(
            metavar="TRACE",
            help="A trace's id as fluxloop list prints it, its beginning, or a .jsonl file of one trace.",
        ),
    ],
    call: Annotated[int | None, typer.Option(metavar="N", min=1, help="Show this model call, counted from 1.")] = None,
    diff: Annotated[
        int | None, typer.Option(metavar="M", min=1, help="Compare with this call.", show_default="the one before")
    ] = None,
    path: Annotated[
        Path | None, typer.Option(help="Folder of records.", show_default="the configured base_path")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one call per line.")] = False,
    no_color: NoColor = False,
) -> None:
    """
    Show the messages, tools and settings of each model call, and what was added, dropped, cut or rewritten.
    """
    try:
        found = trace_at(trace, path)
    except FluxLoopError as error:
        sys.stderr.write(f"fluxloop context: {error}\n")
        raise typer.Exit(2) from None
    calls = [one for _, one in found.walk() if one.type is ObservationType.GENERATION]
    if problem := _missing(calls, max(call or 1, diff or 1), found):
        sys.stderr.write(f"fluxloop context: {problem}\n")
        raise typer.Exit(1)
    output = console(color=not no_color)
    for number, one in enumerate(calls, 1):
        if call is not None and number != call:
            continue
        earlier = diff if diff is not None else number - 1
        changes = context_diff(calls[earlier - 1], one) if earlier else None
        if as_json:
            print_json(encode(_facts(number, one, earlier, changes)))
            continue
        for text in _lines(number, one, earlier, changes, is_whole=call is not None and diff is None):
            output.print(text, markup=False, highlight=False, soft_wrap=True)


def _missing(calls: list[ObservationData], asked: int, trace: Trace) -> str | None:
    """Return what to do if the call *asked* for is not there; else None."""
    if not calls:
        steps = counted(len(trace.observations), "observation")
        return (
            f"trace {trace.trace_id} has no model call (no GENERATION among {steps}). "
            f"Next step: fluxloop view {trace.trace_id} shows what it has"
        )
    if asked > len(calls):
        return f"expected call {asked}, but the trace has {counted(len(calls), 'model call')}"
    return None


def _facts(number: int, one: ObservationData, earlier: int, changes: ContextDiff | None) -> dict[str, Any]:
    facts = {"call": number, "id": one.id, "name": one.name, "settings": settings_of(one), "tools": tools_of(one)}
    facts |= {"messages": messages_of(one), "usage": one.usage.model_dump(exclude_none=True) if one.usage else None}
    return facts | {"compared_with": earlier or None, "changes": dataclasses.asdict(changes) if changes else None}


def _lines(
    number: int, one: ObservationData, earlier: int, changes: ContextDiff | None, *, is_whole: bool
) -> list[str]:
    messages, tools = messages_of(one), tools_of(one)
    tokens = one.usage.input_tokens if one.usage else None
    counts = [counted(len(messages), "message"), counted(len(tools), "tool")]
    if tokens is not None:
        counts.append(counted(tokens, "token"))
    lines = [f"call {number}  {one.name}  {one.model or ''}  {', '.join(counts)}".rstrip()]
    if is_whole or changes is None:
        lines += [f"    {_short(message)}" for message in messages]
        if tools:
            lines.append(f"    tools: {', '.join(tools)}")
        if settings := {name: value for name, value in settings_of(one).items() if name != "model"}:
            lines.append(f"    settings: {', '.join(f'{name}={value}' for name, value in settings.items())}")
    if changes is not None:
        lines.append(f"  since call {earlier}:")
        lines += [f"    {text}" for text in _changes(changes)] or ["    nothing changed"]
    return lines


def _changes(changes: ContextDiff) -> list[str]:
    lines = [f"+ {_short(message)}" for message in changes.added]
    lines += [f"- {_short(message)}" for message in changes.dropped]
    for before, after in changes.cut:
        lines.append(f"cut, {len(text_of(before)):,} -> {len(text_of(after)):,} characters: {_short(after)}")
    for before, after in changes.rewritten:
        lines += [f"rewritten - {_short(before)}", f"rewritten + {_short(after)}"]
    lines += [f"reordered {_short(message)}" for message in changes.reordered]
    lines += [f"+ tool {name}" for name in changes.tools_added] + [f"- tool {name}" for name in changes.tools_dropped]
    lines += [f"{name}: {before} -> {after}" for name, (before, after) in changes.settings.items()]
    before_tokens, after_tokens = changes.tokens
    if before_tokens is not None and after_tokens is not None and before_tokens != after_tokens:
        lines.append(f"tokens: {before_tokens:,} -> {after_tokens:,}")
    return lines


def _short(message: Any) -> str:
    role = message.get("role") or message.get("type") if isinstance(message, dict) else None
    text = " ".join(text_of(message).split())
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if calls:
        text = f"{text} calls {', '.join(str(call.get('name')) for call in calls if isinstance(call, dict))}".strip()
    text = text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
    return f"{role or 'message'}: {text}"
