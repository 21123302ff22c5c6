"""`report`: where the money went, on a terminal, as a page, as pictures, for chats."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO

import attrs
import click

from ..analysis.source import reason
from ..analysis.spend import Coding, KeySpend, Slice, Spend, spend
from ..errors import AnthropicUsageError, AuthenticationError, IncompleteReport
from ..human import bar, clean, count, dollars, percent, several, sparkline
from ..money import ZERO, total
from ..pages import team
from ..pages.figures import KIND_NAMES, amount, change, figures, interval, span
from ..sinks.sink import Staged
from .answers import (
    Column,
    Output,
    answer,
    answer_options,
    ids_option,
    names_of,
    period_options,
    price_table,
    pricing_option,
    print_columns,
)
from .billing import read_owners
from .columns import left_out_sentence, write_line
from .options import source_options
from .people import print_teams
from .session import Connection, note, note_of_names
from .streams import is_terminal
from .strict import OutputFile, OutputFolder

__all__ = ["report_command"]

_BAR = 16
_MOST = 8


@click.command(
    "report",
    short_help="Spend, its change, and what for.",
    epilog="""\b
Examples:
  anthropic-usage report                             month to date, on the terminal
  anthropic-usage report --month 2026-10 --html october.html
  anthropic-usage report --since 7d --md | pbcopy    for a chat
  anthropic-usage report --since last-month --png charts/
  anthropic-usage report --month 2026-10 --map teams.yml --no-people --html october.html
  anthropic-usage report --json | jq .billed
  anthropic-usage report --demo --html demo.html

