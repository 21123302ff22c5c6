"""What tokens cost by the list: a dated table, exact, and honest about what it cannot know.

The table is `data/claude_prices.json`: Anthropic's list prices with the days they held from and to,
and how sure each of them is. A model that is not in it has no price; none is ever guessed from a
name that looks alike. Where a usage row does not say what decides its price (a band of the context
window that the API does not split by, or a dimension that was not grouped by), the answer is an
interval.
"""

from __future__ import annotations

import datetime as dt
import decimal
import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from importlib import resources
from types import MappingProxyType
from typing import Any

import attrs
import msgspec

from ..documents import Entries, from_json, number, shown
from ..errors import InvalidQuery
from ..money import ZERO, add, divide, quantize, subtract, times, total
from ..reports import UsageRow

__all__ = [
    "CACHE_KINDS",
    "KINDS",
    "MEASURE_OF",
    "WEB_SEARCH",
    "Cost",
    "Model",
    "Price",
    "PriceTable",
    "add_costs",
    "model_named",
    "tokens_above",
]

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

MEASURE_OF = {
    KINDS[0]: "uncached_input_tokens",
    KINDS[1]: "cache_creation_5m_input_tokens",
    KINDS[2]: "cache_creation_1h_input_tokens",
    KINDS[3]: "cache_read_input_tokens",
    KINDS[4]: "output_tokens",
}
"""The field of a usage row that counts a kind."""

_LONG, _SHORT = "200k-1M", "0-200k"
_ONE = Decimal(1)
_MILLION = Decimal("0.000001")
_DAY = dt.timedelta(days=1)
_DATE = re.compile(r"-(20[0-9]{6}|latest)$", re.ASCII)
_OVERRIDE = "override"
_PLAIN = decimal.Context(prec=200)
_BILLED_TIERS = ("standard", "batch")
_USUAL_CACHE = {KINDS[1]: Decimal("1.25"), KINDS[2]: Decimal(2), KINDS[3]: Decimal("0.1")}
"""Cache prices as multiples of the input price, which is how Anthropic has set them as a rule."""

Band = tuple[Decimal, Decimal]
"""The lowest and the highest that it can be; equal where it is known."""


class _Fast(msgspec.Struct, frozen=True):
    multiplier: Decimal
    valid_from: dt.date
    valid_to: dt.date | None
    across_context: bool = False
    """Whether its price holds for the whole window, without the surcharge on long prompts."""


class _LongContext(msgspec.Struct, frozen=True):
    context_window: str | None
    input_multiplier: Decimal
    output_multiplier: Decimal
    threshold_input_tokens: int


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs on the days from `valid_from` up to and without `valid_to`.

    Amounts are US dollars for a million tokens at the standard tier, by `token_type`; a kind that
    is not among them has no known price.
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
    changes_in_day: bool = False
    """Whether use on `valid_from` may still have had the price before."""
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

    def usd_per_token(self, kind: str, row: UsageRow) -> Band | None:
        """Return what one token of a row costs, at the least and at the most; None if unknown."""
        rates = self.rates(kind, row)
        return _band(*rates) if rates else None

    def rates(self, kind: str, row: UsageRow) -> frozenset[Decimal]:
        """Return all that one token of a row may cost, in US dollars; nothing if unknown."""
        if kind not in self.usd_per_mtok:
            return frozenset()
        rates = {times(self.usd_per_mtok[kind], _MILLION)}
        for factors in (
            self._tier(row.service_tier),
            self._geo(row.inference_geo),
            self._modes(row, kind),
        ):
            rates = {times(rate, factor) for rate in rates for factor in factors}
        # Equal amounts that are written with more or fewer zeros are one.
        return frozenset(rates)

    def unresolved(self, row: UsageRow) -> str | None:
        """Say what the row leaves open about its price, or None."""
        if _wide(self._window(row.context_window, KINDS[0])) and _wide(self._mode(row, KINDS[0])):
            assert self.long_context is not None  # noqa: S101
            size = f"{self.long_context.threshold_input_tokens // 1000}k"
            return f"{self.model}: input above {size} tokens costs more, and rows do not say it"
        for name, band in (
            ("service_tier", self._tier(row.service_tier)),
            ("inference_geo", self._geo(row.inference_geo)),
            ("speed", self._mode(row, KINDS[0])),
        ):
            if _wide(band):
                if name == "speed" and row.speed is not None:
                    return f"{self.model}: its fast mode ended during {row.day}"
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

    def _mode(self, row: UsageRow, kind: str) -> Band:
        return _band(*self._modes(row, kind))

    def _modes(self, row: UsageRow, kind: str) -> list[Decimal]:
        """Return what the fast mode and the length of the prompt may multiply a price by."""
        window = self._window(row.context_window, kind)
        ends: list[Decimal] = []
        if row.speed != "fast" or not self._certainly_fast(row.day):
            ends += window
        if row.speed in (None, "fast") and (more := self._fast_on(row.day)) != 1:
            assert self.fast is not None  # noqa: S101
            among = _band(_ONE) if self.fast.across_context else window
            ends += [times(more, end) for end in among]
        return ends

    def _fast_on(self, day: dt.date) -> Decimal:
        """Return the fast mode's factor; on the day it ended, use may still have had it."""
        fast = self.fast
        ended_today = fast is not None and fast.valid_to == day
        return fast.multiplier if fast and ended_today else self.fast_multiplier(day)

    def _certainly_fast(self, day: dt.date) -> bool:
        return self.fast_multiplier(day) != 1


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


