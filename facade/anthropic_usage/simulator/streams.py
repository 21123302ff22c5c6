"""The steady flows of use that an organisation is made of.

A stream is one key, person or service account doing one kind of work: it fixes everything about its
use but the model, which follows the releases of a family, each stream at its own pace.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from operator import itemgetter
from typing import TYPE_CHECKING

import attrs

from .calendar import day_of
from .mix import Dice, seed_of
from .prices import LONG, Price, PriceList, iso_day

if TYPE_CHECKING:
    from .organisation import ApiKey, Organisation, Person, ServiceAccount, Workspace

DIMENSIONS = (
    "api_key_id",
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
    "account_id",
    "service_account_id",
    "speed",
)
Dims = tuple[str | None, ...]
Adoption = tuple[tuple[int, str], ...]
"""From which day on which model is used, in order of days."""

_FAMILY_CHOICE = (("sonnet", 42), ("haiku", 24), ("opus", 22), ("fable", 10), ("mythos", 2))
_SUCCESSORS = {"fable": "opus", "mythos": "fable"}
"""Where the work of a family was done before the family existed."""
_TIERS = (
    ("standard", 70),
    ("batch", 17),
    ("priority", 9),
    ("priority_on_demand", 1),
    ("flex", 2),
    ("flex_discount", 1),
)
BILLABLE_TIERS = ("standard", "batch")

_OFFICE = (0, 0, 0, 0, 0, 0, 1, 4, 8, 11, 12, 11, 7, 10, 12, 12, 10, 7, 4, 2, 1, 0, 0, 0)
_AROUND = (4, 3, 3, 3, 3, 4, 5, 6, 8, 9, 9, 9, 9, 9, 9, 9, 8, 8, 7, 7, 6, 6, 5, 4)
_NIGHTLY = (12, 12, 10, 8, 6, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 6, 10)
_HOURS = {"office": _OFFICE, "around": _AROUND, "nightly": _NIGHTLY}
_WEEKEND = {"office": 12, "around": 70, "nightly": 100}


@attrs.frozen(eq=False)
class Stream:
    """One flow of use, with its habits."""

    seed: int
    api_key_id: str | None
    workspace_id: str | None
    account_id: str | None
    service_account_id: str | None
    tier: str
    long: bool
    geo: str
    fast: bool
    hours: tuple[int, ...]
    weekend_percent: int
    every: int
    dense: bool
    tokens_per_day: int
    share_uncached: int
    share_write_5m: int
    share_write_1h: int
    share_read: int
    output_per_mille: int
    searches_per_day: int
    first_day: int
    end_day: int | None
    models: Adoption

    def runs_on(self, day: int) -> bool:
        """Say whether the stream exists on a day."""
        return self.first_day <= day and (self.end_day is None or day < self.end_day)

    def dims(self, day: int, price: Price) -> Dims:
        """Return the values of all dimensions, in the order of `DIMENSIONS`."""
        long = self.long and price.knows_long_context
        fast = self.fast and not long and price.knows_fast(iso_day(day))
        return (
            self.api_key_id,
            self.workspace_id,
            price.model,
            self.tier,
            LONG if long else "0-200k",
            self.geo if price.knows_geo else "not_available",
            self.account_id,
            self.service_account_id,
            "fast" if fast else "standard",
        )


def build_streams(
    seed: int, size: float, organisation: Organisation, prices: PriceList
) -> tuple[Stream, ...]:
    """Draw the streams of an organisation, about sixty for a size of one."""
    builder = _Builder(Dice(f"streams:{seed}"), seed, organisation, prices)
    keys = organisation.api_keys
    people = organisation.people
    # Every key has at least one stream, so that no name in the lookups is idle for ever.
    streams = [builder.of_key(key) for key in keys]
    streams += [builder.of_person(person) for person in people[::3]]
    while len(streams) < round(60 * size):
        streams.append(builder.of_key(keys[len(streams) % len(keys)]))
    return tuple(streams)


class _Builder:
    def __init__(
        self, dice: Dice, seed: int, organisation: Organisation, prices: PriceList
    ) -> None:
        self._dice = dice
        self._seed = seed
        self._organisation = organisation
        self._prices = prices
        self._count = 0

    def of_key(self, key: ApiKey) -> Stream:
        account = key.service_account
        rhythm = "around" if account else self._dice.pick(("around", "around", "office", "nightly"))
        return self._stream(
            workspace=key.workspace,
            key=key,
            person=None if account else key.created_by,
            account=account,
            rhythm=rhythm,
            first_day=key.created_day,
            end_day=key.ended_day,
        )

    def of_person(self, person: Person) -> Stream:
        """Return a person's use of the Console workbench, which goes through no key."""
        return self._stream(
            workspace=self._organisation.workspaces[0],
            key=None,
            person=person,
            account=None,
            rhythm="office",
            first_day=person.joined_day,
            end_day=person.left_day,
        )

    def _stream(
        self,
        *,
        workspace: Workspace,
        key: ApiKey | None,
        person: Person | None,
        account: ServiceAccount | None,
        rhythm: str,
        first_day: int,
        end_day: int | None,
    ) -> Stream:
        dice = self._dice
        self._count += 1
        family = dice.weighted(_FAMILY_CHOICE)
        lag = dice.below(dice.pick((10, 40, 200)))
        tier = "standard" if key is None else dice.weighted(_TIERS)
        shift = dice.pick((0, 0, 1, 8, 15, 17))
        hours = _HOURS[rhythm]
        cached = key is not None and dice.percent(70)
        read = dice.between(300, 800) if cached else 0
        write_5m = dice.between(20, 150) if cached else 0
        write_1h = dice.between(5, 40) if cached and dice.percent(40) else 0
        magnitude = 5 if key is None else dice.pick((4, 5, 5, 6, 6, 6))
        searching = tier in BILLABLE_TIERS and dice.percent(30)
        return Stream(
            seed=seed_of(f"stream:{self._seed}:{self._count}"),
            api_key_id=key.id if key else None,
            workspace_id=workspace.reported_id,
            account_id=person.id if person else None,
            service_account_id=account.id if account else None,
            tier=tier,
            long=dice.percent(12),
            geo=workspace.geo,
            fast=tier == "standard" and dice.percent(25),
            hours=tuple(hours[(hour - shift) % 24] for hour in range(24)),
            weekend_percent=_WEEKEND[rhythm],
            every=dice.pick((1, 1, 1, 1, 2, 5)) if rhythm != "around" else 1,
            dense=rhythm == "around",
            tokens_per_day=dice.between(10, 99) * 10**magnitude // 10,
            share_uncached=1000 - read - write_5m - write_1h,
            share_write_5m=write_5m,
            share_write_1h=write_1h,
            share_read=read,
            output_per_mille=dice.between(30, 300),
            searches_per_day=dice.between(5, 400) if searching else 0,
            first_day=first_day,
            end_day=end_day,
            models=adopted_models(family, lag, self._prices),
        )


def adopted_models(family: str, lag: int, prices: PriceList) -> Adoption:
    """Return `(from day, model)`: each release of a family, `lag` days after it came out."""
    adopted = [(_day(day) + lag, model) for day, model in prices.releases(family)]
    if family not in _SUCCESSORS:
        return tuple(adopted)
    earlier = adopted_models(_SUCCESSORS[family], lag, prices)
    return (*(switch for switch in earlier if switch[0] < adopted[0][0]), *adopted)


def price_in_use(models: Adoption, day: int, prices: PriceList) -> Price | None:
    """Return the price of the model adopted last, or None before the first."""
    index = bisect_right(models, day, key=itemgetter(0)) - 1
    return None if index < 0 else prices.at(models[index][1], iso_day(day))


def _day(iso: str) -> int:
    return day_of(date.fromisoformat(iso))
