"""Days that cost far more than is usual, and things that cost something for the first time.

Only known days are compared: a thing is judged by its own days since it first cost anything. What
is usual is the median of its weekday over eight weeks, at the level of the last two; what has
happened before, such as spikes, is usual too. A step is one event, however long it lasts, and one
that the whole, a workspace and a model show is one event with its cause.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import attrs

from ..moments import DAY
from ..money import ZERO, add, quantize, times

__all__ = ["EVERYTHING", "WORSE", "Event", "Subject", "events"]

WORSE = Decimal("1.5")
"""How many times what was told of an event makes it worth telling again."""
_WEEK = 7
_YOUNG = 14
"""Days that must be known before one can be expected: two of its weekday."""
_KNOWN = 28
"""Days that a thing must be known for before a day of it can be a jump."""
_MOVED = 0.5
"""The share of a model's excess that the whole must have too, or use only moved between models."""
_WEEKS = 8
_OVER = 0.5
"""The share of its first excess at which an event is over."""
_LASTS = 14
"""After so many days a new level is what is usual."""
_CALM = 0.8
"""Days that were never further above the usual than this share of it are calm."""
_MARGIN, _WILD_MARGIN = 1.15, 2.0
"""How far a day must be beyond the worst that has happened before, if days are calm and if not."""
_LONE = 0.12
"""The worst day is no measure if the next worst has less than this share of its excess."""
_PART = 1.35
"""How much more than another's a subject may have too much and still be explained by it."""

Series = Mapping[dt.date, Decimal]


@attrs.frozen
class Subject:
    """The whole bill (no kind), or that of a workspace or model."""

    kind: str | None
    id: str | None
    name: str

    def __str__(self) -> str:
        return self.name if self.kind is None else f"{self.kind} {self.name}"


EVERYTHING = Subject(None, None, "everything")


@attrs.frozen(kw_only=True)
class Event:
    """A jump, from the day that passed its limit on, or the first days of a new thing."""

    kind: str
    """`jump` or `new`."""
    subject: Subject
    first_day: dt.date
    """The day on which it is told."""
    days: Mapping[dt.date, Decimal]
    """The days worth telling, in US dollars: the first, and each that is far worse than the one
    told before. Of a new thing, the sum of all its days so far."""
    usual: Decimal
    limit: Decimal
    """What the first day had to cost to be told."""
    begun: dt.date
    """The first day that is counted."""
    over: dt.date | None = None
    """The first day that is usual again; None while it lasts, and for what is new."""
    causes: Mapping[dt.date, tuple[Subject, ...]] = attrs.field(factory=dict)
    """Which parts of the subject show the same, by the days worth telling."""
    usuals: tuple[float, ...] = ()
    """What is usual on the days that follow, by the days since the first, modulo a week."""

    @property
    def settled(self) -> bool:
        """Whether it lasted until it was what is usual."""
        return self.over is not None and (self.over - self.first_day).days >= _LASTS

    def lasts(self, day: dt.date) -> bool:
        """Tell whether it was told before a day and is not over then."""
        return self.first_day < day and (self.over is None or day < self.over)


def events(
    series: Mapping[Subject, Series],
    first: dt.date,
    until: dt.date,
    *,
    factor: Decimal,
    least_usd: Decimal,
) -> list[Event]:
    """Return what is unusual on the known days from `first` up to and without `until`, in order.

    A known day without an amount is a known zero. `factor` is how many times the usual, and
    `least_usd` how many dollars above it, a day must be; a new thing must have cost the latter.
    """
    days = [first + step * DAY for step in range((until - first).days)]
    found: dict[dt.date, list[Event]] = {}
    for subject, amounts in series.items():
        exact = [amounts.get(day, ZERO) for day in days]
        for event in _events(subject, days, exact, float(factor), least_usd):
            if _moved(event, series.get(EVERYTHING), days):
                continue
            found.setdefault(event.first_day, []).append(event)
    told: list[Event] = []
    for day in sorted(found):
        running = [event for event in told if event.kind == "jump" and event.lasts(day)]
        fresh = [event for event in found[day] if not _explained(event, running, series)]
        worse = next((event for event in running if _grows(event, day)), None)
        if worse is not None and fresh:
            told[told.index(worse)], fresh = _joined(worse, fresh, day)
        told += _folded(fresh)
    return told


def _events(
    subject: Subject,
    days: Sequence[dt.date],
    exact: Sequence[Decimal],
    factor: float,
    least: Decimal,
) -> Iterator[Event]:
    begun = next((place for place, amount in enumerate(exact) if amount), len(exact))
    if begun >= _YOUNG and (noticed := _noticed(exact, begun, least)) is not None:
        place, spent = noticed
        yield Event(
            kind="new",
            subject=subject,
            first_day=days[place],
            days={days[place]: spent},
            usual=ZERO,
            limit=least,
            begun=days[begun],
        )
    daily = [float(amount) for amount in exact[begun:]]
    usuals = [_usual(daily, place) for place in range(_YOUNG, len(daily))]
    event: Event | None = None
    limits: list[float] = []
    for place, usual in enumerate(usuals, _YOUNG):
        day, amount = days[begun + place], daily[place]
        if event is not None:
            since = (day - event.first_day).days
            if since >= _LASTS or amount <= limits[since % _WEEK]:
                yield attrs.evolve(event, over=day)
                event = None
            elif exact[begun + place] >= times(max(event.days.values()), WORSE):
                event = attrs.evolve(event, days={**event.days, day: exact[begun + place]})
        limit = _limit(daily, usuals, place, factor, float(least))
        if event is None and place >= _KNOWN and amount > limit:
            week = [_usual(daily[:place], place + step) for step in range(_WEEK)]
            # It is over when half of the excess is gone; a quiet weekday has less of it.
            limits = [
                own + _OVER * (amount - usual) * min(1.0, own / usual if usual else 1.0)
                for own in week
            ]
            event = Event(
                kind="jump",
                subject=subject,
                first_day=day,
                days={day: exact[begun + place]},
                usual=_cents(usual),
                limit=_cents(limit),
                begun=day,
                usuals=tuple(week),
            )
    if event is not None:
        yield event


