"""The dated list prices of the simulator, read from its data file and applied without rounding."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources

import attrs
import msgspec

from .calendar import date_of

FAMILIES = ("mythos", "fable", "opus", "sonnet", "haiku")
LONG = "200k-1M"

_CENTS_PER_TOKEN = Decimal(100) / Decimal(1_000_000)
_ONE = Decimal(1)


class _Fast(msgspec.Struct):
    multiplier: Decimal
    valid_from: str
    valid_to: str | None


class _LongContext(msgspec.Struct):
    context_window: str | None
    input_multiplier: Decimal
    output_multiplier: Decimal
    threshold_input_tokens: int


class _Entry(msgspec.Struct):
    model: str
    match: list[str]
    valid_from: str
    valid_to: str | None
    usd_per_mtok: dict[str, Decimal]
    batch_multiplier: Decimal
    us_geo_multiplier: Decimal | None
    fast: _Fast | None
    long_context: _LongContext | None


class _WebSearch(msgspec.Struct):
    usd_per_1000: Decimal


class _CodeExecution(msgspec.Struct):
    usd_per_container_hour: Decimal


class _SessionUsage(msgspec.Struct):
    usd_per_session_hour: Decimal


class _Other(msgspec.Struct):
    web_search: _WebSearch
    code_execution: _CodeExecution
    session_usage: _SessionUsage


class _File(msgspec.Struct):
    prices: list[_Entry]
    other: _Other


@attrs.frozen(eq=False)
class Price:
    """What one model costs during one span of days."""

    model: str
    family: str
    title: str
    valid_from: str
    valid_to: str | None
    entry: _Entry

    @property
    def knows_geo(self) -> bool:
        """Say whether the place of inference can be chosen; older models report `not_available`."""
        return self.entry.us_geo_multiplier is not None

    @property
    def knows_long_context(self) -> bool:
        """Say whether use beyond 200k tokens can be told from the rows and priced.

        Without a surcharge the window came with the generation that also brought the choice of geo.
        """
        band = self.entry.long_context
        return self.knows_geo if band is None else band.context_window == LONG

    @property
    def hidden_threshold(self) -> int | None:
        """Return how long prompts are that cost more where rows do not tell which they are."""
        band = self.entry.long_context
        return None if band is None or self.knows_long_context else band.threshold_input_tokens

    def knows_fast(self, day: str) -> bool:
        """Say whether the fast mode was sold on a day."""
        fast = self.entry.fast
        return (
            fast is not None
            and fast.valid_from <= day
            and (fast.valid_to is None or day < fast.valid_to)
        )

    def cents_per_token(
        self, token_type: str, tier: str, context_window: str, geo: str, speed: str
    ) -> Decimal:
        """Return the exact price of one token in cents."""
        entry = self.entry
        rate = entry.usd_per_mtok[token_type] * _CENTS_PER_TOKEN
        if tier == "batch":
            rate *= entry.batch_multiplier
        if geo == "us":
            rate *= entry.us_geo_multiplier or _ONE
        if speed == "fast" and entry.fast is not None:
            rate *= entry.fast.multiplier
        if context_window == LONG and entry.long_context is not None:
            band = entry.long_context
            is_output = token_type == "output_tokens"  # noqa: S105 - a kind of token, no secret
            rate *= band.output_multiplier if is_output else band.input_multiplier
        return rate


@attrs.frozen(eq=False)
class PriceList:
    """All prices, by model and day."""

    prices: tuple[Price, ...]
    cents_per_web_search: Decimal
    cents_per_container_hour: Decimal
    cents_per_session_hour: Decimal

    def at(self, model: str, day: str) -> Price | None:
        """Return the price of a model on a day (`YYYY-MM-DD`), or None when it was not sold."""
        for price in self.prices:
            if (
                price.model == model
                and price.valid_from <= day
                and (price.valid_to is None or day < price.valid_to)
            ):
                return price
        return None

    @property
    def aliases(self) -> dict[str, str]:
        """Return the names without a date, by the ids that reports give."""
        return {price.model: price.entry.model for price in self.prices}

    @property
    def first_day(self) -> date:
        """Return the day from which on anything was sold."""
        return date.fromisoformat(min(price.valid_from for price in self.prices))

    def of(self, model: str, day: str) -> Price:
        """Return the price of a model that is known to be sold on a day."""
        price = self.at(model, day)
        if price is None:
            raise LookupError(f"{model} has no price on {day}")
        return price

    def releases(self, family: str) -> list[tuple[str, str]]:
        """Return `(first day, model)` of every model of a family, oldest first."""
        first: dict[str, str] = {}
        for price in self.prices:
            if price.family == family:
                known = first.get(price.model)
                if known is None or price.valid_from < known:
                    first[price.model] = price.valid_from
        return sorted((day, model) for model, day in first.items())


@cache
def load_prices() -> PriceList:
    """Read the simulator's own price list.

    It is not the one that the package estimates by: what it sells, and from when, belongs to the
    invented organisation, whose answers stay the same when the other table learns.
    """
    text = resources.files("anthropic_usage.simulator").joinpath("list_prices.json").read_bytes()
    file = msgspec.json.decode(text, type=_File)
    return PriceList(
        prices=tuple(
            Price(
                model=entry.match[-1],
                family=next(name for name in FAMILIES if name in entry.model),
                title=_title(entry.model),
                valid_from=entry.valid_from,
                valid_to=entry.valid_to,
                entry=entry,
            )
            for entry in file.prices
        ),
        cents_per_web_search=file.other.web_search.usd_per_1000 * 100 / 1000,
        cents_per_container_hour=file.other.code_execution.usd_per_container_hour * 100,
        cents_per_session_hour=file.other.session_usage.usd_per_session_hour * 100,
    )


@cache
def iso_day(day: int) -> str:
    """Return a day's number as `YYYY-MM-DD`, the form that the price list is dated in."""
    return date_of(day).isoformat()


def _title(model: str) -> str:
    """Return the display name: `claude-sonnet-4-5` is "Claude Sonnet 4.5"."""
    parts = model.removeprefix("claude-").split("-")
    words = [part.capitalize() for part in parts if not part.isdigit()]
    version = ".".join(part for part in parts if part.isdigit())
    return " ".join(["Claude", *words, version])
