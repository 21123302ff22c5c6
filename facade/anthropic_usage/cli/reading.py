"""`usage`, `cost` and `claude-code`."""

from __future__ import annotations

import contextlib
import functools
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

import attrs
import click

from ..analysis.periods import Extent, extents
from ..engine.fold import Fold
from ..engine.local import LocalQuery
from ..engine.report import Report
from ..errors import IncompleteReportWarning, InvalidQuery, NothingMatchedWarning
from ..fields import Row
from ..human import several
from ..moments import DAY, rfc3339, utc_now
from ..reports import (
    CLAUDE_CODE,
    COST,
    PERIODS,
    USAGE,
    ClaudeCodeRow,
    CostRow,
    Query,
    UsageRow,
)
from ..sinks.delimited import CsvSink, NdjsonSink, write_csv
from ..sinks.plain import dumps, plain_row, plain_value
from ..zones import Zone
from .columns import left_out_sentence
from .matching import check_ids, unmatched
from .options import (
    Printing,
    comma_separated,
    connection_options,
    filter_options,
    given,
    output_options,
    range_options,
)
from .session import Connection, Meter, note
from .spool import after, spool
from .strict import Whole
from .timezones import say_whole_days, timezone_option
from .when import resolve

if TYPE_CHECKING:
    from ..engine.report import Report

__all__ = [
    "claude_code",
    "claude_code_query",
    "cost",
    "cost_query",
    "gaps_option",
    "group_by_option",
    "limit_option",
    "note_left_out",
    "usage",
    "usage_query",
    "width_option",
]

_UNITS = {DAY: "day", DAY / 24: "hour", DAY / 1440: "minute"}

by_option = click.option(
    "--by",
    multiple=True,
    metavar="DIM,DIM",
    callback=given,
    help="Sum the rows up by these: any dimension, and day, week, month. Asks for what it needs.",
)
group_by_option = click.option(
    "--group-by",
    multiple=True,
    metavar="DIM,DIM",
    callback=given,
    help="Split each bucket by these dimensions; repeat or separate by commas.",
)
width_option = click.option(
    "--bucket-width",
    type=click.Choice(["1d", "1h", "1m"]),
    default="1d",
    show_default=True,
    help="The length of a bucket.",
)
gaps_option = click.option(
    "--allow-gaps", is_flag=True, help="Warn about buckets the API left out, instead of failing."
)


def limit_option(most: str) -> Callable[[Any], Any]:
    """Return `--limit`, which is a page size."""
    return click.option(
        "--limit",
        type=Whole(),
        metavar="N",
        help=f"Page size, at most {most}; the report is always read to its end.",
    )


def _dimensions(row: type[Row], more: str = "") -> str:
    """Return the last paragraph of a command's help."""
    return f"--by takes {', '.join((*row.DIMENSIONS, *row.BREAKDOWN, *PERIODS))}. {more}"


@click.command(
    epilog="""\b
Examples:
  anthropic-usage usage
  anthropic-usage usage --since mtd --by model
  anthropic-usage usage --since 24h --bucket-width 1h --group-by model,workspace_id
  anthropic-usage usage --since last-month --by day,model --csv > usage.csv
  anthropic-usage usage --since last-month --by month --timezone Europe/Berlin
  anthropic-usage usage --since 2026-02-01 --until 2026-03-01 --json | jq .totals
  anthropic-usage usage --demo

"""
    + _dimensions(UsageRow, "--group-by takes all but the periods, five at most.")
)
@range_options
@timezone_option
@width_option
@group_by_option
@by_option
@filter_options
@limit_option("31 x 1d, 168 x 1h, 1440 x 1m")
@gaps_option
@output_options
@connection_options
def usage(connection: Connection, by: tuple[str, ...], printing: Printing, **asked: Any) -> None:
    """Tokens used through the Messages API."""
    folded = comma_separated(by)
    _run(connection, usage_query(connection, by=folded, **asked), folded or None, printing)


def usage_query(
    connection: Connection,
    *,
    since: str,
    until: str | None,
    bucket_width: str,
    group_by: tuple[str, ...],
    by: tuple[str, ...],
    limit: int | None,
    allow_gaps: bool,
    timezone: str | None = None,
    **filters: tuple[str, ...],
) -> Query:
    """Return the query that the options ask, grouped by what `by` needs."""
    chosen: dict[str, Any] = {name: comma_separated(values) for name, values in filters.items()}
    ask: Callable[..., Query] = USAGE.ask
    zone = None
    if timezone is not None:
        ask, zone = functools.partial(LocalQuery.ask, USAGE, timezone), Zone.find(timezone)
    start, end = resolve(since, until, utc_now(), zone)
    query = ask(
        start,
        end,
        bucket_width=bucket_width,
        group_by=(*comma_separated(group_by), *USAGE.fields.needed(by)),
        limit=limit,
        strict=not allow_gaps,
        anthropic_version=connection.anthropic_version,
        **{name: values for name, values in chosen.items() if values},
    )
    say_whole_days(query, start, end if until else None)
    return query


