"""Compare the bundled prices with those of the package `genai-prices`; a new disagreement fails.

`make price-drift`. Both are read from disk; nothing is asked of any network. They are compared on
each day from which a bundled price holds, and today. Neither table is the truth, which is
Anthropic's pricing page: whoever has looked there puts a disagreement into
`price_drift_known.json`, with the day and the reason, or mends the bundled table.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from anthropic_usage.analysis.prices import KINDS, Price, PriceTable

KNOWN = Path(__file__).with_name("price_drift_known.json")
_THEIRS = {
    KINDS[0]: "input_mtok",
    KINDS[1]: "cache_write_mtok",
    KINDS[2]: "cache_write_1h_mtok",
    KINDS[3]: "cache_read_mtok",
    KINDS[4]: "output_mtok",
}
Key = tuple[str, str | None]


def theirs(model: str, day: dt.date) -> dict[str, Decimal] | None:
    """Return what genai-prices says a model costs on a day, by kind of token; None if nothing."""
    from genai_prices.data_snapshot import get_snapshot

    moment = dt.datetime.combine(day, dt.time(12), dt.UTC)
    try:
        _, info = get_snapshot().find_provider_model(model, None, "anthropic", None)
    except LookupError:
        return None
    price: Any = info.get_prices(moment)
    rates = {kind: getattr(price, name, None) for kind, name in _THEIRS.items()}
    # A price in tiers begins with that of short prompts, which is the one to compare.
    return {
        kind: Decimal(str(getattr(rate, "base", rate)))
        for kind, rate in rates.items()
        if rate is not None
    }


def differences(prices: Iterable[Price], day: dt.date) -> Iterator[tuple[Key, str]]:
    """Yield what is not the same in both tables on a day: its model and kind, and a sentence."""
    for price in prices:
        if not price.holds(day):
            continue
        found = theirs(price.match[-1], day)
        if found is None:
            yield (price.model, None), f"{price.model}: genai-prices does not know it"
            continue
        for kind, rate in found.items():
            ours = price.usd_per_mtok.get(kind)
            # A kind that was never sold for a model is no disagreement.
            if ours is not None and rate != ours:
                yield (
                    (price.model, kind),
                    f"{price.model} {kind} on {day}: ours {ours}, genai-prices {rate} "
                    f"({price.confidence})",
                )


def known(path: Path = KNOWN) -> dict[Key, tuple[dt.date, dt.date | None, str]]:
    """Return the disagreements that somebody has judged: on which days they hold, and why."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {
        (entry["model"], entry["kind"]): (
            dt.date.fromisoformat(entry["from"]),
            dt.date.fromisoformat(entry["to"]) if entry["to"] else None,
            f"{entry['reason']} (judged {entry['judged']})",
        )
        for entry in entries
    }


def judge(
    prices: Iterable[Price], days: Iterable[dt.date], path: Path = KNOWN
) -> tuple[list[str], list[str]]:
    """Return the disagreements that are new, and those that are known, with the reason."""
    judged = known(path)
    new: dict[str, None] = {}
    old: dict[str, None] = {}
    every = list(prices)
    for day in days:
        for key, sentence in differences(every, day):
            start, end, reason = judged.get(key, (dt.date.max, None, ""))
            if start <= day and (end is None or day < end):
                old[f"{key[0]} {key[1] or '(not in genai-prices)'}: known: {reason}"] = None
            else:
                new[sentence] = None
    return list(new), list(old)


def main() -> int:
    """Print the differences; 1 if one of them is new."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", type=dt.date.fromisoformat, help="this day only")
    options = parser.parse_args()
    prices = PriceTable.bundled().prices
    days = sorted({price.valid_from for price in prices} | {dt.datetime.now(dt.UTC).date()})
    new, old = judge(prices, [options.date] if options.date else days)
    print("\n".join([*old, *new]) or "no difference")
    print(f"{len(prices)} prices, {len(old)} known differences, {len(new)} new")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