@attrs.frozen(kw_only=True)
class Model:
    """A model and all that it is called: by the API, by its aliases, with and without a date."""

    name: str
    names: tuple[str, ...]

    def __contains__(self, name: str | None) -> bool:
        return name in self.names


def tokens_above(
    over: Decimal, step: Decimal, tokens: int, slack: Decimal
) -> tuple[int, int] | None:
    """Return of how many of `tokens`, at the least and the most, the higher price makes up `over`.

    It is `step` above the lower one, and `over` is right to `slack`. None if no whole number does.
    """
    ends = subtract(over, slack), add(over, slack)
    first = max(0, int(quantize(divide(ends[0], step), 0, decimal.ROUND_CEILING)))
    last = min(tokens, int(quantize(divide(ends[1], step), 0, decimal.ROUND_FLOOR)))
    return (first, last) if first <= last else None


def model_named(text: str, known: Iterable[str] = ()) -> Model:
    """Return the model that a name stands for, by the bundled table: `PriceTable.model_named`."""
    return _bundled().model_named(text, known)


def _undated(name: str) -> str:
    return _DATE.sub("", name)


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

    @property
    def strangers(self) -> tuple[str, ...]:
        """Models of the overrides that the bundled table does not know."""
        known = _bundled()._by_name
        own = (price.model for price in self.prices if price.source == _OVERRIDE)
        return tuple(dict.fromkeys(name for name in own if name not in known))

    def price_of(self, model: str, day: dt.date) -> Price | None:
        """Return a model's price at the end of a UTC day; None if the table has none."""
        return next((price for price in self._by_name.get(model, ()) if price.holds(day)), None)

    def prices_of(self, model: str, day: dt.date) -> tuple[Price, ...]:
        """Return the prices that use on a UTC day may have had: two if they changed during it."""
        price = self.price_of(model, day)
        if price is None:
            return ()
        if not (price.changes_in_day and price.valid_from == day):
            return (price,)
        before = self.price_of(model, day - _DAY)
        return (price,) if before is None else (before, price)

    def may_be_fast(self, model: str | None, day: dt.date) -> bool:
        """Tell whether a model's use on a day can have been in the fast mode, at its own price."""
        return model is not None and any(
            price._fast_on(day) != 1 for price in self.prices_of(model, day)
        )

    def all_short(self, row: UsageRow) -> bool:
        """Tell whether a row has too little input for a prompt that costs more for its length."""
        bands = [price.long_context for price in self.prices_of(row.model or "", row.day)]
        return all(
            band is None or row.input_tokens <= band.threshold_input_tokens for band in bands
        )

    def model_named(self, text: str, known: Iterable[str] = ()) -> Model:
        """Return the model that a name stands for: an id, an alias, or a name without its date.

        `known` are names beside the table's own, such as those that a report has. Raises
        InvalidQuery for a name that no model has; it says which are near.
        """
        seen = tuple(dict.fromkeys(known))
        names = dict.fromkeys((*self._by_name, *seen))
        same = [name for name in names if text in (name, _undated(name))]
        if not same:
            near = self.near(text, names)
            hint = f"near are {', '.join(near)}" if near else "`anthropic-usage prices` lists all"
            raise InvalidQuery(f"no model is called {text!r}: {hint}")
        exact = [text] if text in names else same
        models = dict.fromkeys(self.canonical(name, names) for name in exact)
        every = [name for name in names if self.canonical(name, names) in models]
        return Model(name=next(iter(models)), names=tuple(dict.fromkeys((*exact, *every))))

    def near(self, text: str, among: Iterable[str] = ()) -> list[str]:
        """Return up to three names of models that a name may have meant."""
        names = [*dict.fromkeys((*self._by_name, *among))]
        close = difflib.get_close_matches(text.lower(), names, n=4, cutoff=0.6)
        close = close or [name for name in names if text and text.lower() in name]
        return [name for name in close if name != text][:3]

    def canonical(self, name: str, among: Iterable[str] = ()) -> str:
        """Return the one name of a model, whichever of its names this is.

        A model that the table does not know stands for itself, but for a name without a date that
        exactly one of the names `among` has with one.
        """
        if name in self._by_name:
            return self._by_name[name][0].model
        dated = [other for other in dict.fromkeys(among) if other != name]
        dated = [other for other in dated if _undated(other) == name]
        return dated[0] if len(dated) == 1 else name

    def with_overrides(self, overrides: str | Mapping[str, Any]) -> PriceTable:
        """Return a table in which the given prices go first.

        `overrides` is `{model: {"input_per_million": 3.0, "output_per_million": 15.0}}` in US
        dollars, or JSON of it; a model goes by any of its names. `cache_read_per_million`,
        `cache_write_5m_per_million` and `cache_write_1h_per_million` may be given too. They hold
        for all days, or from `valid_from` up to and without `valid_to`; a list of such objects
        gives a model several dated prices. What is not said stays as this table has it on each
        day: the caches' ratio to the input price, bands, multipliers; for a model it does not know
        the caches cost the usual 0.1, 1.25 and 2 times the input. Raises InvalidQuery.
        """
        stated = from_json(overrides) if isinstance(overrides, str) else dict(overrides)
        if not isinstance(stated, dict):
            raise InvalidQuery("prices must be a JSON object: {model: {input_per_million: ...}}")
        spans: dict[str, list[_Terms]] = {}
        for model, terms in stated.items():
            for each in terms if isinstance(terms, list) else [terms]:
                mine = _terms(model, each)
                others = spans.setdefault(self.canonical(model), [])
                if any(mine.overlaps(other) for other in others):
                    raise InvalidQuery(f"the prices of {model} are given twice for the same days")
                others.append(mine)
        own = [price for model, each in spans.items() for price in self._overridden(model, each)]
        return PriceTable((*own, *self.prices), self.web_search_usd, self.as_of)

    def cost(self, row: UsageRow) -> Cost:
        """Return what the use in a row costs at list prices on the row's day.

        The row must carry `model`; without `service_tier`, `context_window`, `inference_geo` or
        `speed` the cost is an interval where they matter.
        """
        by_kind: dict[str, Band] = {}
        if row.web_search_requests:
            # A search costs the same whatever the tier.
            searches = times(self.web_search_usd, row.web_search_requests)
            by_kind[WEB_SEARCH] = searches, searches
        if row.service_tier is not None and row.service_tier not in _BILLED_TIERS:
            why = f"service tier {row.service_tier} is not billed by the token"
            return Cost(by_kind=by_kind, unbilled_tokens=row.total_tokens, reasons=(why,))
        prices = self.prices_of(row.model, row.day) if row.model else ()
        unpriced = 0
        for kind, measure in MEASURE_OF.items():
            if not (tokens := getattr(row, measure)):
                continue
            bands = [price.usd_per_token(kind, row) for price in prices]
            ends = [end for band in bands if band is not None for end in band]
            if ends and None not in bands:
                by_kind[kind] = times(min(ends), tokens), times(max(ends), tokens)
            else:
                unpriced += tokens
        return Cost(
            by_kind=by_kind, unpriced_tokens=unpriced, reasons=tuple(_why(row, prices, unpriced))
        )

    def rates(self, row: UsageRow) -> dict[str, frozenset[Decimal]]:
        """Return all that one token of each kind used in a row may cost; nothing if unknown."""
        prices = self.prices_of(row.model, row.day) if row.model else ()
        rates = {}
        for kind, measure in MEASURE_OF.items():
            if getattr(row, measure):
                each = [price.rates(kind, row) for price in prices]
                rates[kind] = frozenset().union(*each) if all(each) else frozenset()
        return rates

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

    def _overridden(self, model: str, spans: list[_Terms]) -> Iterator[Price]:
        """Yield a model's prices as given, one for each of the table's own that they change."""
        known = sorted(self._by_name.get(model, ()), key=lambda price: price.valid_from)
        # An override of this table's own goes before the price it was made from.
        known = [price for price in known if self.price_of(model, price.valid_from) == price]
        for span in spans:
            if not known:
                yield span.applied(None, span.valid_from, span.valid_to)
            for place, price in enumerate(known):
                start = price.valid_from if place else dt.date.min
                end = known[place + 1].valid_from if place + 1 < len(known) else None
                start = max(start, span.valid_from)
                ends = [day for day in (end, span.valid_to) if day is not None]
                if not ends or start < min(ends):
                    yield span.applied(price, start, min(ends, default=None))


