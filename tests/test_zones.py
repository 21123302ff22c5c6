"""Days of a time zone, against sums taken the naive way: each slice of time, by its local date."""

from __future__ import annotations

import datetime as dt
import random
import zoneinfo
from collections import defaultdict
from collections.abc import Iterator

import pytest
from anthropic_usage import InvalidQuery, UsageClient
from hypothesis import given, settings
from hypothesis import strategies as st
from support import (
    DAY,
    KEY,
    QUICK,
    WIDTHS,
    Answer,
    Asked,
    Loopback,
    bucket,
    page,
    usage_result,
)

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SLICE = dt.timedelta(minutes=5)
ZONES = sorted(zoneinfo.available_timezones())
LATER = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


def tokens(start: dt.datetime, end: dt.datetime) -> dict[str, int]:
    """Return what was used by each model in a span: something in every slice."""
    used = {"opus": 0, "haiku": 0}
    number, last = (start - EPOCH) // SLICE, (end - EPOCH) // SLICE
    if EPOCH + number * SLICE < start:
        number += 1
    while EPOCH + number * SLICE < end and number <= last:
        used["opus"] += 1 + number * 7919 % 1009
        used["haiku"] += number % 3 == 0
        number += 1
    return used


def answer(asked: Asked) -> Answer:
    """Answer any usage query truthfully."""
    params = asked.params
    start, end = (dt.datetime.fromisoformat(params[n]) for n in ("starting_at", "ending_at"))
    width = WIDTHS[params["bucket_width"]]
    first = int(params.get("page", "page_0").removeprefix("page_"))
    last = first + int(params["limit"])
    whole = (end - start) // width
    data = []
    for number in range(first, min(last, whole)):
        begin = start + number * width
        results = [
            usage_result(model=model, output_tokens=count)
            for model, count in tokens(begin, begin + width).items()
            if count
        ]
        data.append(bucket(begin, results, width))
    return Answer(body=page(data, f"page_{last}" if last < whole else None))


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback(answer) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Loopback) -> Iterator[UsageClient]:
    with UsageClient(KEY, base_url=server.url, retry=QUICK, clock=lambda: LATER) as opened:
        yield opened


def naive(zone: str, first: dt.date, last: dt.date) -> dict[tuple[dt.date, str], int]:
    """Add up every slice of time whose local date lies in [first, last)."""
    info = zoneinfo.ZoneInfo(zone)
    moment = dt.datetime.combine(first, dt.time(), dt.UTC) - 2 * DAY
    sums: dict[tuple[dt.date, str], int] = defaultdict(int)
    while moment < dt.datetime.combine(last, dt.time(), dt.UTC) + 2 * DAY:
        day = moment.astimezone(info).date()
        if first <= day < last:
            for model, count in tokens(moment, moment + SLICE).items():
                sums[day, model] += count
        moment += SLICE
    return {key: count for key, count in sums.items() if count}


def check(client: UsageClient, zone: str, first: dt.date, last: dt.date) -> None:
    report = client.usage(first, last, timezone=zone, group_by="model").collect()
    rows = list(report)
    expected = naive(zone, first, last)
    assert {(row.day, row.model): row.output_tokens for row in rows} == expected
    assert len(rows) == len(expected)
    starts = [row.starting_at for row in rows]
    assert starts == sorted(starts)
    for dimensions in (("day",), ("week",), ("month", "model"), ("starting_at",)):
        for group in report.by(*dimensions):
            wanted = sum(
                count
                for (day, model), count in expected.items()
                if ("day" not in dimensions or day == group.day)
                and ("starting_at" not in dimensions or day == group.day)
                and ("week" not in dimensions or day - DAY * day.weekday() == group.week)
                and ("month" not in dimensions or f"{day:%Y-%m}" == group.month)
                and ("model" not in dimensions or model == group.model)
            )
            assert group.output_tokens == wanted
    assert report.totals().output_tokens == sum(expected.values())


CHANGES = {
    "Europe/Berlin": dt.date(2025, 10, 26),
    "America/New_York": dt.date(2026, 3, 8),
    "Australia/Lord_Howe": dt.date(2026, 4, 5),
    "Asia/Kathmandu": dt.date(2026, 1, 1),
    "Pacific/Chatham": dt.date(2025, 9, 28),
    "Pacific/Apia": dt.date(2011, 12, 30),
    "Pacific/Kwajalein": dt.date(1993, 8, 21),
    "America/St_Johns": dt.date(2010, 11, 7),
    "America/Sao_Paulo": dt.date(2017, 10, 15),
    "America/Havana": dt.date(2025, 11, 2),
    "Africa/Cairo": dt.date(2025, 4, 25),
    "Africa/Casablanca": dt.date(2026, 2, 15),
    "Asia/Pyongyang": dt.date(2015, 8, 15),
    "Antarctica/Troll": dt.date(2025, 10, 26),
    "UTC": dt.date(2026, 1, 1),
}


@pytest.mark.parametrize("zone", CHANGES)
def test_days_are_exact_across_a_change_of_the_clocks(zone: str, client: UsageClient) -> None:
    change = CHANGES[zone]
    check(client, zone, change - 2 * DAY, change + 3 * DAY)
    if zone in ("Pacific/Apia", "Pacific/Kwajalein"):
        with pytest.raises(InvalidQuery, match="empty"):
            client.usage(change, change + DAY, timezone=zone)  # there was no such day
    else:
        check(client, zone, change, change + DAY)
    check(client, zone, change - DAY, change + DAY)


@settings(max_examples=40)
@given(
    st.sampled_from(ZONES), st.dates(dt.date(1980, 1, 1), dt.date(2026, 11, 1)), st.integers(1, 5)
)
def test_days_of_any_zone_at_any_time(zone: str, first: dt.date, days: int) -> None:
    with (
        Loopback(answer) as server,
        UsageClient(KEY, base_url=server.url, retry=QUICK, clock=lambda: LATER) as client,
    ):
        check(client, zone, first, first + days * DAY)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_days_of_every_zone(part: int, client: UsageClient) -> None:
    dice = random.Random(part)
    for zone in ZONES[part::8]:
        first = dt.date(2024, 1, 1) + dice.randrange(1000) * DAY
        check(client, zone, first, first + 2 * DAY)
