"""Whatever goes wrong: the whole truth, or one typed error; never a partial total."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import Any

import pytest
from anthropic_usage import (
    AnthropicUsageError,
    AsyncUsageClient,
    Retry,
    UsageClient,
)
from anthropic_usage.simulator import FAULTS, Server, Simulator
from support import quiet

FIRST, LAST = "2026-11-08", "2026-11-17"
START, END = (dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC) for day in (FIRST, LAST))
DAYS = {"claude_code": ("2026-11-16", "2026-11-19")}

TRUTH = "the truth"
WRONG_ANSWER = {"usage": "IncompleteReport", "cost": "IncompleteReport"}
OUTCOMES: dict[str, str | dict[str, str]] = {
    "400": "ApiError",
    "401": "AuthenticationError",
    "402": "ApiError",
    "403": "PermissionDenied",
    "404": "ApiError",
    # A day of Claude Code cannot be halved.
    "413": {"claude_code": "ApiError"},
    "not-json": "IncompleteReport",
    "empty-body": "IncompleteReport",
    "redirect": "ApiError",
    "has-more-without-next-page": "IncompleteReport",
    "repeat-cursor": "IncompleteReport",
    "missing-bucket": WRONG_ANSWER,
    "duplicate-bucket": WRONG_ANSWER,
    "out-of-order": WRONG_ANSWER,
    "missing-measure": "IncompleteReport",
    "null-measure": "IncompleteReport",
    "wrong-type": "IncompleteReport",
}
"""Fault -> the error it ends in, for all reports or some; the others end in the truth."""

SPEEDED = {"429": "429=0", "429-reset": "429-reset=-5", "slow": "slow=0.02"}
"""The faults that would wait, without the wait."""

OPTIONS: dict[str, Any] = {"retry": Retry(attempts=4, base=0.001)}


def ask(client: Any, report: str) -> Any:
    if report == "claude_code":
        return client.claude_code(*DAYS["claude_code"])
    grouped = {"usage": ["model", "workspace_id"], "cost": ["description"]}[report]
    return getattr(client, report)(FIRST, LAST, group_by=grouped, limit=3)


def sync_totals(url: str, report: str) -> Any:
    with UsageClient(Simulator.DEMO_KEY, base_url=url, **OPTIONS) as client:
        return ask(client, report).totals()


def async_totals(url: str, report: str) -> Any:
    async def read() -> Any:
        async with AsyncUsageClient(Simulator.DEMO_KEY, base_url=url, **OPTIONS) as client:
            return await ask(client, report).totals()

    return asyncio.run(read())


def truth(simulator: Simulator, report: str) -> Any:
    """Return the ledger's own totals, in what all reports can be compared by."""
    if report == "usage":
        return simulator.ledger.usage(START, END)[()]
    if report == "cost":
        return simulator.ledger.cost(START, END)[()]
    first, last = (dt.date.fromisoformat(day) for day in DAYS[report])
    (sums,) = simulator.ledger.claude_code(first, last).values()
    return sums


def same(report: str, row: Any, ledger: Any) -> bool:
    if report == "cost":
        return bool(row.amount_cents == ledger)
    fields = [name for name in ledger if name != "estimated_cost_cents"]
    same = all(getattr(row, name) == ledger[name] for name in fields)
    if report == "claude_code":
        return same and bool(row.estimated_cost_usd * 100 == ledger["estimated_cost_cents"])
    return same


@pytest.mark.parametrize("report", ["usage", "cost", "claude_code"])
@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_a_fault_on_any_page_gives_the_truth_or_one_error(
    kind: str, report: str, served: tuple[Simulator, Server]
) -> None:
    simulator, server = served
    expected = OUTCOMES.get(kind, TRUTH)
    if isinstance(expected, dict):
        expected = expected.get(report, TRUTH)
    ledger = truth(simulator, report)
    for totals in (sync_totals, async_totals):
        for page in (1, 2, 3):
            simulator.faults = [f"{SPEEDED.get(kind, kind)}@{report}#{page}"]
            server.requests.clear()
            if expected == TRUTH:
                assert same(report, totals(server.url, report), ledger), (page, totals)
            else:
                with pytest.raises(AnthropicUsageError) as caught:
                    totals(server.url, report)
                assert type(caught.value).__name__ == expected, (page, totals, caught.value)
                assert len(str(caught.value).splitlines()) == 1
            assert len(server.requests) >= page
            quiet(server)


@pytest.mark.parametrize("report", ["usage", "cost", "claude_code"])
def test_a_service_that_stays_broken_is_given_up(
    report: str, served: tuple[Simulator, Server]
) -> None:
    simulator, server = served
    seen: Counter[str] = Counter()
    for kind in ("429=0", "429-bare", "500", "529", "html", "drop", "truncate", "bad-gzip"):
        simulator.faults = [kind]
        for totals in (sync_totals, async_totals):
            with pytest.raises(AnthropicUsageError) as caught:
                totals(server.url, report)
            seen[type(caught.value).__name__] += 1
    assert seen == {"RateLimited": 4, "ApiError": 6, "ConnectionFailed": 6}


def test_one_in_five_requests_refused_is_survived(served: tuple[Simulator, Server]) -> None:
    simulator, server = served
    simulator.faults = ["429=0:0.2", "drop:0.1", "529:0.1"]
    options = {**OPTIONS, "retry": Retry(attempts=12, base=0.001)}
    start, end = START - dt.timedelta(days=60), END
    with UsageClient(Simulator.DEMO_KEY, base_url=server.url, **options) as client:
        row = client.usage(start, end, limit=2).totals()
    assert same("usage", row, simulator.ledger.usage(start, end)[()])
    assert any(request.status == 429 for request in server.requests)


def test_a_slow_service_times_out_then_is_asked_for_less(
    served: tuple[Simulator, Server],
) -> None:
    simulator, server = served
    simulator.faults = ["slow=0.6#1", "slow=0.6#2"]
    with UsageClient(
        Simulator.DEMO_KEY, base_url=server.url, timeout=0.2, retry=Retry(attempts=3, base=0.001)
    ) as client:
        row = client.usage(START, END).totals()
    assert same("usage", row, simulator.ledger.usage(START, END)[()])
    ranges = [request.query for request in server.requests]
    assert len(set(ranges)) == 3, "the whole, then its two halves"
