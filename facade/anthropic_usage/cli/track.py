"""`anthropic-usage-track`: a day's usage and cost into a lake; made for cron."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from ..errors import InvalidQuery
from ..human import count, dollars
from ..moments import DAY, parse_moment, utc_now
from .main import run_command
from .options import Finite, connection_options
from .session import Connection, note
from .streams import is_terminal
from .strict import WholeRange
from .timezones import refuse_timezone

if TYPE_CHECKING:
    from ..lake.tracker import Tracked

__all__ = ["DEFAULT_ROOT", "main", "track"]

DEFAULT_ROOT = "~/datalake.me"


@click.command(
    "anthropic-usage-track",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  anthropic-usage-track                                  today so far (UTC)
  anthropic-usage-track --date 2026-02-11
  anthropic-usage-track --datalake-root s3://bucket/lake
  anthropic-usage-track --since 2026-01-01 --until 2026-03-01
  anthropic-usage-track --catch-up 3                     what is missing, and the last 3 days again
  anthropic-usage-track --demo --datalake-root /tmp/lake --date 2026-11-10

\b
Exit codes: 0 done (also if nothing was new), 1 an error of the API or the lake, or a day that was
left incomplete (its usage is there), 2 a wrong question, 130 interrupted. Run again after any of
them: a day's snapshot is there wholly or not at all.""",
)
@click.option("--date", "day", metavar="YYYY-MM-DD", help="The day, UTC.  [default: today]")
@click.option("--since", metavar="YYYY-MM-DD", help="Backfill from this day on.")
@click.option("--until", metavar="YYYY-MM-DD", help="Backfill up to this day, exclusive; today.")
@click.option(
    "--catch-up",
    type=WholeRange(0, 400),
    metavar="N",
    help="Track what is missing or was not over, and the last N days again.",
)
@click.option(
    "--datalake-root",
    "root",
    metavar="ROOT",
    help=f"A folder, or a URL: s3://, gs://, abfss://.  [default: {DEFAULT_ROOT}]",
)
@click.option(
    "--pricing-json",
    metavar="FILE|JSON",
    help="Prices that go first: {model: {input_per_million: 3, output_per_million: 15}}, in USD.",
)
@click.option("--compress", is_flag=True, help="Write raw documents as .json.zst.")
@click.option("--dry-run", is_flag=True, help="Read, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a day.")
@click.option(
    "--lock-timeout",
    type=Finite(0, 86_400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another tracker on this root.",
)
@click.version_option(package_name="anthropic-usage", prog_name="anthropic-usage-track")
@connection_options
def track(
    connection: Connection,
    day: str | None,
    since: str | None,
    until: str | None,
    catch_up: int | None,
    root: str | None,
    pricing_json: str | None,
    compress: bool,
    dry_run: bool,
    as_json: bool,
    lock_timeout: float,
) -> None:
    """Track usage and cost: raw snapshots and Parquet tables, day by day, never lost or doubled.

    Re-running writes nothing where nothing changed. ANTHROPIC_AGENT_MAP_JSON='{"key id": "label"}'
    labels the rows of API keys; it is a map as chargeback takes one.
    """
    from ..analysis.owners import OwnerMap
    from ..lake.snapshot import MANIFESTS
    from ..lake.storage import Storage
    from ..lake.tracker import Tracker, missing_days, sweep, vain_days
    from ..lake.upkeep import lost_manifests

    overrides = _overrides(pricing_json)
    agents = {who: owner.team for who, owner in OwnerMap.from_environment().entries.items()}
    if root is not None and not root.strip():
        raise InvalidQuery("--datalake-root is empty: give a folder or a URL, or leave it out")
    if connection.demo and root is None:
        raise InvalidQuery(
            "--demo invents its data: give it a lake of its own, --datalake-root DIR"
        )
    storage = Storage(DEFAULT_ROOT if root is None else root)
    today = utc_now().date()
    if sum(given is not None for given in (day, since, catch_up)) > 1 and not (
        catch_up is not None and since is not None and day is None
    ):
        raise InvalidQuery("give one of --date, --since and --catch-up")
    if until is not None and since is None:
        raise InvalidQuery("--until needs --since")
    if until is not None and catch_up is not None:
        raise InvalidQuery("--catch-up goes up to today: leave --until out")
    first = None if since is None else parse_moment(since, "--since").date()
    if first is not None and first > today:
        raise InvalidQuery(f"{first} has not begun (it is {today} in UTC)")
    wanted = None if catch_up is not None else _days(day, first, until, today)
    if as_json and (sys.stdout is None or sys.stdout.closed):
        raise InvalidQuery("stdout is closed: leave --json out, or say where it goes")
    # What writes nothing needs no lock, and makes no folder for it.
    lock = contextlib.nullcontext() if dry_run else storage.lock(lock_timeout)
    with connection.client() as client, lock:
        if not dry_run:
            sweep(storage)
        new = not storage.list(MANIFESTS)
        days = wanted or missing_days(storage, today, reread=catch_up or 0, since=first)
        if len(days) > 31 and not is_terminal(sys.stderr):
            note(f"tracking {len(days)} days, {days[0]} to {days[-1]}")
        tracker = Tracker(
            client,
            storage,
            overrides=overrides,
            agents=agents,
            compressed=compress,
            dry_run=dry_run,
        )
        failed = False
        if catch_up is not None:
            vain = vain_days(tracker, storage, days, today - (catch_up + 1) * DAY)
            days = [missing for missing in days if missing not in vain.days]
            for what, why in vain.why.items() if vain.days else ():
                note(f"{days_of(len(vain.days))} still without {what}: {why}")
            failed = bool(vain.days) and "cost" in vain.why
        written = 0
        alone = len(days) == 1
        with _Bar(connection, len(days)) as bar:
            for done in tracker.track(days):
                written += done.written
                failed = failed or done.failed
                bar(done.day)
                if as_json:
                    click.echo(json.dumps(_plain(done)))
                elif alone:
                    _print(done)
                if as_json or not alone:
                    for sentence in done.notes if done.missing else ():
                        note(sentence)
        if new and since is None:
            _greet(storage, lost_manifests(storage), days)
        for kind, why in tracker.nameless.items():
            note(f"no names of {kind.replace('_', ' ')}: {why}")
    would = "would write" if dry_run else "wrote"
    note(
        f"{utc_now():%Y-%m-%dT%H:%M:%SZ} {would} {written} of {len(days)} days into {storage}"
        f"{'' if written else ': nothing was new'}"
    )
    click.get_current_context().exit(1 if failed else 0)


def _days(
    day: str | None, first: dt.date | None, until: str | None, today: dt.date
) -> list[dt.date]:
    """Return the days that are asked for; raises InvalidQuery if there is none, or one to come."""
    if first is None:
        days = [today if day is None else parse_moment(day, "--date").date()]
    else:
        end = today + DAY if until is None else parse_moment(until, "--until").date()
        days = [first + step * DAY for step in range((end - first).days)]
        if not days:
            raise InvalidQuery(f"there is no day from {first} up to {end}")
    if days[-1] > today:
        to_come = max(days[0], today + DAY)
        raise InvalidQuery(f"{to_come} has not begun (it is {today} in UTC)")
    return days


def _greet(storage: Any, lost: int, days: list[dt.date]) -> None:
    """Say what a lake without a snapshot is."""
    if lost:
        note(
            f"{storage} has raw documents of {days_of(lost)} and no manifests: restore these, or "
            "run anthropic-usage lake rebuild; nothing is removed"
        )
    else:
        past = days[0].replace(month=1, day=1)
        note(f"a new lake, from {days[0]} on: anthropic-usage-track --since {past} fills the past")


def days_of(number: int) -> str:
    """Return a number of days in words."""
    return f"{count(number)} day{'' if number == 1 else 's'}"


class _Bar:
    """A progress bar on a terminal, for more than a few days."""

    def __init__(self, connection: Connection, total: int) -> None:
        self._progress: Any = None
        if connection.progress and is_terminal(sys.stderr) and total > 3:
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("tracking", total=total)

    def __enter__(self) -> _Bar:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, day: dt.date) -> None:
        if self._progress is not None:
            self._progress.update(self._task, advance=1, description=f"tracking {day}")


