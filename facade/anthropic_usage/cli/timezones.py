"""`--timezone`, why some commands refuse it, and what a range holds that cuts through UTC days."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from ..moments import DAY, rfc3339, utc_now
from .streams import note

if TYPE_CHECKING:
    from ..reports import Query

__all__ = ["refuse_timezone", "say_whole_days", "timezone_option"]

timezone_option = click.option(
    "--timezone",
    metavar="ZONE",
    help="Days, weeks and months of this zone's clocks, such as Europe/Berlin; from hours.",
)

_YEARS = ("2000-01-01", "2040-01-01")
"""Long enough for a zone whose days are always those of UTC."""


def refuse_timezone(command: click.Command, why: str) -> None:
    """Let a command say why it has no `--timezone`, rather than that there is no such option."""

    def refuse(context: click.Context, option: click.Parameter, zone: str | None) -> None:
        from ..engine.local import refuse_zone

        refuse_zone(zone, *_YEARS, why)

    option: Any = click.Option(
        ["--timezone"], hidden=True, expose_value=False, metavar="ZONE", callback=refuse
    )
    command.params.append(option)


def say_whole_days(query: Query, start: dt.datetime, end: dt.datetime | None) -> None:
    """Say which days are in a report whole though the range cuts through them.

    `start` and `end` are what was asked for; no end is now.
    """

    if query.width != DAY or query.timezone is not None:
        return
    edges = []
    if start != query.starting_at:
        begins = rfc3339(start.replace(microsecond=0))
        edges.append(f"all of {query.starting_at.date()}, though the range begins {begins}")
    # Of a day that is not over there is no bill, so it is in none.
    billed = not query.kind.holds or query.ending_at <= utc_now()
    if end is not None and end != query.ending_at and billed:
        last = (query.ending_at - DAY).date()
        ends = rfc3339(end.replace(microsecond=0))
        edges.append(f"all of {last}, though the range ends {ends}")
    if not edges:
        return
    why = query.kind.whole_days
    if not why:
        why, advice = "days are whole UTC days", "; --timezone or --bucket-width 1h cut finer"
    else:
        advice = ""
    note(f"{why}: you get {', and '.join(edges)}{advice}")
