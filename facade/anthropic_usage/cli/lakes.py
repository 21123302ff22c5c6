"""`lake` and `sql`: looking after what anthropic-usage-track wrote, and asking it."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import InvalidQuery
from ..human import several
from ..moments import parse_moment
from ..sinks.plain import plain_value
from ..sinks.sink import Staged
from .answers import Column, Output, answer, answer_options, print_columns
from .session import note
from .strict import OutputFile, WholeRange

if TYPE_CHECKING:
    from ..lake.storage import Storage

__all__ = ["lake_group", "sql_command"]

_root = click.option(
    "--datalake-root",
    "root",
    default="~/datalake.me",
    show_default=True,
    metavar="ROOT",
    help="Where the lake is: a folder, or a URL.",
)
_MOST = 1000


@click.group(
    "lake",
    short_help="Verify, rebuild, prune a lake; see restatements.",
    epilog="""\b
Examples:
  anthropic-usage lake verify --datalake-root /data/lake
  anthropic-usage lake rebuild
  anthropic-usage lake changes --since 2026-02-01
  anthropic-usage lake prune --keep 2""",
)
def lake_group() -> None:
    """Look after a lake: prove it whole, make its tables again, see what was restated."""


@lake_group.command("verify", epilog="Example: anthropic-usage lake verify --json")
@_root
@answer_options("table", "json")
@click.pass_context
def verify_command(context: click.Context, root: str, output: Output) -> None:
    """Prove every day whole: raw, decoded again, is what the tables say. Exit code 1 if not."""
    from ..lake.upkeep import verify

    found = verify(_lake(root))

    def show(out: IO[str]) -> None:
        for problem in found.problems:
            out.write(f"{problem}\n")
        verdict = several(len(found.problems), "problem") if found.problems else "all whole"
        out.write(f"{several(found.days, 'day')}, {several(found.files, 'file')}: {verdict}\n")

    answer(output, {"ok": not found.problems, **_fields(found)}, show)
    for sentence in found.notes:
        note(sentence)
    if found.gaps:
        note(
            f"{several(len(found.gaps), 'day')} missing, from {found.gaps[0]} on: "
            "anthropic-usage-track --catch-up 3"
        )
    for day, missing in found.lacking.items():
        note(f"{day} lacks {', '.join(missing)}: anthropic-usage-track --catch-up 3")
    if found.waste:
        note(
            f"{several(found.waste, 'file')} of no snapshot: a killed run's, which the next "
            "tracking removes, or those of a lost manifest, which anthropic-usage lake rebuild "
            "makes again"
        )
    context.exit(1 if found.problems else 0)


def _fields(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("days", "files", "problems", "gaps", "waste")}


@lake_group.command("rebuild", epilog="Example: anthropic-usage lake rebuild")
@_root
@answer_options("table", "json")
def rebuild_command(root: str, output: Output) -> None:
    """Make the tables of every day's newest snapshot from raw alone, at today's price table."""
    from ..lake.storage import Storage
    from ..lake.upkeep import lost_manifests, rebuild

    # Where all manifests are lost there is a lake nevertheless.
    storage = Storage(root)
    if not lost_manifests(storage):
        storage = _lake(root)
    with storage.lock():
        written = rebuild(storage)
    said = f"rebuilt {several(written, 'day')}" if written else "nothing to rebuild"
    answer(output, {"rebuilt": written}, lambda out: _line(out, said))


@lake_group.command("changes", epilog="Example: anthropic-usage lake changes --since 2026-02-01")
@click.option("--since", metavar="YYYY-MM-DD", help="Only days from this one on.")
@_root
@answer_options("table", "json", "csv")
def changes_command(since: str | None, root: str, output: Output) -> None:
    """List restatements: what a day said when it was over, and says now."""
    from ..lake.upkeep import changes

    found = changes(_lake(root), parse_moment(since, "--since").date() if since else None)
    rows = [
        {
            "date": change.date,
            "table": change.table,
            "measure": change.measure,
            "said": change.said,
            "says": change.says,
            "difference": change.difference,
            "seen_at": change.seen_at,
        }
        for change in found
    ]

    def show(out: IO[str]) -> None:
        if not rows:
            out.write("nothing was restated\n")
            return
        print_columns(
            [
                Column(name.replace("_", " "), [str(row[name]) for row in rows], right=place > 2)
                for place, name in enumerate(list(rows[0])[:6])
            ],
            out,
        )

    columns = ("date", "table", "measure", "said", "says", "difference", "seen_at")
    answer(output, {"changes": rows}, show, rows, columns)


@lake_group.command("prune", epilog="Example: anthropic-usage lake prune --keep 2")
@click.option(
    "--keep",
    type=WholeRange(1),
    required=True,
    metavar="N",
    help="How many snapshots of each day stay.",
)
@_root
@answer_options("table", "json")
def prune_command(keep: int, root: str, output: Output) -> None:
    """Remove older snapshots; the newest of a day is the day."""
    from ..lake.upkeep import prune

    storage = _lake(root)
    with storage.lock():
        removed = prune(storage, keep)
    answer(
        output,
        {"removed": removed},
        lambda out: _line(out, f"removed {several(removed, 'older snapshot')}"),
    )


@lake_group.command(
    "delta", epilog="Example: anthropic-usage lake delta --datalake-root /data/lake"
)
@_root
@answer_options("table", "json")
def delta_command(root: str, output: Output) -> None:
    """Commit the newest snapshots to Delta logs beside the tables; needs the extra 'delta'."""
    from ..lake.delta import commit

    storage = _lake(root)
    with storage.lock():
        versions = commit(storage)

    def show(out: IO[str]) -> None:
        for table, (version, changed) in versions.items():
            said = f"{several(changed, 'day')} committed" if changed else "nothing new"
            out.write(f"{table}: version {version}, {said}\n")

    plain = {name: {"version": v, "days": n} for name, (v, n) in versions.items()}
    answer(output, plain, show)


def _lake(root: str) -> Storage:
    """Return the lake at a root; raises LakeError if there is none, which is not whole."""
    from ..lake.snapshot import MANIFESTS
    from ..lake.storage import LakeError, Storage

    storage = Storage(root)
    if not storage.list(MANIFESTS):
        raise LakeError(f"{storage} holds no lake yet: run anthropic-usage-track with this root")
    return storage


def _line(out: IO[str], text: str) -> None:
    out.write(f"{text}\n")


@click.command(
    "sql",
    short_help="Ask a lake in SQL.",
    epilog="""\b