def _overrides(pricing_json: str | None) -> Mapping[str, Any]:
    """Return the prices of --pricing-json, checked."""
    if pricing_json is None:
        return {}
    from ..documents import from_json
    from .answers import read_prices

    stated: dict[str, Any] = from_json(read_prices(pricing_json))
    return stated


def _print(done: Tracked) -> None:
    """Print the daily summary."""
    from .columns import Column, print_columns

    usage = done.totals["model_daily"]
    low, high = (Decimal(usage[f"estimated_cost{end}_usd"]) for end in ("_low", ""))
    estimate = _estimate(low, high)
    if usage["unpriced_tokens"]:
        estimate += f", and {count(usage['unpriced_tokens'])} tokens without a price"
    cost = done.totals.get("cost_daily")
    billed = dollars(Decimal(cost["amount_usd"])) if cost else "not there yet"
    if not cost and "cost" in done.missing:
        billed = "not known"
    click.echo(
        f"{done.day} (UTC){'' if done.complete else ', so far'}\n"
        f"  input tokens        {usage['input_tokens']:,}\n"
        f"  output tokens       {usage['output_tokens']:,}\n"
        f"  estimated cost      {estimate}\n"
        f"  API-reported cost   {billed}\n"
    )
    models = sorted(
        done.models, key=lambda row: (-(row["estimated_cost_usd"] or 0), str(row["model"]))
    )
    if models and sys.stdout is not None:
        print_columns(
            [
                Column("model", [str(row["model"]) for row in models]),
                Column("input", [count(row["input_tokens"]) for row in models], right=True),
                Column("output", [count(row["output_tokens"]) for row in models], right=True),
                Column(
                    "estimated",
                    [
                        _estimate(row["estimated_cost_low_usd"], row["estimated_cost_usd"])
                        for row in models
                    ],
                    right=True,
                ),
            ],
            sys.stdout,
        )
    if usage["unpriced_tokens"]:
        beside = done.unpriced_searches_usd
        note(
            f"{usage['unpriced_tokens']:,} tokens have no price: see --pricing-json"
            f"{f'; their web searches cost {dollars(beside)}' if beside else ''}"
        )
    if usage["unbilled_tokens"]:
        note(f"{usage['unbilled_tokens']:,} tokens are of tiers that are not billed by the token")
    for sentence in done.notes:
        note(sentence)


def _estimate(low: Decimal | None, high: Decimal | None) -> str:
    if low is None or high is None:
        return "no price"
    return dollars(high) if low == high else f"{dollars(low)} to {dollars(high)}"


def _plain(done: Tracked) -> dict[str, Any]:
    return {
        "date": str(done.day),
        "written": done.written,
        "complete": done.complete,
        "totals": {name: dict(sums) for name, sums in done.totals.items()},
        "missing": dict(done.missing),
        "notes": list(done.notes),
    }


refuse_timezone(track, "what is tracked is whole UTC days")


def main(args: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(track, args, "anthropic-usage-track")


if __name__ == "__main__":
    sys.exit(main())
