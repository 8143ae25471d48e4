"""
Commands that are groups of others, such as ``fluxloop config``: made in one way, with examples in their help.
"""

from __future__ import annotations

import typer


def command_group(summary: str, examples: str) -> typer.Typer:
    """
    Return a group of commands. Also one with a single command, as ``fluxloop run experiment``, keeps its name.

    Args:
        summary: What the group does.
        examples: Shown below the commands; usually what they show themselves.
    """
    group = typer.Typer(
        help=summary,
        epilog=examples,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    group.callback()(lambda: None)  # without a callback, a group of one command is that command
    return group
