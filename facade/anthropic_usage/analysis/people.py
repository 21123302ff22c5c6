"""Claude Code for whoever answers for a team: people, teams, seats, weeks, and what each cost."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal

import attrs

from ..errors import AnthropicUsageError, AuthenticationError
from ..moments import DAY, Moment, ceil, monday
from ..money import ZERO, add, divide, quantize, subtract, total
from ..reports import ClaudeCodeRow
from .owners import Owner, OwnerMap
from .periods import extent
from .source import Source, reason

__all__ = ["Actor", "Payer", "People", "Seat", "Team", "Week", "Work", "people"]

UNMAPPED = "unmapped"
_PERSON = "user_actor"
_KEY = "api_actor"


@attrs.frozen(kw_only=True)
class Work:
    """What was done, and its estimated cost in US dollars, exact.

    A ratio is None where there is nothing to divide by. Quotients are rounded to a millionth.
    """

    sessions: int
    lines_added: int
    lines_removed: int
    commits: int
    pull_requests: int
    accepted: int
    rejected: int
    tokens: int
    estimated_cost_usd: Decimal
    api_cost_usd: Decimal
    """The part of the estimate that overlaps the API's bill: `customer_type` api."""
    subscription_cost_usd: Decimal
    """The part that a subscription covers, which is in no API bill."""
    acceptance: float | None
    """Accepted proposals as a share of those answered, from 0 to 1."""
    cost_per_session_usd: Decimal | None
    cost_per_pull_request_usd: Decimal | None


@attrs.frozen(kw_only=True)
class Seat:
    """A member of the organisation, whatever the role."""

    email: str | None
    """In lower case, as Claude Code's records are read."""
    name: str
    role: str | None
    added_at: dt.datetime | None
    team: str | None = None


@attrs.frozen(kw_only=True)
class Actor:
    """A person, or an API key, and what was done."""

    actor: str | None
    actor_type: str | None
    name: str | None
    """A person's name, where the members could be looked up."""
    role: str | None
    team: str | None
    cost_center: str | None
    seat: bool | None
    """Whether it is a member now; None where that is not known, and for what is no person."""
    active_days: int
    first_day: dt.date
    last_day: dt.date
    work: Work


@attrs.frozen(kw_only=True)
class Payer:
    """Those whose use is paid for in one way: the estimate is `each_usd` for every one of them.

    Who used both the API and a subscription is among those of both.
    """

    who: Literal["people", "others"]
    """Others are API keys, and whatever else is no person."""
    customer_type: str | None
    """`api`, which is a part of the API's bill; `subscription`, which is no part of it; None where
    the API does not say."""
    number: int
    estimated_cost_usd: Decimal
    each_usd: Decimal


@attrs.frozen(kw_only=True)
class Week:
    """A week's work of people; API keys are not in it."""

    week: dt.date
    """Its Monday."""
    days: int
    """How many of its days are in the range and were read; today counts as one."""
    days_in_period: int
    active: int
    """How many people were active."""
    work: Work


@attrs.frozen(kw_only=True)
class Team:
    """The people of an owner, and what its API keys did beside them."""

    team: str
    cost_center: str | None
    active: int
    seats: int | None
    by_people: Work
    by_others: Work
    cost_per_person_usd: Decimal | None
    """Estimated cost of people for each that was active."""
    weeks: tuple[Week, ...]


@attrs.frozen(kw_only=True)
class People:
    """A range of Claude Code. An estimated cost overlaps the API's bill: never add the two."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    settled_until: dt.datetime | None
    active: int
    """People, addresses read in lower case, who did anything at all."""
    seats: int | None
    """Members of the organisation; None where they could not be looked up."""
    active_seats: int | None
    keys: int
    """API keys, by name, which are not people; and actors of any other kind."""
    total: Work
    by_people: Work
    by_others: Work
    cost_per_person_usd: Decimal | None
    """Estimated cost of people for each that was active, whoever pays for it."""
    payers: tuple[Payer, ...]
    """Who pays for what: these add up to `total`. People first, the API first."""
    people: tuple[Actor, ...]
    others: tuple[Actor, ...]
    teams: tuple[Team, ...]
    weeks: tuple[Week, ...]
    idle: tuple[Seat, ...]
    """Members who were not active."""
    notes: tuple[str, ...]
    unused: tuple[str, ...]
    """Patterns of the owners' map that match nobody here."""

    def without_names(self) -> People:
        """Return the same without anything about any one person, or of a name that may be one's."""
        return attrs.evolve(self, people=(), others=(), idle=(), unused=())


