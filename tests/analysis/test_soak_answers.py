"""A few organisations of `make soak-answers`, and that it sees what is wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
import soak_answers
from anthropic_usage.analysis.chargeback import chargeback


def test_some_organisations_are_answered_right() -> None:
    tally = soak_answers.run(1, 8)
    assert tally.wrong == []
    assert tally.compared["chargeback: key"] > 20
    assert tally.compared["report: billed"] > 4


@pytest.mark.parametrize("seed", [44, 61, 64, 66, 195, 199])
def test_organisations_that_once_were_answered_wrong(seed: int) -> None:
    """Null tiers beside use of tiers that are not billed, nulls in no order, quiet days."""
    assert soak_answers.run(seed, 1).wrong == []


def test_a_wrong_answer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*args: Any, **options: Any) -> Any:
        answer = chargeback(*args, **options)
        first, *others = answer.lines
        first = attrs.evolve(first, exact_usd=first.exact_usd + Decimal("0.02"))
        return attrs.evolve(answer, lines=(first, *others))

    monkeypatch.setattr(soak_answers, "chargeback", wrong)
    tally = soak_answers.run(1, 4)
    assert any("chargeback: sum" in line for line in tally.wrong)
