"""`forecast` and `check`: what will it be, and should somebody look?"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import attrs
import click

from ..analysis.alerts import Alert, Memory
from ..analysis.budgets import Budgets, Checked, State, check
from ..analysis.forecast import BACKTEST, Forecast, forecast
from ..errors import InvalidQuery
from ..human import clean, dollars, sparkline
from ..moments import DAY, parse_moment
from ..outside import mrkdwn
from ..sinks.plain import dumps
from .answers import (
    Column,
    Output,
    answer,
    answer_options,
    console_for,
    ids_option,
    names_of,
    price_table,
    pricing_option,
    print_columns,
    read_text,
)
from .columns import write_line
from .options import source_options
from .session import Connection, note
from .strict import OutputFile, WholeRange
from .when import month_span

__all__ = ["FIRED", "check_command", "forecast_command"]

FIRED = 3
"""The exit code of a check that found something."""


@click.command(
    "forecast",
    epilog="""\b
Examples:
  anthropic-usage forecast
  anthropic-usage forecast --by workspace_id
  anthropic-usage forecast --month 2026-03 --level 95 --json
  anthropic-usage forecast --demo

With less than a week of bills there is too little history to project anything from.""",
)
@click.option("--month", metavar="YYYY-MM", help="The month to project.  [default: this one]")
@click.option(
    "--by", type=click.Choice(["workspace_id", "model"]), help="A projection for each of these too."
)
@click.option(
    "--level",
    type=WholeRange(50, 99),
    default=80,
    show_default=True,
    metavar="PERCENT",
    help="How often the truth should lie in the interval.",
)
@ids_option
@answer_options("table", "json", "csv")
@source_options
def forecast_command(
    connection: Connection, output: Output, month: str | None, by: str | None, level: int, ids: bool
) -> None:
    """Project the month's bill to its end, with an interval."""
    if month is not None:
        month_span(month)
    with connection.source() as source:
        directory = names_of(source, ids or by != "workspace_id", "workspaces")
        since = getattr(source, "first_day", None)  # what a lake does not hold cannot be asked for
        results = forecast(source, month=month, by=by, level=level / 100, since=since)
    rows = []
    for place, result in enumerate(results):
        named = result.name
        if place and by == "workspace_id":
            named = result.id or "default workspace" if ids else directory.workspace(result.id)
        elif place and result.id is None:
            named = "charges without a model"
        rows.append(_forecast_row(named, result, place))

    first = results[0]

    def show(out: IO[str]) -> None:
        columns = [
            Column(by or "forecast", [row["name"] for row in rows]),
            Column("so far", [dollars(row["billed_usd"]) for row in rows], right=True),
            Column("at the end", [_projected(row) for row in rows], right=True),
            Column(f"{level}% interval", [_interval(row) for row in rows], right=True),
            Column("last four weeks", [_last_weeks(result) for result in results]),
        ]
        print_columns(columns, out, f"{first.first_day} to {first.last_day}, {_billed(first)}")
        write_line(out, _how(first))

    document = {"level": level, "backtest": BACKTEST, "forecasts": rows}
    answer(output, document, show, rows)
    for place, result in enumerate(results):
        if result.rest.note:
            note(f"{rows[place]['name']}: {result.rest.note}" if place else result.rest.note)


def _projected(row: dict[str, Any]) -> str:
    return "too little history" if row["projected_usd"] is None else dollars(row["projected_usd"])


def _interval(row: dict[str, Any]) -> str:
    low, high = row["low_usd"], row["high_usd"]
    return "-" if low is None or low == high else f"{dollars(low)} to {dollars(high)}"


def _billed(result: Forecast) -> str:
    if result.billed_until <= result.first_day:
        return "none of it billed yet"
    return f"billed up to and with {result.billed_until - DAY}"


def _how(result: Forecast) -> str:
    """Say the method, and how far it can be trusted."""
    if result.rest.method in ("nothing left", "too little history"):
        return result.rest.method
    return f"{result.rest.method}; {BACKTEST}"


def _forecast_row(named: str, result: Forecast, place: int) -> dict[str, Any]:
    return {
        "name": named,
        "id": result.id,
        "total": place == 0,
        "first_day": result.first_day,
        "last_day": result.last_day,
        "billed_before": result.billed_until,
        "billed_until": result.billed_until,  # the same day, by its older name
        "billed_usd": result.billed,
        "projected_usd": result.middle,
        "low_usd": result.low,
        "high_usd": result.high,
        "days_left": result.rest.days,
        "method": result.rest.method,
        "note": result.rest.note,
    }