@attrs.frozen
class _Terms:
    """What an override says of a model on some days."""

    model: str
    rates: Mapping[str, Decimal]
    valid_from: dt.date
    valid_to: dt.date | None

    def overlaps(self, other: _Terms) -> bool:
        """Tell whether a day is in both."""
        return (other.valid_to is None or self.valid_from < other.valid_to) and (
            self.valid_to is None or other.valid_from < self.valid_to
        )

    def applied(self, price: Price | None, start: dt.date, end: dt.date | None) -> Price:
        """Return a price with these terms, and for the rest as it was."""
        base = price or Price(
            model=self.model, match=(self.model,), valid_from=start, usd_per_mtok={}
        )
        rates = {**base.usd_per_mtok, **self.rates}
        for needed, name in ((KINDS[0], "input_per_million"), (KINDS[4], "output_per_million")):
            if needed not in rates:
                raise InvalidQuery(f"the prices of {self.model} lack {name}")
        for kind in CACHE_KINDS:
            if kind not in self.rates and KINDS[0] in self.rates:
                rates[kind] = _kept_ratio(kind, base.usd_per_mtok, rates[KINDS[0]])
        return msgspec.structs.replace(
            base,
            valid_from=start,
            valid_to=end,
            usd_per_mtok=rates,
            changes_in_day=base.changes_in_day and base.valid_from == start,
            source=_OVERRIDE,
            confidence="as given",
        )