@click.command(
    epilog="""\b
Examples:
  anthropic-usage cost --since mtd
  anthropic-usage cost --since last-month --by workspace_id
  anthropic-usage cost --since 2026-02-01 --until 2026-03-01 --by model --json
  anthropic-usage cost --since 30d --group-by workspace_id,description --csv
  anthropic-usage cost --demo

"""
    + _dimensions(CostRow, "--group-by takes workspace_id and description.")
)
@range_options
@group_by_option
@by_option
@limit_option("31 days")
@gaps_option
@output_options
@connection_options
def cost(connection: Connection, by: tuple[str, ...], printing: Printing, **asked: Any) -> None:
    """Billed dollars, exact; completed UTC days only."""
    folded = comma_separated(by)
    _run(connection, cost_query(connection, by=folded, **asked), folded or None, printing)


def cost_query(
    connection: Connection,
    *,
    since: str,
    until: str | None,
    group_by: tuple[str, ...],
    by: tuple[str, ...],
    limit: int | None,
    allow_gaps: bool,
) -> Query:
    """Return the query that the options ask, grouped by what `by` needs."""
    start, end = resolve(since, until, utc_now())
    query = COST.ask(
        start,
        end,
        group_by=(*comma_separated(group_by), *COST.fields.needed(by)),
        limit=limit,
        strict=not allow_gaps,
        anthropic_version=connection.anthropic_version,
    )
    say_whole_days(query, start, end if until else None)
    return query


@click.command(
    "claude-code",
    epilog="""\b
Examples:
  anthropic-usage claude-code
  anthropic-usage claude-code --since mtd --by actor
  anthropic-usage claude-code --since 30d --by week
  anthropic-usage claude-code --since yesterday --json
  anthropic-usage claude-code --since mtd --map teams.yml  teams, seats, cost for each person
  anthropic-usage claude-code --demo

"""
    + _dimensions(ClaudeCodeRow),
)
@range_options
@by_option
@click.option(
    "--map",
    "map_file",
    metavar="FILE",
    help="Whose team who is in, by address, name or API key: YAML, JSON or CSV as for chargeback.",
)
@click.option("--people", "for_people", is_flag=True, help="The same answer without teams.")
@limit_option("1000 records")
@output_options
@connection_options
def claude_code(
    connection: Connection,
    by: tuple[str, ...],
    map_file: str | None,
    for_people: bool,
    printing: Printing,
    **asked: Any,
) -> None:
    """What Claude Code did: sessions, lines, commits, cost.

    The table has a line an actor unless --by says otherwise; the other formats have every record.
    With --map or --people: teams, who has a seat and used it, weeks, cost for each person, session
    and pull request. The estimated cost overlaps the cost report: never add the two. Addresses are
    read in lower case, so one person in two spellings is one; API keys are not people.
    """
    if map_file is not None or for_people:
        if by:
            raise InvalidQuery("--map and --people have an answer of their own: leave out --by")
        _people(connection, claude_code_query(connection, **asked), map_file, printing)
        return
    folded = comma_separated(by) or (("actor",) if printing.format == "table" else ())
    _run(connection, claude_code_query(connection, **asked), folded or None, printing)


def _people(connection: Connection, query: Query, map_file: str | None, printing: Printing) -> None:
    """Answer for whoever answers for a team."""
    from ..analysis.people import people
    from .billing import read_owners
    from .people import print_people

    owners = None if map_file is None else read_owners(map_file, by="actor")
    with connection.source() as source, _spool(printing) as out:
        result = people(source, query.starting_at, query.ending_at, owners=owners)
        sentences = print_people(result, printing, out)
    for sentence in sentences:
        note(sentence)


def _spool(printing: Printing) -> contextlib.AbstractContextManager[IO[str]]:
    return spool(printing.output, printing.format, printing.mark)


def claude_code_query(
    connection: Connection, *, since: str, until: str | None, limit: int | None
) -> Query:
    """Return the query that the options ask."""
    start, end = resolve(since, until, utc_now())
    query = CLAUDE_CODE.ask(start, end, limit=limit, anthropic_version=connection.anthropic_version)
    say_whole_days(query, start, end if until else None)
    return query


def _run(
    connection: Connection,
    query: Query,
    by: tuple[str, ...] | None,
    printing: Printing,
) -> None:
    """Read a report to its end, then print it; nothing is printed of one that is not whole."""
    query.check_fold(by or ())
    with connection.meter() as meter, connection.client(meter) as client, _gaps() as gaps:
        report = client.report(query)
        meter.start(query)
        check_ids(client, query)
        with _spool(printing) as out:
            as_it_comes = by is None and printing.order != "desc"
            if as_it_comes and printing.format in ("csv", "ndjson"):
                matched = _stream(report, printing, out)
                meter.stop()
                if not matched:
                    after(out, unmatched(client, query))
                return
            rows, totals = _read(report, by)
            meter.stop()
            rows = _ordered(rows, by, printing.order)
            left_out = _print(report, rows, totals, by, printing, out, complete=not gaps)
            if not rows and printing.format != "table":
                after(out, unmatched(client, query))
        if printing.format == "table":
            _notes(report, len(rows), meter, complete=not gaps)
            if not rows:
                note(unmatched(client, query))
            note_left_out(left_out)