def _last_weeks(result: Forecast) -> str:
    return sparkline([amount for _, amount in result.history[-28:]])


@click.command(
    "check",
    short_help="Check budgets, jumps and the cache rate.",
    epilog="""\b
Examples:
  anthropic-usage check --budget budgets.yml
  anthropic-usage check --budget budgets.yml --json
  anthropic-usage check --demo                         jumps and the cache rate only

\b
Once a day, into Slack, each thing once; the job ends with the exit code of the check:
  anthropic-usage check --budget budgets.yml --state check.json --slack > message; code=$?
  if [ -s message ]; then curl -d @message "$SLACK_WEBHOOK"; fi; exit $code

budgets.yml:
  budgets:
    - {name: everything, amount_usd: 12000, warn_at: [80, 100]}
    - {workspace: Support, amount_usd: 900, period: week}
    - {api_key: nightly-batch, amount_usd: 40.50, period: day, forecast: false}
    - {model: claude-opus-5, amount_usd: 2000}
  jump: {factor: 2, usd: 25}      a day twice its weekday's usual and 25 dollars above; or off
  cache_drop: 10                  percentage points in a week; or off

Exit code 3 says that something fired, 0 that nothing did (or nothing new), 1 that something could
not be judged.""",
)
@click.option(
    "--budget", "budget_file", type=click.Path(dir_okay=False), help="Budgets and limits, in YAML."
)
@click.option(
    "--state",
    "state_file",
    type=OutputFile(),
    metavar="FILE",
    help="Remember here what was told, and tell it once, again when it is worse, and its end; days "
    "without a run are made up for. One file for each file of budgets.  [default with --from-lake: "
    "ROOT.check.json]",
)
@click.option("--no-state", is_flag=True, help="Remember nothing: tell all of the last billed day.")
@click.option("--slack", is_flag=True, help="Print what Slack's webhooks take, if anything.")
@click.option("--quiet", is_flag=True, help="Print nothing if there is nothing to tell.")
@click.option("--today", metavar="YYYY-MM-DD", help="Check as of this day.  [default: today]")
@pricing_option
@ids_option
@answer_options("table", "json")
@source_options
@click.pass_context
def check_command(
    context: click.Context,
    connection: Connection,
    output: Output,
    budget_file: str | None,
    state_file: str | None,
    no_state: bool,
    slack: bool,
    quiet: bool,
    today: str | None,
    pricing_json: str | None,
    ids: bool,
) -> None:
    """Check budgets, jumps and the cache rate; exit code 3 when something fires."""
    if no_state and state_file is not None:
        raise InvalidQuery("give --state FILE or --no-state")
    budgets = Budgets()
    if budget_file is not None:
        text = read_text(budget_file, "--budget")
        try:
            budgets = Budgets.parse(text)
        except InvalidQuery as error:
            raise InvalidQuery(f"--budget: {budget_file}: {error}") from None
    table = price_table(pricing_json)
    day = parse_moment(today, "--today").date() if today else None
    with connection.source() as source:
        memory = None if no_state else _memory(state_file, source)
        directory = names_of(source, ids, "workspaces", "api_keys")
        found = check(
            source,
            budgets,
            directory=directory,
            prices=table,
            today=day,
            since=getattr(source, "first_day", None),
            unjudged_from=None if memory is None else memory.judged_before,
            begun=None if memory is None else memory.begun,
        )
    # Without a memory nobody knows whether what is over was told.
    alerts, over = (found.alerts, ()) if memory is None else memory.news(found.alerts, found.over)
    result = attrs.evolve(found, alerts=alerts, over=over)

    def show(out: IO[str]) -> None:
        if slack:
            out.write(f"{dumps(_slack(result))}\n")
        else:
            _print(result, out)

    if alerts or over or not (slack or quiet):
        answer(output, {"fired": bool(alerts), **_document(result)}, show)
        if output.format == "table" and not slack:
            for sentence in result.notes:
                note(sentence)
    for sentence in result.unjudged:
        note(sentence)
    if memory is not None:
        _keep(memory, result, asked=state_file is not None)
    context.exit(FIRED if alerts else int(bool(result.unjudged)))


