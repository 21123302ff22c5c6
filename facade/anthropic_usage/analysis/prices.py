"""What tokens cost by the list: a dated table, exact, and honest about what it cannot know.

The table is `data/claude_prices.json`: Anthropic's list prices with the days they held from and to,
and how sure each of them is. A model that is not in it has no price; none is ever guessed from a
name that looks alike. Where a usage row does not say what decides its price (a band of the context
window that the API does not split by, or a dimension that was not grouped by), the answer is an
interval.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from importlib import resources
from types import MappingProxyType
from typing import Any

import attrs
import msgspec

from ..errors import InvalidQuery
from ..money import ZERO, add, check_amount, times, total
from ..rows import UsageRow

__all__ = ["CACHE_KINDS", "KINDS", "WEB_SEARCH", "Cost", "Price", "PriceTable", "add_costs"]

KINDS = (
    "uncached_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)
"""The kinds of tokens, by the cost report's `token_type`."""

CACHE_KINDS = KINDS[1:4]
WEB_SEARCH = "web_search_requests"

_MEASURE = {
    KINDS[0]: "uncached_input_tokens",
    KINDS[1]: "cache_creation_5m_input_tokens",
    KINDS[2]: "cache_creation_1h_input_tokens",
    KINDS[3]: "cache_read_input_tokens",
    KINDS[4]: "output_tokens",
}
_LONG, _SHORT = "200k-1M", "0-200k"
_ONE = Decimal(1)
_MILLION = Decimal("0.000001")
_BILLED_TIERS = ("standard", "batch")
_USUAL_CACHE = {KINDS[1]: Decimal("1.25"), KINDS[2]: Decimal(2), KINDS[3]: Decimal("0.1")}
"""Cache prices as multiples of the input price, which is how Anthropic has set them as a rule."""

Band = tuple[Decimal, Decimal]
"""The lowest and the highest that it can be; equal where it is known."""


class _Fast(msgspec.Struct, frozen=True):
    multiplier: Decimal
    valid_from: dt.date
    valid_to: dt.date | None


class _LongContext(msgspec.Struct, frozen=True):
    context_window: str | None
    input_multiplier: Decimal
    output_multiplier: Decimal
    threshold_input_tokens: int


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs on the days from `valid_from` up to and without `valid_to`.

    Amounts are US dollars for a million tokens at the standard tier, by `token_type`.
    """

    model: str
    match: tuple[str, ...]
    valid_from: dt.date
    valid_to: dt.date | None = None
    usd_per_mtok: dict[str, Decimal]
    batch_multiplier: Decimal = Decimal("0.5")
    us_geo_multiplier: Decimal | None = None
    fast: _Fast | None = None
    long_context: _LongContext | None = None
    source: str = ""
    confidence: str = ""

    def holds(self, day: dt.date) -> bool:
        """Tell whether this is the price on a day."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)

    def fast_multiplier(self, day: dt.date) -> Decimal:
        """Return what the fast mode multiplies the price by; 1 where it was not sold."""
        fast = self.fast
        if fast is None or day < fast.valid_from:
            return _ONE
        return _ONE if fast.valid_to is not None and day >= fast.valid_to else fast.multiplier

    def usd_per_token(self, kind: str, row: UsageRow) -> Band:
        """Return what one token of a row costs, at the least and at the most."""
        low = high = times(self.usd_per_mtok[kind], _MILLION)
        for least, most in (
            self._tier(row.service_tier),
            self._geo(row.inference_geo),
            self._window(row.context_window, kind),
            self._speed(row.speed, row.day),
        ):
            low, high = times(low, least), times(high, most)
        return low, high

    def unresolved(self, row: UsageRow) -> str | None:
        """Say what the row leaves open about its price, or None."""
        if _wide(self._window(row.context_window, KINDS[0])):
            assert self.long_context is not None  # noqa: S101
            size = f"{self.long_context.threshold_input_tokens // 1000}k"
            return f"{self.model}: input above {size} tokens costs more, and rows do not say it"
        for name, band in (
            ("service_tier", self._tier(row.service_tier)),
            ("inference_geo", self._geo(row.inference_geo)),
            ("speed", self._speed(row.speed, row.day)),
        ):
            if _wide(band):
                return f"{self.model}: the price depends on {name}, which was not asked for"
        return None

    def _tier(self, tier: str | None) -> Band:
        if tier is None:
            return _band(self.batch_multiplier, _ONE)
        return _band(self.batch_multiplier if tier == "batch" else _ONE)

    def _geo(self, geo: str | None) -> Band:
        more = self.us_geo_multiplier or _ONE
        if geo is None:
            return _band(_ONE, more)
        return _band(more if geo == "us" else _ONE)

    def _window(self, window: str | None, kind: str) -> Band:
        band = self.long_context
        if band is None:
            return _band(_ONE)
        more = band.output_multiplier if kind == KINDS[4] else band.input_multiplier
        if window == _LONG:
            return _band(more)
        # The API splits at 200k only; a band that begins elsewhere cannot be told from below.
        known = window == _SHORT and band.context_window == _LONG
        return _band(_ONE) if known else _band(_ONE, more)

    def _speed(self, speed: str | None, day: dt.date) -> Band:
        more = self.fast_multiplier(day)
        if speed is None:
            return _band(_ONE, more)
        return _band(more if speed == "fast" else _ONE)


