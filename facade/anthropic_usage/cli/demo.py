"""`simulate` and `demo`: the stand-in API, on a port or just for a look."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import click

from ..client import UsageClient
from ..engine.report import Report
from ..errors import InvalidQuery
from ..human import clean
from ..moments import DAY, parse_moment, utc_now
from .columns import left_out_sentence
from .session import demo_server
from .spool import after, spool
from .strict import Finite, Whole, WholeRange

__all__ = ["demo", "simulate"]

MOST_MS = 600_000
NEXT = """\
Next:
  anthropic-usage usage --demo --since 30d --by model      any command takes --demo
  export ANTHROPIC_ADMIN_API_KEY=...                       an Admin key, to see your own
  anthropic-usage doctor                                   checks that it works"""


@click.command(
    short_help="Serve a simulated organisation on 127.0.0.1.",
    epilog="""\b
Examples:
  anthropic-usage simulate
  anthropic-usage simulate --port 8787 --seed 7 --latency-ms 150
  anthropic-usage simulate --fault 429:0.2 --fault truncate#3
  anthropic-usage simulate --list-faults""",
)
@click.option(
    "--port",
    type=WholeRange(0, 65535),
    default=8787,
    show_default=True,
    help="Where; 0 takes a free one.",
)
@click.option("--seed", type=Whole(), default=7, show_default=True, help="Which organisation.")
@click.option(
    "--latency-ms",
    type=Finite(0, MOST_MS),
    default=0.0,
    show_default=True,
    metavar="MS",
    help="Delay every answer by this much.",
)
@click.option(
    "--size",
    type=Finite(0, 100, min_open=True),
    default=1.0,
    show_default=True,
    help="How many people, keys and streams of use; 1 makes some 30 rows an hour.",
)
@click.option(
    "--days", type=WholeRange(1, 4000), default=400, show_default=True, help="Its age in days."
)
@click.option("--now", metavar="WHEN", help="Stop the clock at this moment, in RFC 3339.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND",
    help="Go wrong on purpose: KIND[=SECONDS][:PROBABILITY][@ENDPOINT][#NTH][xTIMES].",
)
@click.option(
    "--discount",
    type=Finite(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Take this share off every line of the bill.",
)
@click.option(
    "--overcharge",
    type=Finite(0),
    default=0.0,
    metavar="USD",
    help="Add so many dollars to a line of each day's bill.",
)
@click.option("--list-faults", is_flag=True, help="List the kinds of faults and stop.")
def simulate(
    port: int,
    seed: int,
    latency_ms: float,
    size: float,
    days: int,
    now: str | None,
    faults: tuple[str, ...],
    discount: float,
    overcharge: float,
    list_faults: bool,
) -> None:
    """Serve a simulated organisation on 127.0.0.1 until interrupted."""
    try:
        from ..simulator import FAULTS, parse_fault, run
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    if list_faults:
        for kind, sentence in FAULTS.items():
            click.echo(f"{kind:28}{sentence}")
        return
    try:
        parsed = [parse_fault(fault) for fault in faults]
    except ValueError as error:
        raise InvalidQuery(str(error)) from None
    try:
        run(
            port=port,
            seed=seed,
            latency_ms=latency_ms,
            size=size,
            days=days,
            now=None if now is None else parse_moment(now, "--now"),
            discount=discount,
            overcharge=overcharge,
            faults=parsed,
        )
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise InvalidQuery(f"port {port} cannot be used ({why}): use --port") from None


@click.command(
    short_help="A look without a key: a simulated week.",
    epilog="""\b
Example:
  anthropic-usage demo""",
)
def demo() -> None:
    """Show a week of all three reports, from the simulator; needs no key."""
    from .tables import print_table

    today = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    week = today - 7 * DAY, today
    with (
        demo_server(seed=7, now=_noon(today)) as (key, url),
        UsageClient(key, base_url=url) as client,
        spool(None) as out,
    ):
        organization = clean(client.organization().name)
        out.write(f"A week of {organization} (simulated), {week[0]:%d %b} to {_last(week)}\n")
        workspaces = {workspace.id: clean(workspace.name) for workspace in client.workspaces()}
        usage = client.usage(*week, group_by=["model"]).collect()
        cost = client.cost(*week, group_by=["workspace_id"]).collect()
        code = client.claude_code(*week).collect()
        shown: list[tuple[Report[Any], str, str]] = [
            (usage, "model", "Tokens by model"),
            (cost, "day", "Billed dollars by day"),
            (cost, "workspace_id", "Billed dollars by workspace"),
            (code, "actor", "Claude Code by actor; its cost is an estimate of a part of the bill"),
        ]
        left_out: dict[str, None] = {}
        for report, by, title in shown:
            out.write("\n")
            rows, totals = report.by(by), report.totals()
            left_out |= dict.fromkeys(
                print_table(report.query, rows, totals, (by,), out, title, workspaces)
            )
        after(out, left_out_sentence(left_out))
        out.write(f"\n{NEXT}\n")


def _noon(day: dt.datetime) -> dt.datetime:
    """Return a fixed time of day, so that a day's demonstrations are all the same."""
    return day + DAY / 2


def _last(week: tuple[dt.datetime, dt.datetime]) -> str:
    return f"{week[1] - DAY:%d %b %Y}"
