"""What a report says of Claude Code: people, teams, weeks, and who pays; one table of words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from ..analysis.people import Actor, Payer, People, Seat, Team, Week, Work
from ..human import count, dollars, several
from ..money import total
from ..outside import clean

__all__ = [
    "NOT_KNOWN",
    "active",
    "average",
    "each",
    "estimated",
    "idle",
    "key_name",
    "kinds",
    "paid",
    "payer_name",
    "seat_name",
    "seated",
    "share",
    "team_name",
    "week_days",
    "week_name",
    "work_figures",
]

NOT_KNOWN = "not known: what Claude Code did could not be read"

_PAID = {
    "api": ("on the API", "part of the bill"),
    "subscription": ("on a subscription", "no part of the bill"),
    None: ("not said who pays", "in the bill or not, which is not said"),
}
_MOST_IDLE = 20


def kinds(who: People) -> str:
    """Name those beside the people: API keys, unless there are others too."""
    keys = all(other.actor_type == "api_actor" for other in who.others)
    return "API key" if keys else "other actor"


def payer_name(payer: Payer, others: str = "API key") -> str:
    """Say who they are, and how their use is paid for."""
    way, bill = _way(payer.customer_type)
    return f"{_plural(payer, others)} {way}, {bill}"


def paid(who: People) -> list[str]:
    """Say what the estimate is, by who pays: sums, and what they are made of."""
    return [f"{_sum(way)}: {' and '.join(_part(p, kinds(who)) for p in way)}" for way in _ways(who)]


def estimated(who: People) -> str:
    """Say of an estimate on the API what it is, and what was estimated besides it."""
    others = [_sum(way) for way in _ways(who) if way[0].customer_type != "api"]
    way, bill = _way("api")
    return "; ".join([f"estimated {way}, {bill}", *others])


def _ways(who: People) -> list[list[Payer]]:
    """Return those who are paid for in one way together."""
    ways: dict[str | None, list[Payer]] = {}
    for payer in who.payers:
        ways.setdefault(payer.customer_type, []).append(payer)
    return list(ways.values())


def _sum(payers: Sequence[Payer]) -> str:
    way, bill = _way(payers[0].customer_type)
    whole = dollars(total(payer.estimated_cost_usd for payer in payers))
    return f"{whole} estimated {way}, {bill}"


def _part(payer: Payer, others: str) -> str:
    number = f"{payer.number:,} {_plural(payer, others)}"
    share_of_each = f" ({dollars(payer.each_usd)} each)" if payer.number > 1 else ""
    return f"{number} with {dollars(payer.estimated_cost_usd)}{share_of_each}"


def _plural(payer: Payer, others: str) -> str:
    if payer.who == "people":
        return "person" if payer.number == 1 else "people"
    return several(payer.number, others).partition(" ")[2]


def _way(customer: str | None) -> tuple[str, str]:
    unknown = (f"of customers of the kind {clean(customer)}", _PAID[None][1])
    return _PAID.get(customer, unknown)


def active(number: int, seats: int | None = None) -> str:
    """Write how many were active, of those with a seat if that is known."""
    return f"{number:,}" if seats is None else f"{number:,} / {seats:,}"


def seated(who: People) -> str:
    """Say how many people were active, and how many of those with a seat."""
    people = f"{who.active:,} {'person' if who.active == 1 else 'people'}"
    return people if who.seats is None else f"{people}, {who.active_seats:,} of {who.seats:,} seats"


def share(value: float | None) -> str:
    """Write a share of proposals; of none there is none."""
    return "-" if value is None else f"{100 * value:.0f}%"


def each(amount: Decimal | None) -> str:
    """Write the cost of one; of none there is none."""
    return "-" if amount is None else dollars(amount)


def average(amount: Decimal | None) -> str:
    """Write the same exactly, as a program reads it; nothing if there is none."""
    return "" if amount is None else f"{amount:f}"


def week_days(week: Week) -> str:
    """Write the days of a week that are in the range: 7, or 4 of 7."""
    whole = week.days == week.days_in_period
    return str(week.days) if whole else f"{week.days} of {week.days_in_period}"


def week_name(week: Week) -> str:
    """Write a week as its Monday, and mark a part of one."""
    part = week.days < week.days_in_period
    return f"{week.week} ({week_days(week)} days)" if part else f"{week.week}"


def seat_name(seat: Seat) -> str:
    """Name a member."""
    return seat.email or seat.name


def key_name(actor: Actor) -> str:
    """Name who is no person, and its kind if that is no API key."""
    kind = "" if actor.actor_type == "api_actor" else f" ({actor.actor_type or 'kind not said'})"
    return f"{actor.actor or '-'}{kind}"


def idle(seats: Sequence[Seat]) -> str:
    """Name the members that were not active, the first of them."""
    shown = ", ".join(clean(seat_name(seat)) for seat in seats[:_MOST_IDLE])
    more = len(seats) - _MOST_IDLE
    return f"{shown}{f' and {more} more' if more > 0 else ''}"


def work_figures(work: Work) -> Iterable[tuple[str, str, str]]:
    """Yield what was done: heading, as people read it, exact."""
    for heading, number in (
        ("sessions", work.sessions),
        ("lines +", work.lines_added),
        ("lines -", work.lines_removed),
        ("commits", work.commits),
        ("PRs", work.pull_requests),
    ):
        yield heading, count(number), str(number)
    accepted = work.acceptance
    yield "accepted", share(accepted), "" if accepted is None else f"{accepted:.6f}"
    for heading, amount in (
        ("est. cost", work.estimated_cost_usd),
        ("per session", work.cost_per_session_usd),
        ("per PR", work.cost_per_pull_request_usd),
    ):
        yield heading, each(amount), average(amount)


def team_name(team: Team) -> str:
    """Name a team, with its cost center if it has one."""
    return f"{team.team} ({team.cost_center})" if team.cost_center else team.team
