"""Days of a time zone, against sums taken the naive way: each slice of time, by its local date."""

from __future__ import annotations

import datetime as dt
import random
import zoneinfo
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    read,
    usage_result,
)

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SLICE = dt.timedelta(minutes=5)
ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})
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


def changes() -> dict[tuple[Any, ...], tuple[str, dt.date]]:
    """Return a zone for every way in which clocks changed since 2025, and the day of the change."""
    found: dict[tuple[Any, ...], tuple[str, dt.date]] = {}
    days = [dt.datetime(2025, 1, 1, tzinfo=dt.UTC) + step * DAY for step in range(670)]
    for name in ZONES:
        info = zoneinfo.ZoneInfo(name)
        offsets = [moment.astimezone(info).utcoffset() for moment in days]
        for moment, before, after in zip(days, offsets, offsets[1:], strict=False):
            if before == after:
                continue
            step = next(
                moment + SLICE * number
                for number in range(1, 289)
                if (moment + SLICE * number).astimezone(info).utcoffset() != before
            )
            there = step.astimezone(info)
            found.setdefault((before, after, there.time()), (name, there.date()))
    return found


def test_a_day_is_as_long_as_its_clocks_make_it(client: UsageClient) -> None:
    lengths = set()
    for zone, day in changes().values():
        check(client, zone, day - DAY, day + 2 * DAY)
        info = zoneinfo.ZoneInfo(zone)
        for row in client.usage(day - DAY, day + DAY, timezone=zone):
            start = dt.datetime.combine(row.day, dt.time(), dt.UTC) - DAY
            slices = sum(
                (start + SLICE * number).astimezone(info).date() == row.day for number in range(864)
            )
            assert row.ending_at - row.starting_at == SLICE * slices
            lengths.add((row.ending_at - row.starting_at) / dt.timedelta(hours=1))
    assert {22, 23, 23.5, 24, 24.5, 25, 26} >= lengths >= {23, 24, 25}


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


HOURS = {
    "Europe/Berlin": (dt.date(2025, 10, 26), 25),
    "America/New_York": (dt.date(2026, 3, 8), 23),
    "Asia/Kolkata": (dt.date(2026, 1, 1), 24),
    "Australia/Lord_Howe": (dt.date(2026, 4, 5), 25),
}


