"""Budgets, and what should make somebody look: overspending, jumps, a cache that fell silent."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from ..directory import Directory
from ..errors import InvalidQuery
from ..human import dollars, several
from ..moments import DAY, monday, next_month, utc_now
from ..money import ZERO, absolute, add, divide, subtract, times, total
from ..reports import CostRow, UsageRow
from .alerts import Alert
from .budget_file import Budget, Budgets
from .days import LATE, read_bill
from .forecast import Projection, project
from .joined import LINE, KeyUse, join_models
from .jumps import EVERYTHING, WORSE, Event, Subject, events
from .priced import read_priced_usage
from .prices import KINDS, PriceTable, add_costs
from .source import Source, optional, reason

__all__ = ["Alert", "Budget", "Budgets", "Checked", "State", "check"]

_HISTORY = 84 * DAY
_FURTHER = 50
"""Past the last percentage that warns, a budget is told again at each of so many."""
_MORE = Decimal("1.25")
"""A projection is told again when it has grown so much."""
_BELOW = Decimal("0.95")
"""A projection of less than this share of its budget is over."""
_CACHE_DAYS = 7
"""Days with input that a cache rate must be of."""


@attrs.frozen(kw_only=True)
class State:
    """How a budget stands in one of its periods, in US dollars."""

    budget: Budget
    first_day: dt.date
    last_day: dt.date
    spent: Decimal
    spent_low: Decimal
    spent_high: Decimal
    """An interval where the bill can be split in several ways, else `spent`."""
    estimated: bool
    """Whether the bill does not say it, and was split by use: it names no keys."""
    complete: bool
    """Whether every day of the period has its bill."""
    rest: Projection

    @property
    def projected(self) -> Decimal | None:
        """What the period will most likely have cost; None if there is too little history."""
        return None if self.rest.middle is None else add(self.spent, self.rest.middle)

    @property
    def share(self) -> Decimal:
        """What is spent, in percent of the budget."""
        return divide(times(self.spent, 100), self.budget.amount)


@attrs.frozen(kw_only=True)
class Checked:
    """What a check found."""

    billed_until: dt.date
    """The first day that is not billed."""
    states: tuple[State, ...]
    """The budgets in the periods that were judged: of each the latest, and any that has ended."""
    alerts: tuple[Alert, ...]
    over: tuple[Alert, ...]
    """What is over, if it ever was: a `Memory` tells which of it was told."""
    notes: tuple[str, ...]
    unjudged: tuple[str, ...] = ()
    """Sentences on what could not be judged for want of data."""


def check(
    source: Source,
    budgets: Budgets,
    *,
    directory: Directory | None = None,
    prices: PriceTable | None = None,
    today: dt.date | None = None,
    since: dt.date | None = None,
    unjudged_from: dt.date | None = None,
    begun: dt.date | None = None,
) -> Checked:
    """Check budgets, billed days against what is usual, and the cache rate.

    Judged are the last billed day and the periods it lies in; with `unjudged_from`, every billed
    day from that one on and every period these lie in, so a run makes up for those that were
    missed. Periods of the days whose bill may have been late are judged again too, but none that
    ended before `begun`. Reads twelve weeks more of the bill, but nothing before `since`.

    Raises InvalidQuery for a budget of something unknown.
    """
    today = today or utc_now().date()
    directory = directory or Directory()
    prices = prices or PriceTable.bundled()
    missed = min(unjudged_from or today, today - DAY)
    earliest = missed - LATE
    start = min(earliest.replace(day=1), monday(earliest)) - _HISTORY
    if since is not None:
        start = min(today, max(start, since))
    bill = read_bill(source, start, today + DAY, by=LINE)
    until = min(today, bill.days.billed_until.date())
    lines = [line for line in bill.lines if line.day < until]
    usage, refused = optional(
        lambda: read_priced_usage(source, start, today + DAY, by="api_key_id", prices=prices), None
    )
    rows = None if usage is None else [row for row in usage if row.day < until]
    if until <= start:
        none = "no day has a bill yet: nothing is judged"
        return Checked(billed_until=until, states=(), alerts=(), over=(), notes=(none,))
    books = _Books(source, start, until, lines, _charges(lines), rows, directory, prices)
    notes = [f"billed up to and with {until - DAY}"]
    late = [day for day in bill.days.late if day < today]
    if late:
        notes.append(f"the bill of {' and '.join(map(str, late))} is late, and can still come")
    unjudged = []
    if refused is not None:
        unjudged.append(
            f"the cache rate was not judged, the usage could not be read: {reason(refused)}"
        )
    judged = max(start, min(until - DAY, unjudged_from or until))
    again = judged if unjudged_from is None else max(judged - LATE, begun or judged, start)
    states: list[State] = []
    for budget in budgets.budgets:
        if budget.subject == "api_key" and rows is None:
            unjudged.append(f"budget {budget.name!r} was not judged: it needs the usage")
            continue
        amounts = books.of(budget)
        notes += amounts.notes
        for first, last in _periods(budget.period, min(again, judged), until):
            state = _state(budget, amounts, first, last, until)
            states.append(state)
            notes += books.unpriced(state)
            if first < start:
                unjudged.append(
                    f"budget {budget.name!r} holds {start} and later only: what was billed from "
                    f"{first} on is not known"
                )
    alerts = [alert for state in states for alert in _overspent(state, until)]
    over = [alert for state in states for alert in _ended(state, until)]
    for event in _jumps(books, budgets):
        alerts += _jumped(event, judged)
        over += _usual_again(event, judged)
    if rows is not None:
        alerts += _cache(rows, budgets, until)
        over += _cache_recovered(rows, budgets, until)
    notes += (state.rest.note for state in states if state.rest.note)
    return Checked(
        billed_until=until,
        states=tuple(states),
        alerts=tuple(alerts),
        over=tuple(over),
        notes=tuple(dict.fromkeys(notes)),
        unjudged=tuple(dict.fromkeys(unjudged)),
    )


Daily = Mapping[dt.date, Decimal]


@attrs.frozen
class _Charge:
    """What a workspace was billed for a model on a day, in US dollars."""

    day: dt.date
    workspace_id: str | None
    model: str | None
    amount: Decimal


def _charges(lines: Iterable[CostRow]) -> list[_Charge]:
    sums: dict[tuple[dt.date, str | None, str | None], Decimal] = {}
    for line in lines:
        key = (line.day, line.workspace_id, line.model)
        sums[key] = add(sums.get(key, ZERO), line.amount_usd)
    return [_Charge(*key, amount) for key, amount in sums.items()]


@attrs.frozen(kw_only=True)
class _Amounts:
    """What a budget's subject cost by day, and between what it lies."""

    daily: Daily
    low: Daily
    high: Daily
    notes: tuple[str, ...] = ()

    @classmethod
    def exact(cls, daily: Daily, *notes: str) -> _Amounts:
        return cls(daily=daily, low=daily, high=daily, notes=notes)


