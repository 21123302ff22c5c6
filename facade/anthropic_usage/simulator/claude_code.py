"""Claude Code's daily records: who worked in which terminal, and what came of it."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from itertools import accumulate
from typing import TYPE_CHECKING

import attrs

from .calendar import date_of
from .mix import Dice, mix, seed_of
from .streams import adopted_models, price_in_use

if TYPE_CHECKING:
    from .organisation import Organisation
    from .prices import PriceList

TOOLS = ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")

_TERMINALS = ("vscode", "iTerm.app", "tmux", "Apple_Terminal", "cursor", "WarpTerminal")
_WORKING_HOURS = (0, 0, 0, 0, 0, 0, 1, 3, 7, 10, 11, 9, 6, 8, 11, 11, 9, 7, 4, 3, 2, 1, 1, 0)
_SO_FAR = tuple(accumulate(_WORKING_HOURS, initial=0))
_FRESHNESS = 3600


@attrs.frozen(eq=False)
class Seat:
    """One actor's way of working: a record for every day on which it is used."""

    seed: int
    actor_type: str
    actor: str
    terminal_type: str
    is_remote: bool
    customer_type: str
    subscription_type: str | None
    lines_per_day: int
    every: int
    models: tuple[tuple[tuple[int, str], ...], ...]
    first_day: int
    end_day: int | None


@attrs.frozen
class ModelUse:
    """Tokens of one model and their estimated cost in whole cents."""

    model: str
    input: int
    output: int
    cache_read: int
    cache_creation: int
    cents: int


@attrs.frozen
class Record:
    """One record of the report."""

    date: str
    seat: Seat
    num_sessions: int
    lines_added: int
    lines_removed: int
    commits: int
    pull_requests: int
    tools: tuple[tuple[int, int], ...]
    """Accepted and rejected, in the order of `TOOLS`."""
    models: tuple[ModelUse, ...]


class ClaudeCode:
    """The records of every day."""

    def __init__(self, seed: int, organisation: Organisation, prices: PriceList) -> None:
        self._prices = prices
        self._founded = organisation.founded_day
        self._seats = _build_seats(seed, organisation, prices)

    def records(self, day: int, now: int) -> list[Record]:
        """Return a day's records as far as they are in; what happened shows up within the hour."""
        hours = min(max((now - _FRESHNESS - day * 86_400) // 3600, 0), 24)
        if day < self._founded or hours == 0:
            return []
        records = (self._record(seat, day, hours) for seat in self._seats)
        return [record for record in records if record is not None]

    def _record(self, seat: Seat, day: int, hours: int) -> Record | None:
        if day < seat.first_day or (seat.end_day is not None and day >= seat.end_day):
            return None
        chance = mix(seat.seed, day)
        weekend = (day + 3) % 7 >= 5
        if chance % (seat.every * (6 if weekend else 1)):
            return None
        so_far, whole = _SO_FAR[hours], _SO_FAR[-1]

        def seen(total: int) -> int:
            return total * so_far // whole

        sessions = seen(1 + (chance >> 8) % 12)
        if sessions == 0:
            return None
        added = seat.lines_per_day * (20 + (chance >> 12) % 160) // 100
        tools = []
        for index in range(len(TOOLS)):
            bits = mix(seat.seed, day, index) >> 4
            accepted = added * (40 if index == 0 else 8) // 1000 + bits % 9
            tools.append((seen(accepted), seen(accepted * ((bits >> 8) % 20) // 100)))
        models: list[ModelUse] = []
        for index, switches in enumerate(seat.models):
            price = price_in_use(switches, day, self._prices)
            share = (chance >> 20 + 4 * index) % 16
            if price is None or (share == 0 and index):
                continue
            base = added * (share + 4)
            use = [seen(base * factor) for factor in (9, 5, 310, 27)]
            if not any(use) or any(known.model == price.model for known in models):
                continue
            rates = (
                ("uncached_input_tokens", use[0]),
                ("output_tokens", use[1]),
                ("cache_read_input_tokens", use[2]),
                ("cache_creation.ephemeral_5m_input_tokens", use[3]),
            )
            cost = sum(
                (
                    tokens * price.cents_per_token(kind, "standard", "0-200k", "global", "standard")
                    for kind, tokens in rates
                ),
                Decimal(0),
            )
            cents = int(cost.quantize(Decimal(1), rounding=ROUND_HALF_UP))
            models.append(ModelUse(price.model, use[0], use[1], use[2], use[3], cents))
        return Record(
            date=f"{date_of(day).isoformat()}T00:00:00Z",
            seat=seat,
            num_sessions=sessions,
            lines_added=seen(added),
            lines_removed=seen(added * (10 + (chance >> 32) % 60) // 100),
            commits=seen((chance >> 40) % 14),
            pull_requests=seen((chance >> 48) % 4),
            tools=tuple(tools),
            models=tuple(models),
        )


def _build_seats(seed: int, organisation: Organisation, prices: PriceList) -> tuple[Seat, ...]:
    dice = Dice(f"claude code:{seed}")
    actors: list[tuple[str, str, int, int | None]] = [
        ("user_actor", person.email, person.joined_day, person.left_day)
        for person in organisation.people
        if person.role != "billing"
    ]
    actors += [
        ("api_actor", key.name, key.created_day, key.ended_day)
        for key in organisation.api_keys[::6]
    ]
    seats: list[Seat] = []
    for actor_type, actor, first_day, end_day in actors:
        known: set[tuple[str, bool, str, str | None]] = set()
        for _ in range(dice.pick((1, 1, 2, 3))):
            subscribed = actor_type == "user_actor" and dice.percent(60)
            setup = (
                dice.pick(_TERMINALS),
                dice.percent(20),
                "subscription" if subscribed else "api",
                dice.pick(("enterprise", "team")) if subscribed else None,
            )
            if setup in known:
                continue
            known.add(setup)
            seats.append(
                Seat(
                    seed=seed_of(f"seat:{seed}:{len(seats)}"),
                    actor_type=actor_type,
                    actor=actor,
                    terminal_type=setup[0],
                    is_remote=setup[1],
                    customer_type=setup[2],
                    subscription_type=setup[3],
                    lines_per_day=dice.between(60, 900),
                    every=dice.pick((1, 1, 2, 4)),
                    models=tuple(
                        adopted_models(family, dice.below(60), prices)
                        for family in ("opus", "sonnet", "haiku")
                    ),
                    first_day=first_day,
                    end_day=end_day,
                )
            )
    return tuple(seats)
