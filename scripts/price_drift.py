"""Compare the bundled prices with those of the package `genai-prices`, and print what differs.

`make prices-drift`. Both are read from disk; nothing is asked of any network. Differences are
printed for people to judge (`--strict` makes them an error): neither table is the truth, which is
Anthropic's pricing page.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from anthropic_usage.analysis.prices import KINDS, PriceTable

_THEIRS = {
    KINDS[0]: "input_mtok",
    KINDS[1]: "cache_write_mtok",
    KINDS[3]: "cache_read_mtok",
    KINDS[4]: "output_mtok",
}


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


def differences(day: dt.date) -> Iterator[str]:
    """Yield a line for each price of a day that is not the same in both tables."""
    for price in PriceTable.bundled().prices:
        if not price.holds(day):
            continue
        found = theirs(price.match[-1], day)
        if found is None:
            yield f"{price.model}: genai-prices does not know it"
            continue
        for kind, rate in found.items():
            if kind in price.usd_per_mtok and rate != price.usd_per_mtok[kind]:
                ours = price.usd_per_mtok[kind]
                yield f"{price.model} {kind}: ours {ours}, genai-prices {rate} ({price.confidence})"


def main() -> int:
    """Print the differences of a day."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", type=dt.date.fromisoformat, default=dt.date.today())
    parser.add_argument("--strict", action="store_true", help="differences are an error")
    options = parser.parse_args()
    found = list(differences(options.date))
    print("\n".join(found) or "no difference")
    known = sum(price.holds(options.date) for price in PriceTable.bundled().prices)
    print(f"{known} models with a price on {options.date}, {len(found)} differences")
    return 1 if found and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