--html and --png need the extra 'charts'.""",
)
@period_options("mtd")
@click.option("--html", "html_file", type=OutputFile(), help="Write one HTML page.")
@click.option("--png", "png_folder", type=OutputFolder(), help="Write the charts into a folder.")
@click.option(
    "--compare/--no-compare",
    default=True,
    help="Compare with the same span before; a lake must have that too.",
)
@click.option("--title", help="A heading; else the organization's name.")
@click.option(
    "--map",
    "map_file",
    metavar="FILE",
    help="Whose team who used Claude Code is in, as for claude-code.",
)
@click.option(
    "--people/--no-people",
    "named",
    default=True,
    help="Whether to name who used Claude Code; weeks, teams and sums are there anyway.",
)
@pricing_option
@ids_option
@answer_options("table", "json", "md")
@source_options
def report_command(
    connection: Connection,
    output: Output,
    starting_at: dt.datetime,
    ending_at: dt.datetime,
    html_file: str | None,
    png_folder: str | None,
    title: str | None,
    compare: bool,
    map_file: str | None,
    named: bool,
    pricing_json: str | None,
    ids: bool,
) -> None:
    """Spend and its change, by model, workspace and day; caching; keys; Claude Code."""
    table = price_table(pricing_json)
    owners = None if map_file is None else read_owners(map_file, by="actor")
    with connection.source() as source:
        directory = names_of(source, ids, "workspaces", "api_keys")
        organization = None
        try:
            organization = source.organization().name
        except AuthenticationError:
            raise
        except AnthropicUsageError as error:
            note_of_names(f"no name for the organization: {reason(error)}")
        try:
            result = spend(
                source,
                starting_at,
                ending_at,
                directory=directory,
                prices=table,
                organization=organization,
                compare=compare,
                owners=owners,
            )
        except IncompleteReport as error:
            if not compare or connection.from_lake is None:
                raise
            raise IncompleteReport(f"{error}; or --no-compare, without the span before") from None
    unused = () if result.coding is None else result.coding.who.unused
    if not named and result.coding is not None:
        result = attrs.evolve(result, coding=result.coding.without_names())
    if html_file is not None:
        from ..pages import html

        _write(Path(html_file), html.render(result, title=title, ids=ids).encode())
    if png_folder is not None:
        from ..pages.charts import charts

        folder, drawn = Path(png_folder), charts(result)
        if drawn:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            note(f"nothing to draw: {folder} is as it was")
        for chart in drawn:
            _write(folder / f"{chart.name}.png", chart.png())

    def show(out: IO[str]) -> None:
        if output.format == "md":
            from ..pages import markdown

            out.write(markdown.render(result, title=title))
        else:
            _print(result, title, out)

    if not (html_file or png_folder) or output.format != "table" or output.path is not None:
        answer(output, result, show)
    for pattern in unused:
        note(f"the map's {pattern!r} matches nobody here")
    if result.billed is None:
        # What could be read was answered, but the bill is what a report is asked for.
        click.get_current_context().exit(1)


def _write(path: Path, content: bytes) -> None:
    with Staged(path) as staged:
        staged.file.write(content)
    note(f"wrote {path} ({count(len(content))} bytes)")


def _print(result: Spend, title: str | None, out: IO[str]) -> None:
    heading = title or result.organization or "Claude spend"
    bold = "\x1b[1m{}\x1b[0m" if is_terminal(out) and os.environ.get("TERM") != "dumb" else "{}"
    write_line(out, f"{clean(heading)}, {span(result)}", style=bold)
    out.write("\n")
    width = max(len(figure.name) for figure in figures(result))
    hang = width + 24
    for figure in figures(result):
        write_line(out, f"{figure.name:<{width}}  {figure.value:>20}  {figure.note}", hang)
    if result.by_day:
        days = [day.billed for day in result.by_day]
        first, last = result.by_day[0].day, result.by_day[-1].day
        write_line(
            out,
            f"{'Each day':<{width}}  {sparkline(days):>20}  {first} to {last}, "
            f"{dollars(min(days))} to {dollars(max(days))}",
            hang,
        )
    out.write("\n")
    _print_slices("model", result.by_model, result, out)
    _print_slices("workspace", result.by_workspace, result, out)
    _print_slices("kind of charge", result.by_kind, result, out)
    if result.tokens:
        _print_tokens(result, out)
    if keys := result.keys[:_MOST]:
        _print_keys(keys, out)
    if result.coding is None:
        write_line(out, f"Claude Code: {team.NOT_KNOWN}")
    else:
        _print_coding(result.coding, out)
    for sentence in result.notes:
        note(sentence)


def _print_coding(coding: Coding, out: IO[str]) -> None:
    who = coding.who
    work = who.by_people
    answered = work.accepted + work.rejected
    write_line(
        out,
        f"Claude Code: {team.seated(who)}, {several(work.sessions, 'session')}, "
        f"+{work.lines_added:,} -{work.lines_removed:,} lines, {several(work.commits, 'commit')}, "
        f"{several(work.pull_requests, 'pull request')}, {percent(work.accepted, answered)} of "
        "proposals taken",
    )
    if who.keys:
        keys, beside = several(who.keys, team.kinds(who)), who.by_others
        said = several(beside.sessions, "session")
        write_line(out, f"  beside them {keys}, no people: {said}", 4)
    for sentence in team.paid(who):
        write_line(out, f"  {sentence}", 4)
    if who.active:
        weeks = who.weeks
        line = sparkline([Decimal(week.active) for week in weeks])
        ends = dict.fromkeys(team.week_name(week) for week in (weeks[0], weeks[-1]))
        write_line(out, f"  people by week {line} {' to '.join(ends)}", 4)
    left = left_out_sentence(print_teams(who, out))
    for sentence in (*([left] if left else []), *who.notes):
        note(sentence)


def _print_tokens(result: Spend, out: IO[str]) -> None:
    kinds = result.tokens.items()
    most = max((now for now, _ in result.tokens.values()), default=0)
    columns = [
        Column("tokens", [KIND_NAMES.get(name, name) for name, _ in kinds]),
        Column("", [bar(now, most, _BAR) for _, (now, _) in kinds]),
        Column("now", [count(now) for _, (now, _) in kinds], right=True),
    ]
    if result.before is not None:
        columns += [
            Column("before", [count(before or 0) for _, (_, before) in kinds], right=True),
            Column("change", [change(*pair) for _, pair in kinds], right=True),
        ]
    print_columns(columns, out)
    out.write("\n")


def _print_keys(keys: Sequence[KeySpend], out: IO[str]) -> None:
    highest = max(key.high or ZERO for key in keys)
    print_columns(
        [
            Column("api key (estimated by list prices)", [key.name for key in keys]),
            Column("", [bar(key.high or ZERO, highest, _BAR) for key in keys]),
            Column("cost", [interval(key.low, key.high) for key in keys], right=True),
            Column("tokens", [count(key.tokens) for key in keys], right=True),
        ],
        out,
    )
    out.write("\n")


def _print_slices(what: str, parts: Sequence[Slice], result: Spend, out: IO[str]) -> None:
    if not parts:
        return
    compared = result.before is not None
    shown = list(parts[:_MOST])
    rest = parts[_MOST:]
    more = f"{len(rest)} more"
    if rest:
        shown.append(
            Slice(
                id=None,
                name=more,
                billed=total(part.billed for part in rest),
                amount_usd=total(part.amount_usd for part in rest),
                before=total(part.before or ZERO for part in rest) if compared else None,
            )
        )
    # What is the sum of many would set the scale, and shrink the bars of all others.
    most = max(part.billed for part in parts[:_MOST])
    columns = [
        Column(what, [part.name for part in shown], "total"),
        Column("", [_bar(part, more, most) for part in shown]),
        Column(
            "billed",
            [dollars(part.amount_usd) for part in shown],
            amount(result.billed),
            right=True,
        ),
    ]
    if compared:
        columns += [
            Column(
                "before",
                [amount(part.before) for part in shown],
                amount(result.before),
                right=True,
            ),
            Column(
                "change",
                [change(part.billed, part.before) for part in shown],
                change(result.billed, result.before),
                right=True,
            ),
        ]
    print_columns(columns, out)
    out.write("\n")


def _bar(part: Slice, more: str, most: Decimal) -> str:
    return "" if part.id is None and part.name == more else bar(part.billed, most, _BAR)