def _band(*ends: Decimal) -> Band:
    return min(ends), max(ends)


def _wide(band: Band) -> bool:
    return band[0] != band[1]


@attrs.frozen(kw_only=True)
class Cost:
    """What use costs at list prices, in US dollars, exact.

    `by_kind` is keyed by the cost report's `token_type`, and by `web_search_requests`.
    """

    by_kind: Mapping[str, Band] = attrs.field(factory=dict)
    unpriced_tokens: int = 0
    """Tokens of models without a price on their day."""
    unbilled_tokens: int = 0
    """Tokens of tiers that are not billed by the token, such as Priority Tier."""
    reasons: tuple[str, ...] = ()
    """Why it is not one exact number for everything."""

    @property
    def low(self) -> Decimal:
        """The least it can be."""
        return total(low for low, _ in self.by_kind.values())

    @property
    def high(self) -> Decimal:
        """The most it can be."""
        return total(high for _, high in self.by_kind.values())

    @property
    def exact(self) -> bool:
        """Whether it is one number, for all of the tokens."""
        return self.low == self.high and not self.unpriced_tokens


def add_costs(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs."""
    by_kind: dict[str, Band] = {}
    unpriced = unbilled = 0
    reasons: dict[str, None] = {}
    for cost in costs:
        for kind, (low, high) in cost.by_kind.items():
            known = by_kind.get(kind, (ZERO, ZERO))
            by_kind[kind] = add(known[0], low), add(known[1], high)
        unpriced += cost.unpriced_tokens
        unbilled += cost.unbilled_tokens
        reasons.update(dict.fromkeys(cost.reasons))
    return Cost(
        by_kind=by_kind,
        unpriced_tokens=unpriced,
        unbilled_tokens=unbilled,
        reasons=tuple(reasons),
    )


class PriceTable:
    """Dated list prices, by model; what overrides say goes first."""

    def __init__(
        self,
        prices: Iterable[Price],
        web_search_usd: Decimal = Decimal("0.01"),
        as_of: str = "",
    ) -> None:
        self.prices = tuple(prices)
        self.web_search_usd = web_search_usd
        """US dollars for one web search."""
        self.as_of = as_of
        """The day on which the table was checked last."""
        by_name: dict[str, list[Price]] = {}
        for price in self.prices:
            for name in dict.fromkeys((*price.match, price.model)):
                by_name.setdefault(name, []).append(price)
        self._by_name = MappingProxyType(by_name)

    @classmethod
    def bundled(cls) -> PriceTable:
        """Return the table that ships with the package."""
        return _bundled()

    def price_of(self, model: str, day: dt.date) -> Price | None:
        """Return a model's price on a UTC day; None if the table has none."""
        return next((price for price in self._by_name.get(model, ()) if price.holds(day)), None)

    def with_overrides(self, overrides: str | Mapping[str, Any]) -> PriceTable:
        """Return a table in which the given prices go first, for all days.

        `overrides` is `{model: {"input_per_million": 3.0, "output_per_million": 15.0}}` in US
        dollars, or JSON of it. `cache_read_per_million`, `cache_write_5m_per_million` and
        `cache_write_1h_per_million` may be given too; otherwise the caches keep the ratio to the
        input price that they have in this table, or, for a model it does not know, the usual one:
        0.1, 1.25 and 2 times. Raises InvalidQuery.
        """
        stated = _parsed(overrides) if isinstance(overrides, str) else dict(overrides)
        if not isinstance(stated, dict):
            raise InvalidQuery("prices must be a JSON object: {model: {input_per_million: ...}}")
        own = [self._override(model, terms) for model, terms in stated.items()]
        return PriceTable((*own, *self.prices), self.web_search_usd, self.as_of)

    def cost(self, row: UsageRow) -> Cost:
        """Return what the use in a row costs at list prices on the row's day.

        The row must carry `model`; without `service_tier`, `context_window`, `inference_geo` or
        `speed` the cost is an interval where they matter.
        """
        if row.service_tier is not None and row.service_tier not in _BILLED_TIERS:
            why = f"service tier {row.service_tier} is not billed by the token"
            return Cost(unbilled_tokens=row.total_tokens, reasons=(why,))
        by_kind: dict[str, Band] = {}
        if row.web_search_requests:
            searches = times(self.web_search_usd, row.web_search_requests)
            by_kind[WEB_SEARCH] = searches, searches
        price = self.price_of(row.model, row.day) if row.model else None
        if price is None:
            tokens = row.total_tokens
            why = f"no price for {row.model or 'a row without a model'} on {row.day}"
            return Cost(by_kind=by_kind, unpriced_tokens=tokens, reasons=(why,) if tokens else ())
        for kind, measure in _MEASURE.items():
            tokens = getattr(row, measure)
            if tokens:
                low, high = price.usd_per_token(kind, row)
                by_kind[kind] = times(low, tokens), times(high, tokens)
        open_question = price.unresolved(row)
        return Cost(by_kind=by_kind, reasons=(open_question,) if open_question else ())

    def without_caching(self, row: UsageRow) -> Cost:
        """Return what a row would cost had all of its input been sent afresh."""
        return self.cost(
            msgspec.structs.replace(
                row,
                uncached_input_tokens=row.input_tokens,
                cache_creation_5m_input_tokens=0,
                cache_creation_1h_input_tokens=0,
                cache_read_input_tokens=0,
            )
        )

    def _override(self, model: str, terms: Any) -> Price:
        if not isinstance(terms, Mapping):
            raise InvalidQuery(f"the prices of {model} must be an object of dollars per million")
        names = {
            "input_per_million": KINDS[0],
            "cache_write_5m_per_million": KINDS[1],
            "cache_write_1h_per_million": KINDS[2],
            "cache_read_per_million": KINDS[3],
            "output_per_million": KINDS[4],
        }
        unknown = set(terms) - set(names)
        if unknown:
            raise InvalidQuery(
                f"the prices of {model} have {', '.join(sorted(map(repr, unknown)))}; "
                f"known are {', '.join(names)}"
            )
        for needed in ("input_per_million", "output_per_million"):
            if needed not in terms:
                raise InvalidQuery(f"the prices of {model} lack {needed}")
        rates = {names[name]: _rate(model, name, value) for name, value in terms.items()}
        known = self._by_name.get(model, [])
        newest = max(known, key=lambda price: price.valid_from, default=None)
        for kind in CACHE_KINDS:
            if kind not in rates:
                ratio = _USUAL_CACHE[kind]
                if newest is not None and newest.usd_per_mtok[KINDS[0]]:
                    # Every ratio in use is a short decimal; money.times keeps the product exact.
                    ratio = newest.usd_per_mtok[kind] / newest.usd_per_mtok[KINDS[0]]
                rates[kind] = times(rates[KINDS[0]], ratio)
        return Price(
            model=newest.model if newest else model,
            match=newest.match if newest else (model,),
            valid_from=dt.date.min,
            usd_per_mtok=rates,
            batch_multiplier=newest.batch_multiplier if newest else Decimal("0.5"),
            us_geo_multiplier=newest.us_geo_multiplier if newest else None,
            fast=newest.fast if newest else None,
            long_context=newest.long_context if newest else None,
            source="override",
            confidence="as given",
        )


class _WebSearch(msgspec.Struct, frozen=True):
    usd_per_1000: Decimal


class _Other(msgspec.Struct, frozen=True):
    web_search: _WebSearch


class _File(msgspec.Struct, frozen=True):
    as_of: str
    prices: list[Price]
    other: _Other


@functools.cache
def _bundled() -> PriceTable:
    data = resources.files("anthropic_usage").joinpath("data", "claude_prices.json").read_bytes()
    file = msgspec.json.decode(data, type=_File)
    per_search = times(file.other.web_search.usd_per_1000, Decimal("0.001"))
    return PriceTable(file.prices, per_search, file.as_of)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except ValueError as error:
        raise InvalidQuery(f"the prices are no JSON: {error}") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no price")


def _rate(model: str, name: str, value: Any) -> Decimal:
    """Return a price as it was written; a float's own digits are what was written."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidQuery(f"{name} of {model} must be a number of dollars, not {value!r}")
    try:
        rate = check_amount(Decimal(str(value)))
    except (ArithmeticError, ValueError):
        raise InvalidQuery(f"{name} of {model} is {value!r}, which is no amount") from None
    if rate < 0:
        raise InvalidQuery(f"{name} of {model} is below zero")
    return rate
