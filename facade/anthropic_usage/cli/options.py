"""The options that reading commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import attrs
import click

from ..errors import InvalidQuery
from .formats import format_options
from .session import Connection
from .strict import Finite, OutputFile, WholeRange
from .when import FORMS

__all__ = [
    "Finite",
    "Printing",
    "comma_separated",
    "connection_options",
    "filter_options",
    "given",
    "output_options",
    "range_options",
    "source_options",
]

Command = Callable[..., Any]

MOST_SECONDS = 86_400
FORMATS = ("table", "json", "csv", "ndjson")


@attrs.frozen(kw_only=True)
class Printing:
    """How to print, and where."""

    format: str
    output: str | None
    """A path; None is stdout."""
    excel_safe: bool
    order: str | None
    """`asc` or `desc`; None is as a report comes: oldest or largest first."""
    mark: bool = False
    """Whether a CSV begins with a byte order mark."""


def comma_separated(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return `a,b` and `c` given one after the other as a, b, c, each once."""
    items = (item.strip() for value in values for item in value.split(","))
    return tuple(dict.fromkeys(item for item in items if item))


def given(context: click.Context, option: click.Parameter, values: Any) -> Any:
    """Refuse an option without a value in it, such as an unset variable: it would not filter."""
    for value in values:
        if not comma_separated((value,)):
            raise click.BadParameter(f"{value!r} names nothing; leave the option out instead")
    return values


def _version(context: click.Context, option: click.Parameter, value: str) -> str:
    from ..reports import check_version

    try:
        return check_version(value)
    except InvalidQuery as error:
        raise click.BadParameter(str(error)) from None


def range_options(command: Command) -> Command:
    """Add `--since` and `--until`."""
    since = click.option(
        "--since",
        default="7d",
        show_default=True,
        metavar="WHEN",
        help=f"Start of the range, in UTC: {FORMS}.",
    )
    until = click.option(
        "--until", metavar="WHEN", help="End of the range, exclusive; now, if left out."
    )
    return since(until(command))


def filter_options(command: Command) -> Command:
    """Add the usage report's filters under the parameters' own names."""

    from ..reports import USAGE

    for name, choices in reversed(list(USAGE.filters.items())):
        values = f" ({', '.join(choices)})" if choices else ""
        command = click.option(
            f"--{name.replace('_', '-')}",
            name,
            multiple=True,
            metavar="A,B",
            callback=given,
            help=f"Only these{values}; repeat or separate by commas.",
        )(command)
    return command


def output_options(command: Command) -> Command:
    """Add the output format and where it goes; the command gets a `printing`."""

    @functools.wraps(command)
    def wrapped(
        format_: str,
        mark: bool,
        output: str | None,
        excel_safe: bool,
        order: str | None,
        **options: Any,
    ) -> Any:
        printing = Printing(
            format=format_,
            output=None if output == "-" else output,
            excel_safe=excel_safe,
            order=order,
            mark=mark,
        )
        return command(printing=printing, **options)

    options = [
        click.option(
            "--order",
            type=click.Choice(("asc", "desc")),
            help="Oldest or newest first; where --by names no period, smallest or largest."
            "  [default: oldest; largest]",
        ),
        click.option(
            "--output",
            "-o",
            type=OutputFile(allow_dash=True),
            help="Write to this file, which appears when it is whole; - is stdout.",
        ),
        click.option(
            "--excel-safe/--no-excel-safe",
            default=True,
            help="In CSV, keep names and descriptions from being taken for formulas.",
        ),
    ]
    made = functools.reduce(lambda made, option: option(made), reversed(options), wrapped)
    return format_options(*FORMATS)(made)


def source_options(command: Command) -> Command:
    """Add where analyses read from: the API, or a lake of what the API said."""
    lake = click.option(
        "--from-lake",
        metavar="ROOT",
        help="Read a lake that anthropic-usage-track wrote: no network, no key.",
    )
    return lake(connection_options(command))


def connection_options(command: Command) -> Command:
    """Add how to reach the API; the command gets a `connection`."""

    @functools.wraps(command)
    def wrapped(**options: Any) -> Any:
        names = (
            "demo",
            "base_url",
            "anthropic_version",
            "timeout",
            "concurrency",
            "max_in_flight_mb",
            "progress",
        )
        connection = Connection(
            **{name: options.pop(name) for name in names},
            from_lake=options.pop("from_lake", None),
        )
        return command(connection=connection, **options)

    options = [
        click.option("--demo", is_flag=True, help="Ask the built-in simulator; needs no key."),
        click.option(
            "--base-url", metavar="URL", help="Where the API is; else ANTHROPIC_BASE_URL."
        ),
        click.option(
            "--anthropic-version",
            default="2023-06-01",
            show_default=True,
            metavar="DATE",
            callback=_version,
            help="The version of the API to ask for.",
        ),
        click.option(
            "--timeout",
            type=Finite(0, MOST_SECONDS, min_open=True),
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait for an answer.",
        ),
        click.option(
            "--concurrency",
            type=WholeRange(1, 64),
            default=4,
            show_default=True,
            help="How many requests may be under way at once.",
        ),
        click.option(
            "--max-in-flight-mb",
            type=Finite(0, min_open=True),
            default=64.0,
            show_default=True,
            help="How many megabytes of answers may wait to be read.",
        ),
        click.option(
            "--progress/--no-progress", default=True, help="A bar on a terminal's stderr."
        ),
    ]
    return functools.reduce(lambda made, option: option(made), reversed(options), wrapped)
