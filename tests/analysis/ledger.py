"""An invented organisation whose bill is written in fractions, with what was done to it."""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

from anthropic_usage import PermissionDenied, Report
from anthropic_usage.analysis.prices import KINDS, WEB_SEARCH, PriceTable
from anthropic_usage.reports import COST, USAGE
from support import DAY, bucket, report_of

TABLE = PriceTable.bundled()
SEARCH = Fraction(TABLE.web_search_usd)
KEYS = ("workspace_id", "model", "kind", "service_tier", "context_window", "inference_geo")
Use = dict[str, Any]


def list_price(use: Use) -> Fraction:
    """Return dollars for one token of a use, of which everything is known."""
    price = TABLE.price_of(use["model"], use["day"].date())
    assert price is not None
    rate = Fraction(price.usd_per_mtok[use["kind"]]) / 1_000_000
    if use["service_tier"] == "batch":
        rate *= Fraction(price.batch_multiplier)
    if use["inference_geo"] == "us":
        rate *= Fraction(price.us_geo_multiplier or 1)
    if use.get("speed") == "fast":
        rate *= Fraction(price.fast_multiplier(use["day"].date()))
    if use.get("long") and price.long_context:
        rate *= Fraction(price.long_context.input_multiplier)
    return rate


def list_cost(use: Use) -> Fraction:
    """Return what a use costs by the list, in dollars; web searches are of kind WEB_SEARCH."""
    if use["kind"] == WEB_SEARCH:
        return SEARCH * use["count"]
    return list_price(use) * use["count"]