def people(
    source: Source,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    owners: OwnerMap | None = None,
) -> People:
    """Return who did what with Claude Code in a range of whole UTC days, most costly first.

    Reads the Claude Code report and looks the members up; a refused lookup costs the seats and is
    said in `notes`. With `owners` there are teams: a pattern matches an address in any spelling, a
    person's name, or an API key's name.

    Raises InvalidQuery and what reading a report raises.
    """
    report = source.claude_code(starting_at, ending_at)
    records = _Records()
    for row in report:
        records.add(row)
    query = report.query
    settled = report.settled_until
    until = ceil(min(settled or query.ending_at, query.ending_at), DAY).date()
    seats, refused = _seats(source, query.ending_at)
    teams = _Owners(owners)
    actors = [_actor(key, records.actors[key], seats, teams) for key in records.actors]
    actors.sort(
        key=lambda actor: (actor.work.estimated_cost_usd.copy_negate(), -actor.work.sessions)
    )
    persons = tuple(actor for actor in actors if actor.actor_type == _PERSON)
    others = tuple(actor for actor in actors if actor.actor_type != _PERSON)
    known = {person.actor for person in persons}
    idle = [seat for seat in seats.values() if seat.email not in known] if seats else []
    idle = [attrs.evolve(seat, team=teams.team(_PERSON, seat.email, seat.name)) for seat in idle]
    weeks = records.weeks
    by_people = _sum(records.actors[_PERSON, person.actor] for person in persons)
    by_others = _sum(records.actors[other.actor_type, other.actor] for other in others)
    span = (query.starting_at.date(), until)
    return People(
        starting_at=query.starting_at,
        ending_at=query.ending_at,
        settled_until=settled,
        active=len(persons),
        seats=None if seats is None else len(seats),
        active_seats=None if seats is None else len(seats) - len(idle),
        keys=len(others),
        total=_sum([by_people, by_others]).work(),
        by_people=by_people.work(),
        by_others=by_others.work(),
        cost_per_person_usd=_each(by_people.cost, len(persons)),
        payers=_payers(records),
        people=persons,
        others=others,
        teams=_teams(records, persons, others, idle, span, counted=seats is not None)
        if owners
        else (),
        weeks=_weeks(weeks, None, span),
        idle=tuple(idle),
        notes=(*refused, *_notes(persons, others, by_people, by_others)),
        unused=teams.unused(),
    )


_Key = tuple[str | None, str | None]
"""The kind of an actor and who it is."""


_COUNTS = {
    "sessions": "num_sessions",
    "lines_added": "lines_added",
    "lines_removed": "lines_removed",
    "commits": "commits_by_claude_code",
    "pull_requests": "pull_requests_by_claude_code",
    "accepted": "accepted",
    "rejected": "rejected",
}


class _Sums:
    """Running sums."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys((*_COUNTS, "tokens"), 0)
        self.cost = ZERO
        self.customers: dict[str | None, Decimal] = {}
        self.days: set[dt.date] = set()

    def add(self, row: ClaudeCodeRow) -> None:
        """Add a record."""
        for name, field in _COUNTS.items():
            self.counts[name] += getattr(row, field)
        self.counts["tokens"] += (
            row.input_tokens + row.output_tokens + row.cache_read_tokens + row.cache_creation_tokens
        )
        cost = row.estimated_cost_usd
        self.cost = add(self.cost, cost)
        self._pay(row.customer_type, cost)
        if row.date is not None:
            self.days.add(row.date)

    def plus(self, other: _Sums) -> None:
        """Add other sums."""
        for name, count in other.counts.items():
            self.counts[name] += count
        self.cost = add(self.cost, other.cost)
        for customer, cost in other.customers.items():
            self._pay(customer, cost)
        self.days |= other.days

    def _pay(self, customer: str | None, cost: Decimal) -> None:
        self.customers[customer] = add(self.customers.get(customer, ZERO), cost)

    @property
    def api(self) -> Decimal:
        """What overlaps the API's bill."""
        return self.customers.get("api", ZERO)

    @property
    def subscription(self) -> Decimal:
        """What a subscription covers."""
        return self.customers.get("subscription", ZERO)

    def work(self) -> Work:
        """Return the sums and what follows from them."""
        accepted = self.counts["accepted"]
        answered = accepted + self.counts["rejected"]
        return Work(
            **self.counts,
            estimated_cost_usd=self.cost,
            api_cost_usd=self.api,
            subscription_cost_usd=self.subscription,
            acceptance=accepted / answered if answered else None,
            cost_per_session_usd=_each(self.cost, self.counts["sessions"]),
            cost_per_pull_request_usd=_each(self.cost, self.counts["pull_requests"]),
        )


