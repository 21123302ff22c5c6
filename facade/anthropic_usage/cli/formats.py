"""`--format` and its short forms, of which one may be given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

__all__ = ["format_options", "mark_option"]

Command = Callable[..., Any]

mark_option = click.option(
    "--bom",
    "mark",
    is_flag=True,
    help="Begin a CSV with a byte order mark: Excel then reads it as UTF-8.",
)


def format_options(*formats: str) -> Callable[[Command], Command]:
    """Add `--format` and a flag for each format but the first; the command gets a `format_`.

    Where CSV is one of them it also gets a `mark`.
    """

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(**options: Any) -> Any:
            given = options.pop("given_format")
            flags = [name for name in formats[1:] if options.pop(f"as_{name}_format")]
            asked = dict.fromkeys([*([given] if given else []), *flags])
            if len(asked) > 1:
                raise click.UsageError(f"give one format: not {' and '.join(asked)} at once")
            format_ = next(iter(asked), formats[0])
            if options.get("mark") and format_ != "csv":
                raise click.UsageError("--bom is for CSV: add --csv")
            return command(format_=format_, **options)

        options = [
            click.option(
                "--format",
                "given_format",
                type=click.Choice(formats),
                help="How to print; numbers are exact in all but the table."
                f"  [default: {formats[0]}]",
            ),
            *(
                click.option(
                    f"--{name}",
                    f"as_{name}_format",
                    is_flag=True,
                    help="One JSON object a line."
                    if name == "ndjson"
                    else f"The same as --format {name}.",
                )
                for name in formats[1:]
            ),
            *([mark_option] if "csv" in formats else []),
        ]
        return functools.reduce(lambda made, option: option(made), reversed(options), wrapped)

    return add
