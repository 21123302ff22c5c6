"""A disagreement with the other price table is either judged, or fails."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import msgspec
import price_drift
import pytest
from anthropic_usage.analysis.prices import KINDS, PriceTable

pytest.importorskip("genai_prices")

PRICES = PriceTable.bundled().prices
DAY = dt.date(2026, 11, 10)


def test_every_dated_price_agrees_or_is_judged() -> None:
    new, old = price_drift.judge(PRICES, {price.valid_from for price in PRICES})
    assert new == []
    assert len(old) == len(price_drift.known())


def test_a_new_disagreement_is_told(tmp_path: Path) -> None:
    wrong = [
        msgspec.structs.replace(
            price, usd_per_mtok={**price.usd_per_mtok, KINDS[2]: Decimal("7.77")}
        )
        for price in PRICES
        if price.model == "claude-opus-5"
    ]
    (sentence,), _ = price_drift.judge(wrong, [DAY])
    assert "claude-opus-5" in sentence
    assert "7.77" in sentence
    judged = {
        "model": "claude-opus-5",
        "kind": KINDS[2],
        "from": "2026-11-10",
        "to": "2026-11-11",
        "judged": "2026-11-12",
        "reason": "an example",
    }
    path = tmp_path / "known.json"
    path.write_text(json.dumps([judged]), encoding="utf-8")
    assert price_drift.judge(wrong, [DAY], path)[0] == []
    assert len(price_drift.judge(wrong, [DAY + dt.timedelta(days=1)], path)[0]) == 1