@pytest.mark.parametrize("zone", HOURS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_hours_are_those_of_the_zones_clocks(
    zone: str, asynchronous: bool, server: Loopback
) -> None:
    day, count = HOURS[zone]
    info = zoneinfo.ZoneInfo(zone)

    async def collected(client: Any) -> list[Any]:
        return [row async for row in client.usage(day, day + DAY, timezone=zone, bucket_width="1h")]

    rows = read(
        asynchronous,
        collected
        if asynchronous
        else lambda client: list(client.usage(day, day + DAY, timezone=zone, bucket_width="1h")),
        base_url=server.url,
    )
    assert len({row.starting_at for row in rows}) == count
    assert {row.day for row in rows} == {day}
    expected: dict[Any, int] = defaultdict(int)
    moment = dt.datetime.combine(day, dt.time(), dt.UTC) - DAY
    while moment < dt.datetime.combine(day, dt.time(), dt.UTC) + 2 * DAY:
        there = moment.astimezone(info)
        if there.date() == day:
            expected[there.hour, there.utcoffset()] += sum(tokens(moment, moment + SLICE).values())
        moment += SLICE
    found: dict[Any, int] = defaultdict(int)
    for row in rows:
        found[row.starting_at.hour, row.starting_at.utcoffset()] += row.output_tokens
        assert row.starting_at < row.ending_at
    assert found == expected


def test_moments_without_an_offset_are_on_the_zones_clocks(client: UsageClient) -> None:
    zone = "America/New_York"
    for span in (
        ("2026-03-01", "2026-03-03"),
        (dt.date(2026, 3, 1), dt.datetime(2026, 3, 3)),
        ("2026-03-01T05:00:00Z", "2026-03-03T00:00:00-05:00"),
        (dt.datetime(2026, 3, 1, 13), "2026-03-02T20:00:00"),
        (dt.datetime(2026, 3, 1, tzinfo=zoneinfo.ZoneInfo(zone)), "2026-03-03"),
    ):
        query = client.usage(*span, timezone=zone).query
        assert query.starting_at.isoformat() == "2026-03-01T00:00:00-05:00"
        assert query.ending_at.isoformat() == "2026-03-03T00:00:00-05:00"
    (row,) = client.usage("2026-03-08", "2026-03-09", timezone=zoneinfo.ZoneInfo(zone)).by("week")
    assert row.ending_at - row.starting_at == dt.timedelta(hours=23)
    assert row.week == dt.date(2026, 3, 2)


def test_sinks_carry_the_zones_clocks(client: UsageClient, tmp_path: Path) -> None:
    report = client.usage("2025-10-25", "2025-10-27", timezone="Europe/Berlin")
    path = tmp_path / "days.csv"
    report.to_csv(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[1].startswith("2025-10-25T00:00:00+02:00,2025-10-26T00:00:00+02:00,")
    assert lines[-1].startswith("2025-10-26T00:00:00+02:00,2025-10-27T00:00:00+01:00,")
    pytest.importorskip("pyarrow")
    table = report.to_arrow()
    assert str(table.schema.field("starting_at").type) == "timestamp[us, tz=Europe/Berlin]"
    starts = table.column("starting_at").to_pylist()
    assert {moment.isoformat() for moment in starts} == {
        "2025-10-25T00:00:00+02:00",
        "2025-10-26T00:00:00+02:00",
    }
    assert starts == [row.starting_at for row in report]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda c: c.usage("2026-01-01", timezone="berlin"), "did you mean Europe/Berlin"),
        (lambda c: c.usage("2026-01-01", timezone="Europe/Berlim"), "did you mean Europe/Berlin"),
        (lambda c: c.usage("2026-01-01", timezone="Europe"), "is no time zone"),
        (lambda c: c.usage("2026-01-01", timezone="../etc/passwd"), "is no time zone"),
        (lambda c: c.usage("2026-01-01", timezone="localtime"), "is no time zone"),
        (lambda c: c.usage("2026-01-01", timezone=dt.UTC), "give Europe/Berlin"),
        (lambda c: c.usage("2025-01-01", "2026-01-01", timezone="Asia/Kolkata"), "365 requests"),
        (lambda c: c.usage("1960-01-01", "1960-01-03", timezone="Africa/Monrovia"), "minutes from"),
        (lambda c: c.usage("2026-01-03", "2026-01-01", timezone="Asia/Tokyo"), "reversed"),
        (lambda c: c.usage("9999-12-31", timezone="Asia/Tokyo"), "reversed|too far|in the future"),
        (lambda c: c.usage("0001-01-01", "0001-01-03", timezone="Asia/Tokyo"), "too far"),
        (lambda c: c.usage("2026-01-01", timezone="Asia/Tokyo", bucket_width="5m"), "bucket_width"),
        (lambda c: c.usage("2026-01-01", timezone="Asia/Tokyo", group_by="modle"), "model"),
        (lambda c: c.cost("2026-01-01", timezone="Asia/Tokyo"), "the bill has whole UTC days"),
        (lambda c: c.claude_code("2026-01-01", timezone="Asia/Tokyo"), "say no hour"),
    ],
)
def test_what_a_zone_cannot_do_is_refused(ask: Any, says: str, client: UsageClient) -> None:
    with pytest.raises(InvalidQuery, match=says):
        ask(client)


def test_days_that_are_those_of_utc_are_no_reason_to_refuse(client: UsageClient) -> None:
    plain = client.cost("2026-01-01", "2026-02-01").query
    assert client.cost("2026-01-01", "2026-02-01", timezone="UTC").query == plain
    assert client.cost("2026-01-01", "2026-02-01", timezone="Europe/London").query == plain
    with pytest.raises(InvalidQuery, match="whole UTC days"):
        client.cost("2026-01-01", "2026-05-01", timezone="Europe/London")


def test_a_machine_without_zones_says_what_to_install(
    client: UsageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anthropic_usage import zones

    zones._names.cache_clear()
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    try:
        with pytest.raises(InvalidQuery, match="pip install tzdata"):
            client.usage("2026-01-01", timezone="Europe/Berlin")
    finally:
        zones._names.cache_clear()


def test_memory_holds_two_days_however_long_the_range(client: UsageClient) -> None:
    report = client.usage("2026-01-01", "2026-06-01", timezone="Europe/Berlin", group_by="model")
    most = max(len(part.page.data) for part in report.parts())
    assert most <= 8  # a page of 168 hours