@attrs.define
class _Books:
    """The bill, and the use it bills."""

    source: Source
    start: dt.date
    until: dt.date
    lines: Sequence[CostRow]
    charges: Sequence[_Charge]
    rows: Sequence[UsageRow] | None
    directory: Directory
    prices: PriceTable
    _key_use: KeyUse | None = None

    def of(self, budget: Budget) -> _Amounts:
        """Return what a budget's subject cost; raises InvalidQuery if there is no such subject."""
        if budget.subject == "api_key":
            return self._key(budget)
        if budget.subject == "model":
            return self._model(budget)
        if budget.subject == "workspace":
            return self._workspace(budget)
        return _Amounts.exact(_daily((one.day, one.amount) for one in self.charges))

    def _workspace(self, budget: Budget) -> _Amounts:
        seen = {one.workspace_id for one in self.charges}
        ids = self._meant(budget, seen, self.directory.workspaces, self.directory.workspace)
        own = ((one.day, one.amount) for one in self.charges if one.workspace_id in ids)
        return _Amounts.exact(_daily(own), *_shared(budget, ids))

    def _model(self, budget: Budget) -> _Amounts:
        try:
            known = {one.model for one in self.charges if one.model}
            model = self.prices.model_named(str(budget.value), known)
        except InvalidQuery as error:
            raise InvalidQuery(f"budget {budget.name!r}: {error}") from None
        own = [(one.day, one.amount) for one in self.charges if one.model in model]
        nameless = [line for line in self.lines if not line.model]
        if any(line.cost_type == "tokens" or line.token_type in KINDS for line in nameless):
            # What the bill gives no model is split by use; its own lines are among the shares.
            joined = join_models(self.source, self.lines, (self.start, self.until), self.prices)
            own = [(line.day, line.amount_usd) for line in joined.rest if line.model in model]
            own += [(share.day, share.amount) for share in joined.shares if share.who in model]
        return _Amounts.exact(_daily(own))

    def _key(self, budget: Budget) -> _Amounts:
        assert self.rows is not None  # noqa: S101
        seen = {row.api_key_id for row in self.rows}
        ids = self._meant(budget, seen, self.directory.api_keys, self.directory.api_key)
        if self._key_use is None:
            span = (self.start, self.until)
            self._key_use = KeyUse.of(self.source, self.lines, span, self.rows, self.prices)
        joined = self._key_use.join(self.lines)
        lost = total(line.amount_usd for line in joined.rest)
        notes = ["budgets of API keys are the bill split by use: the bill names no keys"]
        if lost:
            notes.append(
                f"{dollars(lost)} of the bill since {self.start} fit no use: budgets of API keys "
                "leave them out"
            )
        daily = _daily((share.day, share.amount) for share in joined.shares if share.who in ids)
        ends = [daily, daily]
        if any(low < high for low, high in map(self._band, self.rows)):
            ends = []
            for own in (0, 1):
                parts = [self._key_use.join(self.lines, key, (own, 1 - own)) for key in ids]
                ends.append(
                    _daily(
                        (share.day, share.amount)
                        for key, part in zip(ids, parts, strict=True)
                        for share in part.shares
                        if share.who == key
                    )
                )
        low = {day: min(ends[0].get(day, ZERO), amount) for day, amount in daily.items()}
        high = {day: max(ends[1].get(day, ZERO), amount) for day, amount in daily.items()}
        return _Amounts(daily=daily, low=low, high=high, notes=(*notes, *_shared(budget, ids)))

    def _band(self, row: UsageRow) -> tuple[Decimal, Decimal]:
        cost = self.prices.cost(row)
        return cost.low, cost.high

    def _meant(
        self,
        budget: Budget,
        ids: Iterable[str | None],
        names: Mapping[str, str],
        name_of: Callable[[str | None], str],
    ) -> frozenset[str | None]:
        """Return the ids that a budget's value stands for; raises InvalidQuery if it is unknown."""
        every = {*ids, *names}
        found = frozenset(one for one in every if budget.value in (one, name_of(one)))
        if not found:
            raise InvalidQuery(
                f"budget {budget.name!r}: no {str(budget.subject).replace('_', ' ')} "
                f"{budget.value!r} has cost anything in twelve weeks, and none has that name"
            )
        return found

    def unpriced(self, state: State) -> Iterator[str]:
        """Say which use of a budget's key has no list price to split the bill by."""
        budget = state.budget
        if budget.subject != "api_key" or self.rows is None:
            return
        own = [
            row
            for row in self.rows
            if budget.value in (row.api_key_id, self.directory.api_key(row.api_key_id))
            and state.first_day <= row.day <= state.last_day
        ]
        bare = [row for row in own if self.prices.cost(row).unpriced_tokens]
        if bare:
            tokens = add_costs(map(self.prices.cost, bare)).unpriced_tokens
            models = sorted({str(row.model or "no model") for row in bare})
            yield (
                f"{tokens:,} tokens of budget {budget.name!r} have no list price "
                f"({', '.join(models)}): what is billed for them is split by tokens"
            )