Examples:
  anthropic-usage sql "select model, sum(output_tokens) from usage_daily group by 1"
  anthropic-usage sql "select date, sum(amount_usd) usd from cost_daily group by 1 order by 1" --csv
  anthropic-usage sql "describe select * from claude_code_daily"
  anthropic-usage sql "select * from usage_daily" --parquet usage.parquet
  anthropic-usage sql "select count(*) from cost_daily" --engine spark

\b
Tables: usage_daily (model and API key), model_daily, cost_daily, claude_code_daily; a row a day and
group, money as decimals. Only the newest snapshot of a day is there.""",
)
@click.argument("statement")
@_root
@click.option("--from-lake", "root_too", metavar="ROOT", help="The same as --datalake-root.")
@click.option(
    "--engine",
    type=click.Choice(["duckdb", "spark"]),
    default="duckdb",
    show_default=True,
    help="DuckDB is fenced in. Spark has no sandbox: its plans are checked, its environment holds "
    "no key, but trust what you let it run.",
)
@click.option("--master", default="local[*]", show_default=True, help="Spark's master.")
@click.option("--parquet", "parquet_file", type=OutputFile(), help="Write Parquet.")
@answer_options("table", "json", "csv")
def sql_command(
    statement: str,
    root: str,
    root_too: str | None,
    engine: str,
    master: str,
    parquet_file: str | None,
    output: Output,
) -> None:
    """Ask a lake in SQL; read-only, no network, no key."""
    from ..lake.sql import query
    from ..lake.storage import Storage
    from ..lake.values import rows_of

    if not statement.strip():
        raise InvalidQuery("give a SELECT")
    table = query(
        Storage(root if root_too is None else root_too), statement, engine=engine, master=master
    )
    if parquet_file is not None:
        import pyarrow.parquet as pq

        with Staged(parquet_file) as staged:
            pq.write_table(table, staged.file, compression="zstd")
        note(f"wrote {several(table.num_rows, 'row')} into {parquet_file}")
        return
    rows = rows_of(table)
    names = list(table.column_names)

    def show(out: IO[str]) -> None:
        shown = rows[:_MOST]
        print_columns(
            [
                Column(name, [_cell(row[name]) for row in shown], right=_right(shown, name))
                for name in names
            ],
            out,
        )

    answer(output, rows, show, rows, names)
    if output.format == "table" and len(rows) > _MOST:
        note(f"{several(len(rows) - _MOST, 'more row')}; --csv or --parquet has all of them")


def _cell(value: Any) -> str:
    from decimal import Decimal

    from ..money import plain

    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return f"{value:,f}" if value == int(value) else plain(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return (
        json.dumps(plain_value(value), ensure_ascii=False)
        if isinstance(value, dict | list)
        else str(value)
    )


def _right(rows: list[dict[str, Any]], name: str) -> bool:
    from decimal import Decimal

    return any(
        isinstance(row[name], int | float | Decimal) and not isinstance(row[name], bool)
        for row in rows[:20]
    )