def _kept_ratio(kind: str, before: Mapping[str, Decimal], rate: Decimal) -> Decimal:
    """Return a cache price that keeps its ratio to the input price."""
    if kind not in before or not before[KINDS[0]]:
        return times(rate, _USUAL_CACHE[kind])
    # Twenty digits are more than any list price needs, and leave products room to stay exact.
    exact = divide(times(rate, before[kind]), before[KINDS[0]])
    return quantize(exact, 20).normalize(_PLAIN)


def _terms(model: str, terms: Any) -> _Terms:
    if not isinstance(terms, Mapping):
        raise InvalidQuery(f"the prices of {model} must be an object of dollars per million")
    names = {
        "input_per_million": KINDS[0],
        "cache_write_5m_per_million": KINDS[1],
        "cache_write_1h_per_million": KINDS[2],
        "cache_read_per_million": KINDS[3],
        "output_per_million": KINDS[4],
    }
    unknown = set(terms) - set(names) - {"valid_from", "valid_to"}
    if unknown:
        raise InvalidQuery(
            f"the prices of {model} have {', '.join(sorted(map(repr, unknown)))}; "
            f"known are {', '.join(names)}, valid_from, valid_to"
        )
    lines = terms.lines if isinstance(terms, Entries) else {}
    at = {name: f"{name} of {model}" for name in names}
    at |= {name: f"{name} of {model} (line {line})" for name, line in lines.items()}
    rates = {kind: _rate(at[name], terms[name]) for name, kind in names.items() if name in terms}
    start, end = (_date(model, name, terms.get(name)) for name in ("valid_from", "valid_to"))
    if end is not None and start is not None and end <= start:
        raise InvalidQuery(f"the prices of {model} end on {end}, before they begin")
    if not rates:
        raise InvalidQuery(f"the prices of {model} lack input_per_million")
    return _Terms(model=model, rates=rates, valid_from=start or dt.date.min, valid_to=end)


def _date(model: str, name: str, value: Any) -> dt.date | None:
    if value is None or (isinstance(value, dt.date) and not isinstance(value, dt.datetime)):
        return value
    try:
        return dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidQuery(f"{name} of {model} must be a day such as 2026-11-01") from None


def _why(row: UsageRow, prices: tuple[Price, ...], unpriced: int) -> Iterator[str]:
    """Say why a row's cost is not one exact number."""
    if unpriced:
        yield f"no price for {row.model or 'a row without a model'} on {row.day}"
    if len(prices) > 1 and prices[0].usd_per_mtok != prices[1].usd_per_mtok:
        yield f"{prices[0].model}: its price changed during {row.day}"
    for price in prices:
        if open_question := price.unresolved(row):
            yield open_question


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


def _rate(where: str, value: Any) -> Decimal:
    """Return a price as it was written; a float's own digits are what was written."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidQuery(f"{where} must be a number of dollars, not {shown(value)}")
    rate = number(where, value)
    if rate < 0:
        raise InvalidQuery(f"{where} is below zero")
    return rate
