"""Every argument is checked before anything is sent, and goes out under its wire name."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import httpx
import pytest
from anthropic_usage import AsyncUsageClient, InvalidQuery, UsageClient
from anthropic_usage.engine.plan import halves, windows
from anthropic_usage.reports import CLAUDE_CODE, COST, USAGE
from anthropic_usage.simulator import Server, Simulator
from hypothesis import given
from hypothesis import strategies as st

DAY = dt.timedelta(days=1)
FEBRUARY = ("2026-02-01", "2026-03-01")
NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


WRONG: list[tuple[str, tuple[Any, Any], dict[str, Any], str]] = [
    ("usage", ("2026-03-01", "2026-02-01"), {}, "reversed"),
    ("usage", ("2026-02-01", "2026-02-01"), {}, "empty"),
    ("usage", ("2026-02-30", "2026-03-01"), {}, "starting_at='2026-02-30' is no moment"),
    ("usage", ("yesterday", "2026-03-01"), {}, "YYYY-MM-DD"),
    ("usage", (20260201, "2026-03-01"), {}, "no moment"),
    ("usage", ("2026-02-01T00:00:00+24:00", "2026-03-01"), {}, "no moment"),
    ("usage", ("2026-02-01", dt.datetime.max), {}, "too far away"),
    ("usage", FEBRUARY, {"bucket_width": "5m"}, "'5m'.*1d, 1h, 1m"),
    ("cost", FEBRUARY, {"bucket_width": "1h"}, "daily"),
    ("usage", FEBRUARY, {"group_by": "models"}, "did you mean 'model'"),
    ("usage", FEBRUARY, {"group_by": ["workspace"]}, "did you mean 'workspace_id'"),
    ("cost", FEBRUARY, {"group_by": "model"}, "workspace_id"),
    (
        "usage",
        FEBRUARY,
        {
            "group_by": [
                "model",
                "speed",
                "api_key_id",
                "workspace_id",
                "account_id",
                "service_tier",
            ]
        },
        "at most 5",
    ),
    ("usage", FEBRUARY, {"group_by": 5}, "neither a string"),
    ("usage", FEBRUARY, {"group_by": [None]}, "no identifier"),
    ("usage", FEBRUARY, {"models": []}, "leave it out"),
    ("usage", FEBRUARY, {"models": [""]}, "no identifier"),
    ("usage", FEBRUARY, {"service_tiers": "prio"}, "did you mean 'priority'"),
    ("usage", FEBRUARY, {"context_window": "1M"}, "200k-1M"),
    ("usage", FEBRUARY, {"limit": 0}, "1 to 31"),
    ("usage", FEBRUARY, {"limit": 32}, "1 to 31"),
    ("usage", FEBRUARY, {"limit": 169, "bucket_width": "1h"}, "1 to 168"),
    ("usage", FEBRUARY, {"limit": 1441, "bucket_width": "1m"}, "1 to 1440"),
    ("usage", FEBRUARY, {"limit": True}, "out of range"),
    ("usage", FEBRUARY, {"limit": 2.0}, "out of range"),
    ("cost", FEBRUARY, {"limit": 32}, "1 to 31"),
    ("claude_code", FEBRUARY, {"limit": 1001}, "1 to 1000"),
    ("claude_code", ("2026-02-02", "2026-02-01"), {}, "reversed"),
]


@pytest.mark.parametrize(("report", "span", "options", "says"), WRONG)
def test_a_wrong_argument_is_refused_before_anything_is_sent(
    report: str,
    span: tuple[Any, Any],
    options: dict[str, Any],
    says: str,
    served: tuple[Simulator, Server],
) -> None:
    _, server = served
    for kind in (UsageClient, AsyncUsageClient):
        client = kind(Simulator.DEMO_KEY, base_url=server.url)
        with pytest.raises(InvalidQuery, match=says):
            getattr(client, report)(*span, **options)
    assert server.requests == []


def test_what_the_cost_report_does_not_take_is_no_argument() -> None:
    client = UsageClient("sk-ant-admin01-x")
    with pytest.raises(TypeError, match="workspace_ids"):
        client.cost(*FEBRUARY, workspace_ids=["wrkspc_01"])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "written",
    [
        "2026-02-01",
        "2026-02-01T00:00:00Z",
        "2026-02-01t00:00:00z",
        "2026-02-01 00:00",
        "2026-02-01T01:00:00+01:00",
        dt.date(2026, 2, 1),
        dt.datetime(2026, 2, 1),
        utc(2026, 2, 1),
        dt.datetime(2026, 2, 1, 5, 30, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    ],
)
def test_a_moment_can_be_written_in_many_ways(written: Any) -> None:
    query = USAGE.ask(written, "2026-03-01")
    assert query.starting_at == utc(2026, 2, 1)
    assert query.starting_at.utcoffset() == dt.timedelta()


def test_every_bucket_that_the_range_touches_is_in_it() -> None:
    query = USAGE.ask("2026-02-01T15:00:00Z", "2026-02-28T23:59:59Z")
    assert (query.starting_at, query.ending_at) == (utc(2026, 2, 1), utc(2026, 3, 1))
    hours = USAGE.ask("2026-02-01T15:10:00Z", "2026-02-01T17:00:00Z", bucket_width="1h")
    assert (hours.starting_at, hours.ending_at) == (utc(2026, 2, 1, 15), utc(2026, 2, 1, 17))


def test_one_string_or_several_without_repeats() -> None:
    one = USAGE.ask(*FEBRUARY, group_by="model", models="claude-opus-5")
    assert (one.group_by, one.filters) == (("model",), {"models": ("claude-opus-5",)})
    several = USAGE.ask(*FEBRUARY, group_by=(d for d in ["model", "speed", "model"]))
    assert several.group_by == ("model", "speed")


def test_the_wire_names() -> None:
    query = USAGE.ask(
        *FEBRUARY,
        group_by=["model", "workspace_id"],
        service_tiers=["batch"],
        context_window="0-200k",
    )
    sent = httpx.Client(base_url="https://h").build_request(
        **query.request(query.starting_at, query.ending_at, "page_1")
    )
    assert sent.url.params.multi_items() == [
        ("starting_at", "2026-02-01T00:00:00Z"),
        ("ending_at", "2026-03-01T00:00:00Z"),
        ("bucket_width", "1d"),
        ("group_by[]", "model"),
        ("group_by[]", "workspace_id"),
        ("limit", "31"),
        ("page", "page_1"),
        ("service_tiers[]", "batch"),
        ("context_window[]", "0-200k"),
    ]
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert "anthropic-beta" not in sent.headers


@pytest.mark.parametrize("options", [{"group_by": "speed"}, {"speeds": "fast"}])
def test_speed_brings_its_beta_header(options: dict[str, Any]) -> None:
    query = USAGE.ask(*FEBRUARY, **options)
    headers = query.request(query.starting_at, query.ending_at, None)["headers"]
    assert headers["anthropic-beta"] == "fast-mode-2026-02-01"


def test_claude_code_asks_for_days() -> None:
    query = CLAUDE_CODE.ask("2026-02-01T12:00:00Z", "2026-02-03")
    asked = [query.request(w.starting_at, w.ending_at, None) for w in windows(query, NOW)]
    assert [request["params"]["starting_at"] for request in asked] == ["2026-02-01", "2026-02-02"]


WIDTHS = st.sampled_from(["1d", "1h", "1m"])
MOMENTS = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2026, 11, 19))


@given(MOMENTS, st.timedeltas(dt.timedelta(seconds=1), dt.timedelta(days=60)), WIDTHS)
def test_windows_tile_the_range_exactly_once(
    start: dt.datetime, span: dt.timedelta, width: str
) -> None:
    end = min(start + span, dt.datetime(2026, 11, 20))
    query = USAGE.ask(start, end, bucket_width=width)
    tiles = list(windows(query, NOW))
    assert tiles[0].starting_at == query.starting_at <= start.replace(tzinfo=dt.UTC)
    assert tiles[-1].ending_at == query.ending_at >= end.replace(tzinfo=dt.UTC)
    for tile, following in itertools.pairwise(tiles):
        assert tile.ending_at == following.starting_at
    assert all(dt.timedelta() < t.ending_at - t.starting_at <= query.window for t in tiles)
    buckets = (query.ending_at - query.starting_at) // query.width
    most = USAGE.widths[width].most
    assert len(tiles) == -(-buckets // most)


@given(MOMENTS, st.integers(1, 2000), WIDTHS)
def test_halves_are_the_whole(start: dt.datetime, buckets: int, width: str) -> None:
    length = USAGE.widths[width].length
    query = USAGE.ask(start, start + buckets * length, bucket_width=width)
    (whole, *_) = windows(query, NOW + DAY * 3000)
    parts = halves(whole, length)
    assert parts[0].starting_at == whole.starting_at
    assert parts[-1].ending_at == whole.ending_at
    if len(parts) == 2:
        assert parts[0].ending_at == parts[1].starting_at
        assert (parts[0].ending_at - parts[0].starting_at) % length == dt.timedelta()
    else:
        assert whole.ending_at - whole.starting_at == length


def test_a_range_far_into_the_future_is_not_asked_for() -> None:
    query = USAGE.ask("2026-11-19", "2126-01-01", bucket_width="1m")
    tiles = list(windows(query, NOW))
    assert tiles[-1].ending_at == NOW + DAY
    assert len(list(windows(COST.ask("2100-01-01", "2101-01-01"), NOW))) == 1


def test_ninety_days_take_three_requests() -> None:
    assert len(list(windows(USAGE.ask("2026-06-01", "2026-08-30"), NOW))) == 3
