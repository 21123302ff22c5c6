"""Terms that an organisation can be billed on, beside the list: all of them opt-in.

Without any, a bill is use at list prices, unrounded, with every dimension filled, and there as soon
as its day has closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

import attrs

from .bill import TOKEN_DIMENSIONS, CostLine
from .calendar import day_of
from .mix import mix, seed_of

if TYPE_CHECKING:
    from .streams import Stream

_ROUNDED = Decimal("0.000001")
"""Published amounts have six decimals of a cent."""


@attrs.frozen(kw_only=True)
class Discount:
    """A share taken off the list price of some lines: from a day on, of models, of workspaces."""

    share: Decimal
    since: date | None = None
    models: frozenset[str] = attrs.field(default=frozenset(), converter=frozenset)
    """The models it holds for; none is all, and what is charged without a model too."""
    workspaces: frozenset[str | None] | None = None
    """The workspaces, as reports name them, that it holds for; None is all."""

    def holds(self, day: int, line: CostLine) -> bool:
        """Say whether it is taken off a line."""
        return (
            (self.since is None or day_of(self.since) <= day)
            and (not self.models or line.model in self.models)
            and (self.workspaces is None or line.workspace_id in self.workspaces)
        )


@attrs.frozen(kw_only=True)
class Credit:
    """A line with a description and a null type: a credit below zero, or a charge above."""

    day: date
    cents: Decimal
    description: str
    workspace_id: str | None = None


@attrs.frozen(kw_only=True)
class Surcharge:
    """Cents that are billed on top of one line for tokens of a day, as a mistake would be."""

    day: date
    cents: Decimal
    place: int = 0
    """Which of the day's lines, counted on and on from the first."""


@attrs.frozen(kw_only=True)
class Billing:
    """The terms: what is taken off or added, what is left null, and when the bill comes."""

    discounts: tuple[Discount, ...] = ()
    """Of those that hold for a line, the first is taken off."""
    surcharges: tuple[Surcharge, ...] = ()
    credits: tuple[Credit, ...] = ()
    rounded: bool = False
    """Whether each line is rounded to six decimals of a cent, as in published answers."""
    nulls: frozenset[str] = attrs.field(default=frozenset(), converter=frozenset)
    """Dimensions of token lines that are null throughout."""
    null_percent: int = 0
    """How many of a hundred values of the dimensions that `nullable` names are null beside them."""
    nullable: tuple[str, ...] = TOKEN_DIMENSIONS
    late: Mapping[date, timedelta] = attrs.field(factory=dict)
    """How long after the end of a day its bill comes, where that is not at once."""
    aliases: bool = False
    """Whether models go by their alias, where the usage report names them with their date."""
    long_percent: int = 0
    """How many of a hundred streams have long prompts throughout where the usage report cannot tell
    them from short ones, and they cost more."""

    def __attrs_post_init__(self) -> None:
        unknown = {*self.nulls, *self.nullable} - {*TOKEN_DIMENSIONS}
        if unknown:
            raise ValueError(f"no dimension of a token line: {', '.join(sorted(unknown))}")

    def is_long(self, stream: Stream) -> bool:
        """Say whether a stream's prompts are long where that cannot be told."""
        return stream.seed % 100 < self.long_percent

    def pending(self, day: int, now: int) -> bool:
        """Say whether the bill of a closed day is still to come at second `now`."""
        return any(
            day == day_of(late) and now < (day + 1) * 86_400 + wait.total_seconds()
            for late, wait in self.late.items()
        )

    def billed(self, day: int, lines: list[CostLine], aliases: Mapping[str, str]) -> list[CostLine]:
        """Return a day's lines on these terms; `aliases` are names by the models' dated ids."""
        lines = [self._discounted(day, line) for line in lines]
        places = [place for place, line in enumerate(lines) if line.cost_type == "tokens"]
        for extra in self.surcharges:
            if day_of(extra.day) == day and places:
                place = places[extra.place % len(places)]
                amount = lines[place].amount + extra.cents
                lines[place] = attrs.evolve(lines[place], amount=amount)
        lines = [self._blank(day, line) for line in lines]
        if self.aliases:
            lines = [
                attrs.evolve(line, model=aliases.get(line.model, line.model))
                if line.model
                else line
                for line in lines
            ]
        lines += [
            CostLine(credit.workspace_id, credit.description, None, credit.cents)
            for credit in self.credits
            if day_of(credit.day) == day
        ]
        if self.rounded:
            lines = [
                attrs.evolve(line, amount=line.amount.quantize(_ROUNDED, ROUND_HALF_EVEN))
                for line in lines
            ]
        return lines

    def _discounted(self, day: int, line: CostLine) -> CostLine:
        for discount in self.discounts:
            if discount.holds(day, line):
                return attrs.evolve(line, amount=line.amount * (1 - discount.share))
        return line

    def _blank(self, day: int, line: CostLine) -> CostLine:
        if line.cost_type != "tokens":
            return line
        seed = seed_of(f"{line.workspace_id}:{line.description}:{line.service_tier}")
        blank: dict[str, Any] = {
            name: None
            for place, name in enumerate(TOKEN_DIMENSIONS)
            if name in self.nulls
            or (name in self.nullable and mix(seed, day, place) % 100 < self.null_percent)
        }
        return attrs.evolve(line, **blank) if blank else line