def _shared(budget: Budget, ids: Iterable[str | None]) -> list[str]:
    count = len(set(ids))
    if count < 2:
        return []
    what = str(budget.subject).replace("_", " ").replace("api", "API")
    return [f"budget {budget.name!r} is of {several(count, what)} of the name {budget.value!r}"]


def _daily(amounts: Iterable[tuple[dt.date, Decimal]]) -> dict[dt.date, Decimal]:
    daily: dict[dt.date, Decimal] = {}
    for day, amount in amounts:
        daily[day] = add(daily.get(day, ZERO), amount)
    return daily


def _periods(period: str, first: dt.date, until: dt.date) -> Iterator[tuple[dt.date, dt.date]]:
    """Yield the first and last day of each period that a day from `first` to `until` lies in."""
    day = first
    while day < until:
        if period == "day":
            begins, ends = day, day
        elif period == "week":
            begins = monday(day)
            ends = begins + 6 * DAY
        else:
            begins = day.replace(day=1)
            ends = next_month(begins) - DAY
        yield begins, ends
        day = ends + DAY


def _state(
    budget: Budget,
    amounts: _Amounts,
    first: dt.date,
    last: dt.date,
    until: dt.date,
) -> State:
    def spent(daily: Daily) -> Decimal:
        return total(amount for day, amount in daily.items() if first <= day <= last)

    return State(
        budget=budget,
        first_day=first,
        last_day=last,
        spent=spent(amounts.daily),
        spent_low=spent(amounts.low),
        spent_high=spent(amounts.high),
        estimated=budget.subject == "api_key",
        complete=last < until,
        rest=project(_filled(amounts.daily, until), (last + DAY - until).days, until=until),
    )