def _cents(value: float) -> Decimal:
    return quantize(Decimal(repr(value)), 2)


def _noticed(exact: Sequence[Decimal], begun: int, least: Decimal) -> tuple[int, Decimal] | None:
    """Return when a new thing had cost enough to be told, in its first two weeks, and how much."""
    spent = ZERO
    for place in range(begun, min(begun + _YOUNG, len(exact))):
        spent = add(spent, exact[place])
        if spent > 0 and spent >= least:
            return place, spent
    return None


def _usual(daily: Sequence[float], place: int) -> float:
    """Return what a day would usually cost, by the days before it."""
    past = daily[max(0, place - _WEEKS * _WEEK) : place]
    offset = place - len(past)
    pattern = [
        statistics.median(past[(weekday - offset) % _WEEK :: _WEEK] or (0.0,))
        for weekday in range(_WEEK)
    ]
    ratios = [
        daily[day] / pattern[day % _WEEK]
        for day in range(max(offset, place - 2 * _WEEK), min(place, len(daily)))
        if pattern[day % _WEEK] > 0
    ]
    level = statistics.median(ratios) if len(ratios) >= _WEEK else 1.0
    return max(0.0, pattern[place % _WEEK] * level)


def _limit(
    daily: Sequence[float], usuals: Sequence[float], place: int, factor: float, least: float
) -> float:
    """Return what a day must cost to be a jump."""
    usual = usuals[place - _YOUNG]
    over = sorted((daily[day] - usuals[day - _YOUNG] for day in range(_YOUNG, place)), reverse=True)
    worst = over[0] if over else 0.0
    if len(over) > 1 and over[1] < _LONE * worst:
        worst = over[1]
    margin = _MARGIN
    if worst > _CALM * statistics.median(usuals[max(0, place - _YOUNG - 4 * _WEEK) :]):
        # Its days differ much: the fewer are known, the less is known of how much.
        margin = _WILD_MARGIN * max(1.0, _WEEKS * _WEEK / place)
    limit = max(usual * factor, usual + least, usual + margin * worst)
    return limit if math.isfinite(limit) else usual


def _moved(event: Event, whole: Series | None, days: Sequence[dt.date]) -> bool:
    """Tell whether a model costs more because another one costs less."""
    if event.kind != "jump" or event.subject.kind != "model" or whole is None:
        return False
    daily = [float(whole.get(day, ZERO)) for day in days]
    place = days.index(event.first_day)
    return daily[place] - _usual(daily, place) < _MOVED * _size(event)


def _explained(event: Event, running: Iterable[Event], series: Mapping[Subject, Series]) -> bool:
    """Tell whether what was told already, and goes on, is what is too much here."""
    over = _excess(event, event.first_day, series)
    for other in running:
        if other.subject.kind == event.subject.kind:
            if other.subject == event.subject:
                return True
            continue
        now = _excess(other, event.first_day, series)
        if over > _PART * now:
            continue
        if other.subject.kind is not None or now <= _PART * _excess(other, other.first_day, series):
            return True
    return False


def _excess(event: Event, day: dt.date, series: Mapping[Subject, Series]) -> float:
    amount = float(series[event.subject].get(day, ZERO))
    if day == event.first_day or not event.usuals:
        return amount - float(event.usual)
    return amount - event.usuals[(day - event.first_day).days % _WEEK]


def _folded(found: Sequence[Event]) -> list[Event]:
    """Make events of a day that say the same one: the widest, with its parts as causes.

    What the whole has too much, its parts have; a model's excess is the workspaces' that use it.
    """
    kept = _widest(found, None) or _widest(found, "workspace")
    over = sum(_size(event) for event in kept)
    rest = []
    for event in _largest(event for event in found if event not in kept):
        part = kept and (kept[0].subject.kind is None or _size(event) <= _PART * over)
        if part and (
            event.kind == "jump" or event.begun == event.first_day or kept[0].kind == "new"
        ):
            kept[0] = _caused(kept[0], kept[0].first_day, event.subject)
        else:
            rest.append(event)
    return [*kept, *rest]


def _grows(event: Event, day: dt.date) -> bool:
    """Tell whether a jump of the whole is told again on a day, as a worse one."""
    return event.subject == EVERYTHING and day in event.days


def _joined(event: Event, parts: Sequence[Event], day: dt.date) -> tuple[Event, list[Event]]:
    """Make the parts by which a jump of the whole has grown its causes; returns what is left."""
    growth = float(event.days[day]) - float(max(v for d, v in event.days.items() if d < day))
    rest = []
    for part in parts:
        if _size(part) <= _PART * growth:
            event = _caused(event, day, part.subject)
        else:
            rest.append(part)
    return event, rest


def _caused(event: Event, day: dt.date, by: Subject) -> Event:
    return attrs.evolve(event, causes={**event.causes, day: (*event.causes.get(day, ()), by)})


def _size(event: Event) -> float:
    return float(event.days[event.first_day]) - float(event.usual)


def _widest(found: Iterable[Event], kind: str | None) -> list[Event]:
    return _largest(event for event in found if event.subject.kind == kind)


def _largest(found: Iterable[Event]) -> list[Event]:
    return sorted(found, key=lambda event: (-_size(event), str(event.subject)))