class _Records:
    """Sums by actor, and by week and person, in one pass."""

    def __init__(self) -> None:
        self.actors: dict[_Key, _Sums] = defaultdict(_Sums)
        self.weeks: dict[dt.date, dict[str | None, _Sums]] = defaultdict(lambda: defaultdict(_Sums))

    def add(self, row: ClaudeCodeRow) -> None:
        """Add a record; one without any figure is of nobody who was active."""
        if not _did_anything(row) or row.date is None:
            return
        self.actors[row.actor_type, row.actor].add(row)
        if row.actor_type == _PERSON:
            self.weeks[monday(row.date)][row.actor].add(row)


def _did_anything(row: ClaudeCodeRow) -> bool:
    counted = any(getattr(row, name) for name in row.MEASURES)
    used = any(
        use.estimated_cost_cents
        or use.input_tokens + use.output_tokens + use.cache_read_tokens + use.cache_creation_tokens
        for use in row.models
    )
    return counted or used or any(tool.accepted or tool.rejected for tool in row.other_tools)


class _Owners:
    """An owners' map that knows addresses in any spelling, as the records have but one."""

    def __init__(self, owners: OwnerMap | None) -> None:
        self._owners = owners or OwnerMap()
        self._written: dict[str, str] = {}
        for pattern in self._owners.entries:
            for text in (pattern, pattern.lower()):
                self._written.setdefault(text, pattern)
        entries = self._owners.entries
        self._people = OwnerMap({text: entries[own] for text, own in self._written.items()})
        self._used: set[str] = set()

    def owner(self, kind: str | None, *texts: str | None) -> Owner | None:
        """Return whose somebody of this kind is; only people have addresses."""
        owners = self._people if kind == _PERSON else self._owners
        pattern = owners.match(*texts) if owners else None
        if pattern is None:
            return None
        written = self._written[pattern]
        self._used.add(written)
        return self._owners.entries[written]

    def team(self, kind: str | None, *texts: str | None) -> str | None:
        """Return the team that somebody belongs to; None without a map."""
        if not self._owners:
            return None
        owner = self.owner(kind, *texts)
        return UNMAPPED if owner is None else owner.team

    def unused(self) -> tuple[str, ...]:
        """Return the patterns that matched nobody, as they were written."""
        return tuple(own for own in self._owners.entries if own not in self._used)


def _seats(source: Source, end: dt.datetime) -> tuple[dict[str, Seat] | None, list[str]]:
    """Look up the members by address; those who came after the range had no seat in it."""
    try:
        users = source.users()
    except AuthenticationError:
        raise
    except AnthropicUsageError as error:
        return None, [f"Who has a seat is not known: {reason(error)}"]
    seats: dict[str, Seat] = {}
    for user in users:
        about: Mapping[str, Any] = user.to_dict()
        added: Any = getattr(user, "added_at", None)
        added = added if isinstance(added, dt.datetime) else None
        if added is not None and added.tzinfo is not None and added >= end:
            continue
        email = about.get("email")
        email = email.strip().lower() if isinstance(email, str) else None
        role = about.get("role")
        seat = Seat(
            email=email,
            name=str(about.get("name") or email or user.id),
            role=role if isinstance(role, str) else None,
            added_at=added,
        )
        seats.setdefault(email or user.id, seat)
    return seats, []


def _actor(key: _Key, sums: _Sums, seats: Mapping[str, Seat] | None, owners: _Owners) -> Actor:
    kind, actor = key
    seat = (seats or {}).get(actor or "") if kind == _PERSON else None
    name = seat.name if seat else None
    owner = owners.owner(kind, actor, name)
    return Actor(
        actor=actor,
        actor_type=kind,
        name=name,
        role=seat.role if seat else None,
        team=owners.team(kind, actor, name),
        cost_center=owner.cost_center if owner else None,
        seat=None if seats is None or kind != _PERSON else seat is not None,
        active_days=len(sums.days),
        first_day=min(sums.days),
        last_day=max(sums.days),
        work=sums.work(),
    )


