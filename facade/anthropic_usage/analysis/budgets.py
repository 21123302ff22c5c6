"""Budgets, and what should make somebody look: overspending, jumps, a cache that fell silent."""

from __future__ import annotations

import datetime as dt
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from ..directory import Directory
from ..errors import InvalidQuery
from ..human import dollars
from ..moments import DAY, floor, monday, next_month, utc_now
from ..money import ZERO, add, times, total
from ..reports import CostRow, UsageRow
from .budget_file import Budget, Budgets
from .forecast import Projection, project
from .priced import priced_usage
from .prices import PriceTable
from .source import Source

__all__ = ["Alert", "Budget", "Budgets", "Checked", "State", "check"]

_HISTORY = 84 * DAY
_WEEKS = 4


@attrs.frozen(kw_only=True)
class State:
    """How a budget stands, in US dollars."""

    budget: Budget
    first_day: dt.date
    last_day: dt.date
    spent: Decimal
    estimated: bool
    """Whether it is usage at list prices, because the bill does not name keys."""
    rest: Projection

    @property
    def projected(self) -> Decimal | None:
        """What the period will most likely have cost; None if there is too little history."""
        return None if self.rest.middle is None else add(self.spent, self.rest.middle)


@attrs.frozen(kw_only=True)
class Alert:
    """Something that somebody should look at."""

    kind: str
    """`budget`, `forecast`, `jump` or `cache`."""
    subject: str
    message: str


@attrs.frozen(kw_only=True)
class Checked:
    """What a check found."""

    billed_until: dt.date
    states: tuple[State, ...]
    alerts: tuple[Alert, ...]
    notes: tuple[str, ...]


def check(
    source: Source,
    budgets: Budgets,
    *,
    directory: Directory | None = None,
    prices: PriceTable | None = None,
    today: dt.date | None = None,
    since: dt.date | None = None,
) -> Checked:
    """Check budgets, the last billed day against its weekdays before, and the cache rate.

    Reads twelve weeks of the bill, but nothing before `since`. Raises InvalidQuery for a budget of
    something unknown.
    """
    today = today or utc_now().date()
    directory = directory or Directory()
    prices = prices or PriceTable.bundled()
    begun = min(today.replace(day=1), monday(today))
    start = begun - _HISTORY
    if since is not None:
        start = min(begun, max(start, since))
    bill = source.cost(start, today + DAY, group_by=("workspace_id", "description"))
    lines = bill.by("day", "workspace_id", "model")
    settled = bill.settled_until or bill.query.ending_at
    until = min(today, floor(settled, DAY).date())
    lines = [line for line in lines if line.day < until]
    wants_keys = any(budget.subject == "api_key" for budget in budgets.budgets)
    usage = priced_usage(source, start, today + DAY, by="api_key_id", prices=prices)
    usage = [row for row in usage if row.day < until]
    states = [_state(budget, lines, usage, directory, prices, until) for budget in budgets.budgets]
    alerts = [alert for state in states for alert in _overspent(state)]
    alerts += _jumps(lines, budgets, directory, until)
    alerts += _cache(usage, budgets, until)
    notes = [f"billed up to {until - DAY}"]
    if wants_keys:
        notes.append("budgets of API keys count usage at list prices: the bill names no keys")
    notes += dict.fromkeys(state.rest.note for state in states if state.rest.note)
    return Checked(
        billed_until=until, states=tuple(states), alerts=tuple(alerts), notes=tuple(notes)
    )


def _state(
    budget: Budget,
    lines: Sequence[CostRow],
    usage: Sequence[UsageRow],
    directory: Directory,
    prices: PriceTable,
    until: dt.date,
) -> State:
    daily: dict[dt.date, Decimal] = defaultdict(lambda: ZERO)
    known = False
    if budget.subject == "api_key":
        for row in usage:
            if budget.value in (row.api_key_id, directory.api_key(row.api_key_id)):
                known = True
                daily[row.day] = add(daily[row.day], prices.cost(row).high)
    else:
        for line in lines:
            if _concerns(budget, line, directory):
                known = True
                daily[line.day] = add(daily[line.day], line.amount_usd)
    if budget.subject is not None and not known and not _exists(budget, directory):
        raise InvalidQuery(
            f"budget {budget.name!r}: no {budget.subject.replace('_', ' ')} {budget.value!r} has "
            "cost anything in twelve weeks, and none has that name"
        )
    first, last = _period(budget.period, until)
    history = _filled(daily, until)
    return State(
        budget=budget,
        first_day=first,
        last_day=last,
        spent=total(amount for day, amount in daily.items() if first <= day <= last),
        estimated=budget.subject == "api_key",
        rest=project(history, (last + DAY - max(until, first)).days, until=max(until, first)),
    )


