"""`export`: long reports into a folder, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import InvalidQuery
from ..export import FORMATS, export
from ..query import Query
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

__all__ = ["export_group"]


@click.group(
    "export",
    epilog="""\b
Examples:
  anthropic-usage export usage --since 2026-01-01 --bucket-width 1h --group-by model --out usage
  anthropic-usage export cost --since 2025-01-01 --group-by description --out cost --format csv
  anthropic-usage export claude-code --since 90d --out code
  anthropic-usage export usage --demo --since 30d --out /tmp/demo

Run the same command again if it was interrupted: it goes on where it was.""",
)
def export_group() -> None:
    """Write long reports into a folder, a file a window; resumable."""


def _out_options(command: Any) -> Any:
    out = click.option(
        "--out",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
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
    return out(format_(command))


@export_group.command("usage")
@range_options
@width_option
@group_by_option
@filter_options
@limit_option("31 x 1d, 168 x 1h, 1440 x 1m")
@gaps_option
@_out_options
@connection_options
def export_usage(connection: Connection, out: Path, format_: str, **asked: Any) -> None:
    """Tokens used through the Messages API."""
    _run(connection, usage_query(connection, by=(), **asked), out, format_, asked)


@export_group.command("cost")
@range_options
@group_by_option
@limit_option("31 days")
@gaps_option
@_out_options
@connection_options
def export_cost(connection: Connection, out: Path, format_: str, **asked: Any) -> None:
    """Billed dollars, exact; completed UTC days only."""
    _run(connection, cost_query(connection, by=(), **asked), out, format_, asked)


@export_group.command("claude-code")
@range_options
@limit_option("1000 records")
@_out_options
@connection_options
def export_claude_code(connection: Connection, out: Path, format_: str, **asked: Any) -> None:
    """What Claude Code did, record by record; a file a day."""
    _run(connection, claude_code_query(connection, **asked), out, format_, asked)


def _run(
    connection: Connection, query: Query, out: Path, format_: str, asked: dict[str, Any]
) -> None:
    with connection.meter() as meter, connection.client(meter) as client:
        meter.start(query)
        try:
            done = export(client, query, out, format_, asked)
        except (FileExistsError, NotADirectoryError):
            raise InvalidQuery(f"{out} is no folder") from None
        meter.stop()
    before = f" ({done.kept} from an earlier run)" if done.kept else ""
    click.echo(f"{done.rows:,} rows in {done.files} files{before} in {done.folder}")
    if done.settled_until:
        note(f"settled until {done.settled_until}")