def _filled(daily: Daily, until: dt.date) -> list[Decimal]:
    if not daily:
        return []
    first = min(daily)
    return [daily.get(first + step * DAY, ZERO) for step in range((until - first).days)]


def _id(kind: str, state: State) -> str:
    budget = state.budget
    parts = [kind, budget.period, str(state.first_day), budget.subject, budget.value, budget.name]
    return ":".join(dict.fromkeys(part for part in parts if part)) + f":{budget.amount:f}"


def _span(state: State) -> str:
    if state.first_day == state.last_day:
        return f"on {state.first_day}"
    return f"in {state.first_day} to {state.last_day}"


def _spent(state: State) -> str:
    about = "is estimated to have used" if state.estimated else "was billed"
    said = f"{state.budget.name} {about} {dollars(state.spent)}"
    if dollars(state.spent_low) != dollars(state.spent_high):
        said += f" (between {dollars(state.spent_low)} and {dollars(state.spent_high)})"
    return f"{said} of {dollars(state.budget.amount)} ({state.share:.0f}%) {_span(state)}"


def _part(amount: Decimal, percent: int) -> Decimal:
    return times(amount, times(Decimal("0.01"), percent))


def _reached(state: State) -> list[int]:
    return [
        percent
        for percent in state.budget.warn_at
        if state.spent >= _part(state.budget.amount, percent)
    ]


