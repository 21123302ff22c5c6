"""Printing what analyses answer: an aligned table for people, exact JSON and CSV for programs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import IO, Any

import attrs
import click
from rich.console import Console

from ..analysis.prices import PriceTable
from ..directory import Directory
from ..documents import read_text
from ..errors import InvalidQuery
from ..moments import utc_now
from ..sinks.delimited import csv_writer, disarm
from ..sinks.plain import dumps, plain_value
from .columns import Column, print_columns
from .formats import format_options
from .session import note, note_of_names
from .spool import spool
from .streams import is_terminal
from .strict import OutputFile
from .when import FORMS, month_span, resolve

__all__ = [
    "Column",
    "Output",
    "answer",
    "answer_options",
    "console_for",
    "ids_option",
    "names_of",
    "period_options",
    "price_table",
    "pricing_option",
    "print_columns",
    "read_text",
]


@attrs.frozen(kw_only=True)
class Output:
    """How to print an answer, and where."""

    format: str
    path: str | None
    mark: bool = False
    """Whether a CSV begins with a byte order mark."""


def answer_options(*formats: str) -> Callable[[Any], Any]:
    """Add `--format`, a flag for each format, and `--output`; the command gets an `output`."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(path: str | None, **options: Any) -> Any:
            format_ = options.pop("format_")
            mark = options.pop("mark", False)
            output = Output(format=format_, path=None if path == "-" else path, mark=mark)
            return command(output=output, **options)

        path = click.option(
            "--output",
            "-o",
            "path",
            type=OutputFile(allow_dash=True),
            help="Write to this file, which appears when it is whole; - is stdout.",
        )
        return format_options(*formats)(path(wrapped))

    return add


def period_options(default: str) -> Callable[[Any], Any]:
    """Add `--since`, `--until` and `--month`; the command gets `starting_at` and `ending_at`."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(since: str | None, until: str | None, month: str | None, **options: Any) -> Any:
            if month is not None:
                if since is not None or until is not None:
                    raise InvalidQuery("give --month, or --since and --until")
                start, end = month_span(month)
                if start > utc_now():
                    raise InvalidQuery(
                        f"--month {month} has not begun: it is {utc_now():%Y-%m-%d} in UTC"
                    )
            else:
                start, end = resolve(since or default, until, utc_now())
            return command(starting_at=start, ending_at=end, **options)

        options = [
            click.option(
                "--since",
                metavar="WHEN",
                help=f"Start of the range, in UTC: {FORMS}.  [default: {default}]",
            ),
            click.option("--until", metavar="WHEN", help="End, exclusive; now, if left out."),
            click.option("--month", metavar="YYYY-MM", help="A calendar month instead."),
        ]
        return functools.reduce(lambda made, option: option(made), reversed(options), wrapped)

    return add


ids_option = click.option("--ids", is_flag=True, help="Show ids instead of names.")

pricing_option = click.option(
    "--pricing-json",
    metavar="FILE|JSON",
    help="Prices that go first: {model: {input_per_million: 3, output_per_million: 15}}, in USD.",
)


def price_table(pricing_json: str | None) -> PriceTable:
    """Return the bundled prices, with those of `--pricing-json` first."""
    table = PriceTable.bundled()
    if pricing_json is None:
        return table
    return table.with_overrides(read_prices(pricing_json))


def read_prices(pricing_json: str) -> str:
    """Return the text of `--pricing-json`, checked; says which of its names no model has."""
    text = pricing_json
    if not text.lstrip().startswith("{"):
        text = read_text(pricing_json, "--pricing-json")
    table = PriceTable.bundled().with_overrides(text)
    for name in table.strangers:
        near = table.near(name)
        hint = f" (near are {', '.join(near)})" if near else ""
        note(
            f"--pricing-json: {name!r} is no model of the price table{hint}; its price is used "
            "only if the API names a model exactly so"
        )
    return text


def names_of(source: Any, ids: bool, *kinds: str) -> Directory:
    """Look up names unless only ids are wanted; says what could not be looked up."""
    if ids:
        return Directory()
    directory = Directory.read(source, kinds=kinds)
    for sentence in directory.missing:
        note_of_names(sentence)
    return directory


def answer(
    output: Output,
    document: Any,
    table: Callable[[IO[str]], None],
    rows: Iterable[dict[str, Any]] = (),
    columns: Iterable[str] = (),
) -> None:
    """Print a document in the form that was asked for.

    `table` writes it for people, `rows` are the lines of the CSV, and `columns` its header where
    there may be no rows.
    """
    with spool(output.path, output.format, output.mark) as out:
        if output.format == "json":
            out.write(f"{dumps(plain_value(document), indent=2)}\n")
        elif output.format == "csv":
            writer = csv_writer(out)
            lines = [(row, plain_value(row)) for row in rows]
            writer.writerow(map(disarm, lines[0][1] if lines else columns))
            for row, line in lines:
                writer.writerow(_cell(row[name], value) for name, value in line.items())
        else:
            table(out)


def _cell(value: Any, plain: Any) -> Any:
    """Return a CSV's cell: numbers are no danger, and what holds several values is JSON."""
    if isinstance(plain, dict | list):
        return disarm(dumps(plain))
    return disarm(plain) if isinstance(value, str) else plain


def console_for(out: IO[str]) -> Console:
    """Return a console that cuts nothing, and colours nothing that is no terminal."""
    terminal = is_terminal(out)
    return Console(
        file=out,
        width=None if terminal else 100_000,
        force_terminal=terminal,
        color_system="auto" if terminal else None,
        highlight=False,
    )