def _concerns(budget: Budget, line: CostRow, directory: Directory) -> bool:
    if budget.subject is None:
        return True
    if budget.subject == "model":
        return line.model == budget.value
    return budget.value in (line.workspace_id, directory.workspace(line.workspace_id))


def _exists(budget: Budget, directory: Directory) -> bool:
    names: Mapping[str, str] = {
        "workspace": directory.workspaces,
        "api_key": directory.api_keys,
    }.get(budget.subject or "", {})
    return budget.value in names or budget.value in names.values()


def _period(period: str, until: dt.date) -> tuple[dt.date, dt.date]:
    """Return the first and the last day of the period that is checked.

    A day is the last one billed; a month or week is the one that is not over, or has just ended.
    """
    if period == "day":
        return until - DAY, until - DAY
    if period == "week":
        first = monday(until)
        return first, first + 6 * DAY
    first = until.replace(day=1)
    return first, next_month(first) - DAY


def _filled(daily: Mapping[dt.date, Decimal], until: dt.date) -> list[Decimal]:
    if not daily:
        return []
    first = min(daily)
    return [daily.get(first + step * DAY, ZERO) for step in range((until - first).days)]


def _overspent(state: State) -> Iterable[Alert]:
    budget = state.budget
    reached = [
        percent
        for percent in budget.warn_at
        if state.spent >= times(budget.amount, Decimal(percent) / 100)
    ]
    about = "is estimated to have used" if state.estimated else "was billed"
    span = f"{state.first_day} to {state.last_day}"
    if reached:
        yield Alert(
            kind="budget",
            subject=budget.name,
            message=(
                f"{budget.name} {about} {dollars(state.spent)} of {dollars(budget.amount)} "
                f"({state.spent / budget.amount:.0%}) in {span}, past {max(reached)}%"
            ),
        )
    projected = state.projected
    if budget.on_forecast and projected and state.spent < budget.amount < projected:
        yield Alert(
            kind="forecast",
            subject=budget.name,
            message=(
                f"{budget.name} is on the way to {dollars(projected)} of "
                f"{dollars(budget.amount)} in {span}"
            ),
        )


def _jumps(
    lines: Sequence[CostRow], budgets: Budgets, directory: Directory, until: dt.date
) -> list[Alert]:
    """Compare the last billed day with the same weekday of the weeks before."""
    factor = budgets.jump_factor
    if factor is None:
        return []
    series: dict[str, dict[dt.date, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
    for line in lines:
        names = ["everything", f"workspace {directory.workspace(line.workspace_id)}"]
        if line.model:
            names.append(f"model {line.model}")
        for name in names:
            series[name][line.day] = add(series[name][line.day], line.amount_usd)
    alerts = []
    day = until - DAY
    for name, days in series.items():
        usual = statistics.median(
            days.get(day - 7 * week * DAY, ZERO) for week in range(1, _WEEKS + 1)
        )
        amount = days.get(day, ZERO)
        if amount - usual >= budgets.jump_usd and amount > usual * factor:
            message = (
                f"{name} was billed {dollars(amount)} on {day:%A}, {day}; the four "
                f"{day:%A}s before it were at {dollars(usual)}"
            )
            alerts.append(Alert(kind="jump", subject=name, message=message))
    return alerts


def _cache(usage: Sequence[UsageRow], budgets: Budgets, until: dt.date) -> list[Alert]:
    """Compare the cache rate of the last seven days with the four weeks before."""
    if budgets.cache_drop is None:
        return []
    now = _cache_rate(usage, until - 7 * DAY, until)
    before = _cache_rate(usage, until - 35 * DAY, until - 7 * DAY)
    if now is None or before is None or before - now < budgets.cache_drop:
        return []
    message = (
        f"only {now:.1f}% of input was read from the cache in the last seven days; it was "
        f"{before:.1f}% in the four weeks before"
    )
    return [Alert(kind="cache", subject="everything", message=message)]


def _cache_rate(usage: Sequence[UsageRow], start: dt.date, end: dt.date) -> Decimal | None:
    rows = [row for row in usage if start <= row.day < end]
    everything = sum(row.input_tokens for row in rows)
    reads = sum(row.cache_read_input_tokens for row in rows)
    return Decimal(100 * reads) / everything if everything else None