def _memory(state_file: str | None, source: Any) -> Memory | None:
    """Return what was told before: of the file asked for, or of that beside a lake."""
    if state_file is not None:
        return Memory.read(Path(state_file))
    root: Path | None = getattr(getattr(source, "storage", None), "local", None)
    return None if root is None else Memory.read(root.with_name(f"{root.name}.check.json"))


def _keep(memory: Memory, result: Checked, asked: bool) -> None:
    try:
        memory.keep(result.billed_until)
    except OSError as error:
        if asked:
            raise
        note(f"what was told is not remembered: cannot write {memory.path}: {error.strerror}")


def _document(result: Checked) -> dict[str, Any]:
    return {
        "billed_before": result.billed_until,
        "billed_until": result.billed_until,  # the same day, by its older name
        "alerts": [_alert(alert) for alert in result.alerts],
        "over": [_alert(alert) for alert in result.over],
        "budgets": [_state(state) for state in result.states],
        "notes": result.notes,
        "unjudged": result.unjudged,
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "kind": alert.kind,
        "subject": alert.subject,
        "id": alert.id,
        "day": alert.day,
        "threshold": alert.threshold,
        "amount": alert.amount,
        "unit": alert.unit,
        "severity": alert.severity,
        "causes": alert.causes,
        "message": alert.message,
    }


def _state(state: State) -> dict[str, Any]:
    budget = state.budget
    return {
        "name": budget.name,
        "subject": budget.subject,
        "value": budget.value,
        "period": budget.period,
        "first_day": state.first_day,
        "last_day": state.last_day,
        "complete": state.complete,
        "amount_usd": budget.amount,
        "spent_usd": state.spent,
        "spent_low_usd": state.spent_low,
        "spent_high_usd": state.spent_high,
        "estimated": state.estimated,
        "projected_usd": state.projected,
        "projected_by": state.rest.method,
    }


def _print(result: Checked, out: IO[str]) -> None:
    if result.states:
        states = result.states
        print_columns(
            [
                Column("budget", [state.budget.name for state in states]),
                Column("period", [_period(state) for state in states]),
                Column("amount", [dollars(state.budget.amount) for state in states], right=True),
                Column("spent", [_spent(state) for state in states], right=True),
                Column("", [f"{state.share:.0f}%" for state in states], right=True),
                Column("at the end", [_at_the_end(state) for state in states], right=True),
            ],
            out,
        )
        out.write("\n")
    console = console_for(out)
    with console.capture() as capture:
        for alert in result.alerts:
            text = f"{alert.kind:<9} {clean(alert.message)}"
            console.print(text, style="bold red", markup=False, soft_wrap=True)
        for alert in result.over:
            console.print(f"{'over':<9} {clean(alert.message)}", markup=False, soft_wrap=True)
        if not (result.alerts or result.over):
            console.print("nothing fired", markup=False)
    out.write(capture.get())


def _period(state: State) -> str:
    if state.first_day == state.last_day:
        return f"{state.first_day}"
    return f"{state.first_day} to {state.last_day}"


def _spent(state: State) -> str:
    low, high = dollars(state.spent_low), dollars(state.spent_high)
    return dollars(state.spent) if low == high else f"{low} to {high}"


def _at_the_end(state: State) -> str:
    return "too little history" if state.projected is None else dollars(state.projected)


def _slack(result: Checked) -> dict[str, Any]:
    """Return a message; texts from outside cannot mention anybody or become links."""
    counts = [f"{len(result.alerts)} to look at"] if result.alerts else []
    counts += [f"{len(result.over)} over"] if result.over else []
    heading = f"Claude spend: {', '.join(counts)}"
    lines = [f"• *{alert.kind}*: {mrkdwn(alert.message)}" for alert in result.alerts]
    lines += [f"• {mrkdwn(alert.message)}" for alert in result.over]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": heading}}
    ]
    # A block takes 3,000 characters, a message 50 blocks.
    for line in lines[:40]:
        blocks.append(
            {"type": "section", "text": {"type": "mrkdwn", "text": line[:2900], "verbatim": True}}
        )
    if len(lines) > 40:
        more = {"type": "mrkdwn", "text": f"and {len(lines) - 40} more"}
        blocks.append({"type": "section", "text": more})
    notes = mrkdwn("; ".join(result.notes))[:2900]
    blocks.append(
        {"type": "context", "elements": [{"type": "mrkdwn", "text": notes, "verbatim": True}]}
    )
    return {"text": heading, "blocks": blocks}