def _overspent(state: State, until: dt.date) -> Iterator[Alert]:
    budget = state.budget
    day = min(until - DAY, state.last_day)
    if reached := _reached(state):
        past = max(reached)
        later = [percent for percent in budget.warn_at if percent > past]
        further = (max(int(state.share), past) // _FURTHER + 1) * _FURTHER
        yield Alert(
            kind="budget",
            subject=budget.name,
            message=f"{_spent(state)}, past {past}%",
            id=_id("budget", state),
            day=day,
            threshold=_part(budget.amount, past),
            amount=state.spent,
            severity="critical" if state.spent >= budget.amount else "warning",
            again_at=_part(budget.amount, min(later, default=further)),
        )
    projected = state.projected
    if budget.on_forecast and projected and state.spent < budget.amount < projected:
        yield Alert(
            kind="forecast",
            subject=budget.name,
            message=(
                f"{budget.name} is on the way to {dollars(projected)} of "
                f"{dollars(budget.amount)} {_span(state)}"
            ),
            id=_id("forecast", state),
            day=day,
            threshold=budget.amount,
            amount=projected,
            again_at=times(projected, _MORE),
        )


def _ended(state: State, until: dt.date) -> Iterator[Alert]:
    """Say what of a budget is over: its period, or the projection above it."""
    budget = state.budget
    ended = f"{state.first_day} to {state.last_day} is over: {_spent(state)}"

    def over(kind: str, message: str) -> Alert:
        return Alert(
            kind=kind,
            subject=budget.name,
            message=message,
            id=_id(kind, state),
            day=min(until - DAY, state.last_day),
            threshold=budget.amount,
            amount=state.spent,
            severity="info",
        )

    if state.complete:
        yield over("budget", ended)
        # What was told of the budget itself ends the projection, too.
        yield over("forecast", "" if _reached(state) else ended)
    elif state.spent >= budget.amount:
        yield over("forecast", "")
    elif state.projected is not None and state.projected < times(budget.amount, _BELOW):
        yield over(
            "forecast",
            f"{budget.name} is on the way to {dollars(state.projected)} only, of "
            f"{dollars(budget.amount)} {_span(state)}",
        )


def _jumps(books: _Books, budgets: Budgets) -> list[Event]:
    if budgets.jump_factor is None:
        return []
    known = {one.model for one in books.charges if one.model}
    models = {name: books.prices.canonical(name, known) for name in known}
    series: dict[Subject, dict[dt.date, Decimal]] = defaultdict(dict)
    for one in books.charges:
        name = books.directory.workspace(one.workspace_id)
        subjects = [EVERYTHING, Subject("workspace", one.workspace_id, name)]
        if one.model:
            model = models[one.model]
            subjects.append(Subject("model", model, model))
        for subject in subjects:
            own = series[subject]
            own[one.day] = add(own.get(one.day, ZERO), one.amount)
    return events(
        series, books.start, books.until, factor=budgets.jump_factor, least_usd=budgets.jump_usd
    )


def _event_id(event: Event) -> str:
    subject = event.subject
    parts = (event.kind, subject.kind or "everything", subject.id or "", str(event.begun))
    return ":".join(part for part in parts if part)


def _jumped(event: Event, judged: dt.date) -> Iterator[Alert]:
    """Tell of an event if it showed, or became far worse, on a day that is judged now."""
    days = [day for day in event.days if day >= judged]
    if not days:
        return
    day = days[-1]
    amount = event.days[day]
    causes = [str(cause) for cause in event.causes.get(day, ())]
    by = f" ({', '.join(causes)})" if causes else ""
    if event.kind == "new":
        message = f"{event.subject} is new: it was billed {dollars(amount)} since {event.begun}{by}"
    elif day == event.first_day:
        message = (
            f"{event.subject} was billed {dollars(amount)} on {day:%A}, {day}; a {day:%A} usually "
            f"costs {dollars(event.usual)}{by}"
        )
    else:
        message = (
            f"{event.subject}, which jumped on {event.first_day}, was billed {dollars(amount)} on "
            f"{day:%A}, {day}{by}"
        )
    yield Alert(
        kind=event.kind,
        subject=str(event.subject),
        message=message,
        id=_event_id(event),
        day=day,
        threshold=event.limit,
        amount=amount,
        severity="info" if event.kind == "new" else "warning",
        causes=tuple(causes),
        again_at=None if event.kind == "new" else times(amount, WORSE),
    )


def _usual_again(event: Event, judged: dt.date) -> Iterator[Alert]:
    if event.over is None or event.over < judged:
        return
    days = several((event.over - event.first_day).days, "day")
    what = (
        "has stayed for two weeks: this is usual now" if event.settled else f"is over after {days}"
    )
    yield Alert(
        kind=event.kind,
        subject=str(event.subject),
        message=f"the jump of {event.subject} on {event.first_day} {what}",
        id=_event_id(event),
        day=event.over,
        threshold=event.limit,
        severity="info",
    )


def _cache_drop(usage: Sequence[UsageRow], until: dt.date) -> tuple[Decimal, Decimal] | None:
    """Return the cache rate of the last seven days, and that of the four weeks before."""
    now = _cache_rate(usage, until - 7 * DAY, until)
    before = _cache_rate(usage, until - 35 * DAY, until - 7 * DAY)
    return None if now is None or before is None else (now, before)


def _cache(usage: Sequence[UsageRow], budgets: Budgets, until: dt.date) -> Iterator[Alert]:
    """Compare the cache rate of the last seven days with the four weeks before."""
    rates = _cache_drop(usage, until)
    if budgets.cache_drop is None or rates is None:
        return
    now, before = rates
    drop = subtract(before, now)
    if drop >= budgets.cache_drop:
        yield Alert(
            **_of_cache(until, budgets.cache_drop, drop),
            message=(
                f"only {now:.1f}% of input was read from the cache in the last seven days; it was "
                f"{before:.1f}% in the four weeks before"
            ),
            again_at=add(drop, absolute(budgets.cache_drop)),
        )


def _cache_recovered(
    usage: Sequence[UsageRow], budgets: Budgets, until: dt.date
) -> Iterator[Alert]:
    rates = _cache_drop(usage, until)
    if budgets.cache_drop is None or rates is None:
        return
    now, before = rates
    drop = subtract(before, now)
    if drop < budgets.cache_drop and times(drop, 2) < budgets.cache_drop:
        yield Alert(
            **_of_cache(until, budgets.cache_drop, drop),
            message=(
                f"{now:.1f}% of input was read from the cache in the last seven days, as usual: it "
                f"was {before:.1f}% in the four weeks before"
            ),
            severity="info",
        )


def _of_cache(until: dt.date, threshold: Decimal, drop: Decimal) -> dict[str, Any]:
    """Return what alerts of the cache rate have in common."""
    return {
        "kind": "cache",
        "subject": "everything",
        "id": "cache:everything",
        "day": until - DAY,
        "threshold": threshold,
        "amount": drop,
        "unit": "percentage points",
    }


def _cache_rate(usage: Sequence[UsageRow], start: dt.date, end: dt.date) -> Decimal | None:
    """Return which percentage of input was read from the cache; None for less than a week of it."""
    rows = [row for row in usage if start <= row.day < end]
    if len({row.day for row in rows if row.input_tokens}) < _CACHE_DAYS:
        return None
    everything = sum(row.input_tokens for row in rows)
    return divide(100 * sum(row.cache_read_input_tokens for row in rows), everything)
