"""`export`: long reports into a folder, resumable; or one CSV with the cookbook's columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import InvalidQuery
from ..export import FORMATS, export
from ..human import several
from ..money import plain
from ..reports import CostRow, Query, UsageRow
from ..sinks.delimited import csv_writer, disarm
from .formats import mark_option
from .matching import check_ids, quiet, unmatched
from .options import connection_options, filter_options, range_options
from .reading import (
    claude_code_query,
    cost_query,
    gaps_option,
    group_by_option,
    limit_option,
    usage_query,
    width_option,
)
from .session import Connection, note
from .spool import after, spool
from .strict import OutputFile, OutputFolder

__all__ = ["export_group"]


@click.group(
    "export",
    epilog="""\b
Examples:
  anthropic-usage export usage --since 2026-01-01 --bucket-width 1h --group-by model --out usage
  anthropic-usage export cost --since 2025-01-01 --group-by description --out cost --format csv
  anthropic-usage export claude-code --since 90d --out code
  anthropic-usage export usage --demo --since 30d --out /tmp/demo
  anthropic-usage export usage --since 14d --csv usage_data.csv
  anthropic-usage export cost --since 14d --csv cost_data.csv

Run the same command again if it was interrupted: it goes on where it was.""",
)
def export_group() -> None:
    """Write long reports into a folder, a file a window; resumable.

    With --csv, usage and cost go into one CSV file with the columns of Anthropic's cookbook.
    """


def _out_options(command: Any) -> Any:
    out = click.option(
        "--out",
        type=OutputFolder(),
        metavar="DIR",
        help="The folder; it belongs to this export alone.",
    )
    format_ = click.option(
        "--format",
        "format_",
        type=click.Choice(FORMATS),
        default="parquet",
        show_default=True,
        help="parquet needs the extra 'arrow'.",
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Say as JSON what was written.")
    return out(format_(as_json(command)))


def _csv_option(columns: Mapping[str, Any]) -> Callable[[Any], Any]:
    option = click.option(
        "--csv",
        "csv_file",
        type=OutputFile(allow_dash=True),
        metavar="FILE",
        help=f"Instead of --out: one CSV by day with {', '.join(columns)}; - is stdout.",
    )
    return lambda command: option(mark_option(command))


_USAGE_COLUMNS: dict[str, Callable[[UsageRow], Any]] = {
    "date": lambda row: row.day.isoformat(),
    "model": lambda row: disarm(row.model),
    "service_tier": lambda row: disarm(row.service_tier),
    "workspace_id": lambda row: disarm(row.workspace_id),
    "uncached_input_tokens": lambda row: row.uncached_input_tokens,
    "output_tokens": lambda row: row.output_tokens,
    "cache_creation_tokens": lambda row: (
        row.cache_creation_5m_input_tokens + row.cache_creation_1h_input_tokens
    ),
    "cache_read_tokens": lambda row: row.cache_read_input_tokens,
    "web_search_requests": lambda row: row.web_search_requests,
}
_COST_COLUMNS: dict[str, Callable[[CostRow], Any]] = {
    "date": lambda row: row.day.isoformat(),
    "workspace_id": lambda row: disarm(row.workspace_id),
    "description": lambda row: disarm(row.description),
    "currency": lambda row: disarm(row.currency),
    "amount_usd": lambda row: plain(row.amount_usd),
}


@export_group.command("usage")
@range_options
@width_option
@group_by_option
@filter_options
@limit_option("31 x 1d, 168 x 1h, 1440 x 1m")
@gaps_option
@_csv_option(_USAGE_COLUMNS)
@_out_options
@connection_options
def export_usage(
    connection: Connection,
    out: str | None,
    format_: str,
    csv_file: str | None,
    mark: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Tokens used through the Messages API."""
    if csv_file is not None:
        _no_other(out, as_json, asked, "bucket_width", "1d")
        asked["group_by"] = ("model", "service_tier", "workspace_id")
        query = usage_query(connection, by=(), **asked)
        _write_csv(connection, query, _USAGE_COLUMNS, csv_file, mark)
        return
    _run(connection, usage_query(connection, by=(), **asked), out, format_, asked, as_json)


@export_group.command("cost")
@range_options
@group_by_option
@limit_option("31 days")
@gaps_option
@_csv_option(_COST_COLUMNS)
@_out_options
@connection_options
def export_cost(
    connection: Connection,
    out: str | None,
    format_: str,
    csv_file: str | None,
    mark: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Billed dollars, exact; completed UTC days only."""
    if csv_file is not None:
        _no_other(out, as_json, asked)
        asked["group_by"] = ("workspace_id", "description")
        query = cost_query(connection, by=(), **asked)
        _write_csv(connection, query, _COST_COLUMNS, csv_file, mark)
        return
    _run(connection, cost_query(connection, by=(), **asked), out, format_, asked, as_json)


@export_group.command("claude-code")
@range_options
@limit_option("1000 records")
@_out_options
@connection_options
def export_claude_code(
    connection: Connection, out: str | None, format_: str, as_json: bool, **asked: Any
) -> None:
    """What Claude Code did, record by record; a file a day."""
    _run(connection, claude_code_query(connection, **asked), out, format_, asked, as_json)


def _no_other(out: str | None, as_json: bool, asked: dict[str, Any], *fixed: str) -> None:
    """Refuse what one CSV with fixed columns cannot do."""
    if out is not None:
        raise InvalidQuery("give --csv FILE or --out DIR")
    if as_json:
        raise InvalidQuery("--json says what --out wrote: leave it out with --csv")
    if asked["group_by"]:
        raise InvalidQuery("--csv has its own columns: leave out --group-by, or use --out")
    for name, value in zip(fixed[::2], fixed[1::2], strict=True):
        if asked[name] != value:
            raise InvalidQuery(f"--csv is by day: --{name.replace('_', '-')} must be {value}")


def _write_csv(
    connection: Connection,
    query: Query,
    columns: Mapping[str, Callable[[Any], Any]],
    path: str,
    mark: bool,
) -> None:
    count = 0
    with connection.meter() as meter, connection.client(meter) as client, quiet():
        meter.start(query)
        check_ids(client, query)
        with spool(None if path == "-" else path, "csv", mark) as out:
            writer = csv_writer(out)
            writer.writerow(columns)
            for row in client.report(query):
                writer.writerow([cell(row) for cell in columns.values()])
                count += 1
            if not count:
                after(out, unmatched(client, query))
        meter.stop()
    note(f"{several(count, 'row')} in {path}")


def _run(
    connection: Connection,
    query: Query,
    out: str | None,
    format_: str,
    asked: dict[str, Any],
    as_json: bool,
) -> None:
    if out is None:
        raise InvalidQuery("say where: --out DIR")
    with connection.meter() as meter, connection.client(meter) as client, quiet():
        meter.start(query)
        check_ids(client, query)
        try:
            done = export(client, query, Path(out), format_, asked)
        except (FileExistsError, NotADirectoryError):
            raise InvalidQuery(f"{out} is no folder") from None
        meter.stop()
        if not done.rows:
            note(unmatched(client, query))
    if as_json:
        facts = {"folder": str(done.folder), "files": done.files, "rows": done.rows}
        facts |= {"kept": done.kept, "settled_until": done.settled_until}
        click.echo(json.dumps(facts, indent=2))
        return
    before = f" ({done.kept} from an earlier run)" if done.kept else ""
    click.echo(
        f"{several(done.rows, 'row')} in {several(done.files, 'file')}{before} in {done.folder}"
    )
    if done.settled_until:
        note(f"settled until {done.settled_until}")