def _teams(
    records: _Records,
    persons: Iterable[Actor],
    others: Iterable[Actor],
    idle: Iterable[Seat],
    span: tuple[dt.date, dt.date],
    counted: bool,
) -> tuple[Team, ...]:
    """Return the teams, most costly first; `counted` tells whether seats are known."""
    members: dict[str, list[Actor]] = defaultdict(list)
    keys: dict[str, list[Actor]] = defaultdict(list)
    seats: dict[str, int] = defaultdict(int)
    for groups, actors in ((members, persons), (keys, others)):
        for actor in actors:
            groups[actor.team or UNMAPPED].append(actor)
    for seat in idle:
        seats[seat.team or UNMAPPED] += 1
    made = []
    for team in {**members, **keys, **seats}:
        mine = members.get(team, [])
        names = {person.actor for person in mine}
        by_people = _sum(records.actors[_PERSON, name] for name in names)
        by_others = _sum(records.actors[key.actor_type, key.actor] for key in keys.get(team, ()))
        centers = {actor.cost_center for actor in (*mine, *keys.get(team, ()))} - {None}
        seated = sum(person.seat is True for person in mine) + seats.get(team, 0)
        made.append(
            Team(
                team=team,
                cost_center=", ".join(sorted(map(str, centers))) or None,
                active=len(mine),
                seats=seated if counted else None,
                by_people=by_people.work(),
                by_others=by_others.work(),
                cost_per_person_usd=_each(by_people.cost, len(mine)),
                weeks=_weeks(records.weeks, names, span),
            )
        )
    made.sort(
        key=lambda team: (team.by_people.estimated_cost_usd.copy_negate(), -team.active, team.team)
    )
    return tuple(made)


def _payers(records: _Records) -> tuple[Payer, ...]:
    """Return who pays for what."""
    groups: dict[tuple[bool, str | None], list[Decimal]] = defaultdict(list)
    for (kind, _), sums in records.actors.items():
        for customer, cost in sums.customers.items():
            groups[kind != _PERSON, customer].append(cost)
    order = sorted(groups, key=lambda key: (key[0], key[1] is None, key[1] or ""))
    made = []
    for other, customer in order:
        costs = groups[other, customer]
        cost = total(costs)
        made.append(
            Payer(
                who="others" if other else "people",
                customer_type=customer,
                number=len(costs),
                estimated_cost_usd=cost,
                each_usd=quantize(divide(cost, len(costs)), 6),
            )
        )
    return tuple(made)


def _weeks(
    weeks: Mapping[dt.date, Mapping[str | None, _Sums]],
    names: set[str | None] | None,
    span: tuple[dt.date, dt.date],
) -> tuple[Week, ...]:
    """Return every week of the range in order, those in which nobody did anything too."""
    made = []
    first, until = span
    week = monday(first)
    while week < until:
        persons = weeks.get(week, {})
        mine = [sums for name, sums in persons.items() if names is None or name in names]
        held = extent(max(week, first), ("week",), first, until)
        made.append(
            Week(
                week=week,
                days=held.days,
                days_in_period=held.days_in_period,
                active=len(mine),
                work=_sum(mine).work(),
            )
        )
        week += 7 * DAY
    return tuple(made)


def _sum(parts: Iterable[_Sums]) -> _Sums:
    whole = _Sums()
    for part in parts:
        whole.plus(part)
    return whole


def _each(cost: Decimal, number: int) -> Decimal | None:
    """Return the cost of one; of none there is none."""
    return quantize(divide(cost, number), 6) if number else None


def _notes(
    persons: Iterable[Actor], others: tuple[Actor, ...], by_people: _Sums, by_others: _Sums
) -> Iterable[str]:
    """Yield what the figures do not say by themselves."""
    if others:
        keys = sum(other.actor_type == _KEY for other in others)
        what = f"{keys} API key{'' if keys == 1 else 's'}" if keys else ""
        if len(others) > keys:
            what += f"{' and ' if what else ''}{len(others) - keys} of another kind"
        yield f"{what}: no people, so beside them and in none of the figures for each person."
    subscription = add(by_people.subscription, by_others.subscription)
    if subscription:
        yield (
            f"${quantize(subscription, 2):,} of the estimate is use on a subscription, which is no "
            "part of the API's bill."
        )
    whole = add(by_people.cost, by_others.cost)
    unsaid = subtract(subtract(whole, subscription), add(by_people.api, by_others.api))
    if unsaid:
        yield (
            f"Whether ${quantize(unsaid, 2):,} of the estimate is in the API's bill or on a "
            "subscription is not said."
        )
    left = sum(person.seat is False for person in persons)
    if left:
        whom = "person holds" if left == 1 else "people hold"
        yield f"{left} active {whom} no seat now."
