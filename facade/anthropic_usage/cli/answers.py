"""Printing what analyses answer: an aligned table for people, exact JSON and CSV for programs."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any

import attrs
import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..analysis.prices import PriceTable
from ..directory import Directory
from ..documents import read_text
from ..errors import InvalidQuery
from ..human import clean
from ..moments import utc_now
from ..sinks.delimited import disarm
from ..sinks.plain import plain_value
from .session import note
from .spool import spool
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

_NO_LIMIT = 100_000


@attrs.frozen(kw_only=True)
class Output:
    """How to print an answer, and where."""

    format: str
    path: str | None


@attrs.frozen
class Column:
    """One column of a table, every cell written out."""

    heading: str
    cells: Sequence[str]
    total: str = ""
    right: bool = False


def answer_options(*formats: str) -> Callable[[Any], Any]:
    """Add `--format`, a flag for each format, and `--output`; the command gets an `output`."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(format_: str, path: str | None, **options: Any) -> Any:
            output = Output(format=format_, path=None if path == "-" else path)
            return command(output=output, **options)

        options = [
            click.option(
                "--format",
                "format_",
                type=click.Choice(formats),
                default=formats[0],
                show_default=True,
                help="How to print; numbers are exact in all but the table.",
            ),
            *(
                click.option(
                    f"--{name}", "format_", flag_value=name, help=f"The same as --format {name}."
                )
                for name in formats[1:]
            ),
            click.option(
                "--output",
                "-o",
                "path",
                type=OutputFile(allow_dash=True),
                help="Write to this file, which appears when it is whole; - is stdout.",
            ),
        ]
        return functools.reduce(lambda made, option: option(made), reversed(options), wrapped)

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
    text = pricing_json
    if not text.lstrip().startswith("{"):
        text = read_text(pricing_json, "--pricing-json")
    table = table.with_overrides(text)
    for name in table.strangers:
        near = table.near(name)
        hint = f" (near are {', '.join(near)})" if near else ""
        note(
            f"--pricing-json: {name!r} is no model of the price table{hint}; its price is used "
            "only if the API names a model exactly so"
        )
    return table


def names_of(source: Any, ids: bool, *kinds: str) -> Directory:
    """Look up names unless only ids are wanted; says what could not be looked up."""
    if ids:
        return Directory()
    directory = Directory.read(source, kinds=kinds)
    for sentence in directory.missing:
        note(sentence)
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
    with spool(output.path) as out:
        if output.format == "json":
            json.dump(plain_value(document), out, indent=2, ensure_ascii=False)
            out.write("\n")
        elif output.format == "csv":
            writer = csv.writer(out, lineterminator="\n")
            lines = [(row, plain_value(row)) for row in rows]
            writer.writerow(lines[0][1] if lines else list(columns))
            for row, line in lines:
                # Texts may come from outside; numbers are written as text too, and are no danger.
                writer.writerow(
                    disarm(value) if isinstance(row[name], str) and not _number(value) else value
                    for name, value in line.items()
                )
        else:
            table(out)


def _number(text: str) -> bool:
    """Tell whether a text is a plain number, which a spreadsheet may well take for one."""
    return text.removeprefix("-").replace(".", "", 1).isdecimal()


def console_for(out: IO[str]) -> Console:
    """Return a console that cuts nothing where no terminal sets a width."""
    return Console(file=out, width=None if out.isatty() else _NO_LIMIT, highlight=False)


def print_columns(columns: Sequence[Column], out: IO[str], title: str | None = None) -> None:
    """Print an aligned table; a last line of totals if there are any."""
    console = console_for(out)
    table = Table(
        box=box.SIMPLE,
        show_edge=False,
        show_footer=any(column.total for column in columns),
        pad_edge=False,
    )
    for column in columns:
        table.add_column(
            column.heading,
            clean(column.total),
            justify="right" if column.right else "left",
            no_wrap=column.right,
            overflow="fold",
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(clean(cell)) for cell in cells))
    with console.capture() as capture:
        if title:
            console.print(Text(clean(title), style="bold"))
        console.print(table)
    text = capture.get()
    out.write(text if out.isatty() else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