class Ledger:
    """Uses, and the bill that is made of them; a `Source`."""

    def __init__(self, first: dt.datetime, days: int, now: dt.datetime | None = None) -> None:
        self.first, self.last = first, first + days * DAY
        self.now = now or self.last + 5 * DAY
        self.uses: list[Use] = []
        self.lines: list[dict[str, Any]] = []
        self.fast_refused = False

    @property
    def days(self) -> list[dt.datetime]:
        """All days of the ledger."""
        return [self.first + step * DAY for step in range((self.last - self.first) // DAY)]

    def use(self, day: dt.datetime, count: int, **facts: Any) -> None:
        """Note use of a kind of token."""
        self.uses.append(
            {
                "day": day,
                "count": count,
                "workspace_id": "wrkspc_1",
                "model": "claude-opus-4-8",
                "kind": KINDS[4],
                "service_tier": "standard",
                "context_window": "0-200k",
                "inference_geo": "global",
                **facts,
            }
        )

    def bill(
        self,
        share: Callable[[Use], Fraction] = lambda use: Fraction(1),
        *,
        billed_as: Callable[[Use], str | None] = lambda use: use["service_tier"],
        places: int | None = 6,
    ) -> None:
        """Write the bill: each use at a share of the list, as of a tier, and rounded.

        `billed_as` None is use that is not billed. `places` are decimals of a cent.
        """
        sums: dict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
        for use in self.uses:
            tier = billed_as(use)
            if use["kind"] == WEB_SEARCH:
                key = (use["day"], use["workspace_id"], None, WEB_SEARCH, None, None, None, None)
            elif tier is None:
                continue
            else:
                speed = use.get("speed")
                key = (
                    use["day"],
                    use["workspace_id"],
                    use["model"],
                    use["kind"],
                    tier,
                    use["context_window"],
                    use["inference_geo"],
                    speed,
                )
            standard = {**use, "service_tier": tier} if tier == "standard" else use
            at = {**use, **dict(zip(KEYS, key[1:], strict=False))}
            sums[key] += list_cost(standard) * share(at)
        for (day, *values, speed), dollars in sums.items():
            facts = dict(zip(KEYS, values, strict=True))
            if speed:
                facts["description"] = f"{facts['model']} Usage, Fast Mode"
            self.line(day, dollars, places=places, **facts)

    def line(
        self, day: dt.datetime, dollars: Fraction | str, *, places: int | None = 6, **facts: Any
    ) -> dict[str, Any]:
        """Write a line of the bill."""
        cents = Fraction(dollars) * 100
        amount = Decimal(cents.numerator) / Decimal(cents.denominator)
        if places is not None:
            amount = amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
        kind = facts.pop("kind", None)
        search = kind == WEB_SEARCH
        line = {
            "day": day,
            "currency": "USD",
            "amount": f"{amount:f}",
            "workspace_id": "wrkspc_1",
            "description": "Web Search Usage" if search else f"{facts.get('model')} Usage",
            "cost_type": "web_search" if search else "tokens",
            "model": None,
            "token_type": None if search else kind,
            "service_tier": None,
            "context_window": None,
            "inference_geo": None,
            **facts,
        }
        self.lines.append(line)
        return line

    @property
    def billed(self) -> Fraction:
        """The bill, in dollars."""
        return sum((Fraction(line["amount"]) for line in self.lines), Fraction()) / 100

    @property
    def listed(self) -> Fraction:
        """What all use costs by the list, of tiers that are not billed at standard prices."""
        return sum((list_cost(use) for use in self.uses), Fraction())

    def usage(
        self,
        starting_at: Any,
        ending_at: Any = None,
        *,
        bucket_width: str = "1d",
        group_by: Any = (),
        speeds: Any = None,
    ) -> Report[Any]:
        """Answer as the usage report does."""
        query = USAGE.ask(starting_at, ending_at, group_by=group_by, speeds=speeds)
        if speeds is not None and self.fast_refused:
            raise PermissionDenied("not for this key", status=403)
        groups: dict[Any, dict[str, Any]] = {}
        for use in self.uses:
            if speeds is not None and use.get("speed") != "fast":
                continue
            key = use["day"], *(use.get(name) for name in query.group_by)
            result = groups.setdefault(key, _nothing(use, query.group_by))
            if use["kind"] == WEB_SEARCH:
                result["server_tool_use"]["web_search_requests"] += use["count"]
                continue
            *path, field = use["kind"].split(".")
            (result[path[0]] if path else result)[field] += use["count"]
        return self._report(query, [(key[0], result) for key, result in groups.items()])

    def cost(self, starting_at: Any, ending_at: Any = None, *, group_by: Any = ()) -> Report[Any]:
        """Answer as the cost report does."""
        query = COST.ask(starting_at, ending_at, group_by=group_by)
        return self._report(query, [(line["day"], dict(line)) for line in self.lines])

    def _report(self, query: Any, results: list[tuple[dt.datetime, dict[str, Any]]]) -> Report[Any]:
        days: dict[dt.datetime, list[Any]] = defaultdict(list)
        for day, result in results:
            days[day].append({name: value for name, value in result.items() if name != "day"})
        data = []
        day = query.starting_at
        while day < query.ending_at and (
            day + DAY <= self.now or (query.report == "usage" and day <= self.now)
        ):
            data.append(bucket(day, days[day]))
            day += DAY
        return report_of(query, data, now=self.now)


def _nothing(use: Use, grouped: Any) -> dict[str, Any]:
    return {
        "uncached_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
        "server_tool_use": {"web_search_requests": 0},
        **{name: use.get(name) for name in grouped},
    }


MODELS = ("claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5-20251001", "claude-haiku-5-5")
WORKSPACES = (None, "wrkspc_1", "wrkspc_2")


def random_use(
    ledger: Ledger,
    chance: random.Random,
    *,
    models: tuple[str, ...] = MODELS,
    tiers: tuple[str, ...] = ("standard", "batch"),
    fast: bool = False,
) -> None:
    """Fill a ledger with use by some workspaces, models, tiers and places."""
    teams = [
        (workspace, model, tier, geo)
        for workspace in WORKSPACES
        for model in models
        for tier in tiers
        for geo in (("global", "us") if model != "claude-haiku-4-5-20251001" else ("global",))
        if chance.random() < 0.6
    ] or [("wrkspc_1", models[0], "standard", "global")]
    for day in ledger.days:
        for workspace, model, tier, geo in teams:
            facts = {
                "workspace_id": workspace,
                "model": model,
                "service_tier": tier,
                "inference_geo": geo,
            }
            size = chance.choice((3_000, 200_000, 9_000_000))
            for kind in KINDS:
                ledger.use(day, 1 + chance.randrange(size), **facts, kind=kind)
            if chance.random() < 0.3:
                ledger.use(day, chance.randrange(1, 50), **facts, kind=WEB_SEARCH)
            if model == "claude-haiku-5-5" and chance.random() < 0.5:
                # Requests with long prompts have output, and input above the threshold.
                for kind in KINDS[:4]:
                    count = 100_001 + chance.randrange(size)
                    ledger.use(day, count, **facts, kind=kind, long=True)
                ledger.use(day, 1 + chance.randrange(size), **facts, kind=KINDS[4], long=True)
            if fast and model == "claude-opus-4-8" and chance.random() < 0.5:
                for kind in KINDS:
                    count = 1 + chance.randrange(size)
                    ledger.use(day, count, **facts, kind=kind, speed="fast")