def _stream(report: Report[Any], printing: Printing, out: IO[str]) -> int:
    """Print rows as they come; returns how many there were."""
    if printing.format == "csv":
        sink: CsvSink | NdjsonSink = CsvSink(report.query, out, printing.excel_safe)
    else:
        sink = NdjsonSink(report.query, out)
    for part in report.parts():
        sink.add(part.page)
    sink.finish()
    return sink.rows


def _read(report: Report[Any], by: tuple[str, ...] | None) -> tuple[list[Row], Row]:
    """Return the rows to show and the totals, from one reading."""
    if by is None:
        kept = report.collect()
        report.settled_until, report.pages = kept.settled_until, kept.pages
        return list(kept), kept.totals()
    groups, everything = Fold(report.query, by), Fold(report.query)
    for part in report.parts():
        groups.add(part.page)
        everything.add(part.page)
    return groups.rows(), everything.rows()[0]


def _ordered(rows: list[Row], by: tuple[str, ...] | None, order: str | None) -> list[Row]:
    """Turn the rows around if that is asked for; what is of one time keeps its order."""
    timed = by is None or {"starting_at", "date", *PERIODS}.intersection(by)
    if not timed:
        return rows[::-1] if order == "asc" else rows
    if order != "desc" or not rows:
        return rows
    return sorted(rows, key=operator.attrgetter(rows[0].TIME[0]), reverse=True)


def _print(
    report: Report[Any],
    rows: list[Row],
    totals: Row,
    by: tuple[str, ...] | None,
    printing: Printing,
    out: IO[str],
    complete: bool,
) -> tuple[str, ...]:
    """Print a report; returns the headings of what a table had no room for."""
    query = report.query
    columns = query.columns() if by is None else query.group_columns(by)
    days = _extents(report, rows, by or ())
    if printing.format == "table":
        from .tables import print_table

        partial = days if any(extent.partial for extent in days or ()) else None
        return print_table(query, rows, totals, by, out, days=partial)
    more = [attrs.asdict(extent) for extent in days or ()]
    if printing.format == "csv":
        write_csv(rows, columns, out, printing.excel_safe, more)
        return ()
    lines = [plain_row(row, columns) for row in rows]
    if days is not None:
        lines = [{**line, **said} for line, said in zip(lines, more, strict=True)]
    if printing.format == "ndjson":
        for line in lines:
            out.write(f"{dumps(line)}\n")
    else:
        document = {
            "query": {**query.describe(), **({} if by is None else {"by": list(by)})},
            "rows": lines,
            "totals": plain_row(totals, query.group_columns(())),
            "complete": complete,
            "settled_until": plain_value(report.settled_until),
        }
        out.write(f"{dumps(document, indent=2)}\n")
    return ()


def _extents(report: Report[Any], rows: list[Row], by: tuple[str, ...]) -> list[Extent] | None:
    """Return how many days of its week or month each group holds, as far as was read."""
    query = report.query
    until = min(report.settled_until or query.ending_at, query.ending_at)
    last = query.local(until).date()
    last += DAY if query.midnight(last) < until else 0 * DAY
    return extents(rows, by, query.starting_at.date(), last)


def _notes(report: Report[Any], rows: int, meter: Meter, complete: bool) -> None:
    """Say what the table does not."""
    query = report.query
    span = f"{rfc3339(query.starting_at)} to {rfc3339(query.ending_at)}"
    span += f" ({query.timezone})" if query.timezone else ""
    reached = meter.reached or query.starting_at
    buckets = (reached - query.starting_at) // query.width
    unit = _UNITS[query.width]
    if rows:
        note(f"{span}, {several(rows, 'row')} from {several(report.pages or 0, 'page')}")
    elif not buckets:
        note(f"no usage from {span}: not one {unit} of it exists yet")
    elif not complete:
        note(f"no usage from {span} in what the API sent, which has holes")
    elif query.named:
        note(f"nothing that matches from {span}, {several(buckets, unit)} read")
    else:
        note(f"no usage from {span}: a real zero, {several(buckets, unit)} read")
    if report.settled_until is not None and report.settled_until < query.ending_at:
        settled = query.local(report.settled_until)
        note(f"settled until {rfc3339(settled)}; what is later can still grow")


def note_left_out(headings: Iterable[str]) -> None:
    """Say which columns a terminal was too narrow for."""
    if sentence := left_out_sentence(headings):
        note(sentence)


@contextlib.contextmanager
def _gaps() -> Iterator[list[str]]:
    """Collect the holes that were let pass; they are still shown.

    What a filter did not match is said by `unmatched`, which says more than a warning.
    """
    gaps: list[str] = []
    shown = warnings.showwarning

    def show(message: Any, category: Any, *place: Any, **more: Any) -> None:
        if issubclass(category, IncompleteReportWarning):
            gaps.append(str(message))
        shown(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", IncompleteReportWarning)
        warnings.simplefilter("ignore", NothingMatchedWarning)
        warnings.showwarning = show
        yield gaps
