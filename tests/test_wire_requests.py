"""What goes over the wire, byte for byte, as a server receives it."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from anthropic_admin_client.models.usage_group_by import UsageGroupBy
from anthropic_usage import InvalidQuery
from anthropic_usage.reports import COST, USAGE, CostRow, UsageRow
from clock import NOW
from support import DAY, KEY, Answer, Asked, Loopback, every_bucket, page, read, utc

FEBRUARY = ("2026-02-01", "2026-03-01")
ENCODED: list[tuple[str, tuple[Any, Any], dict[str, Any], str, str]] = [
    (
        "usage",
        FEBRUARY,
        {"group_by": ["model", "workspace_id"], "models": "claude-opus-5"},
        "/v1/organizations/usage_report/messages",
        "starting_at=2026-02-01T00%3A00%3A00Z&ending_at=2026-03-01T00%3A00%3A00Z&bucket_width=1d"
        "&group_by%5B%5D=model&group_by%5B%5D=workspace_id&limit=31"
        "&models%5B%5D=claude-opus-5",
    ),
    (
        "usage",
        ("2026-02-01T05:30:00+05:30", "2026-02-01T23:59:59Z"),
        {
            "bucket_width": "1h",
            "limit": 24,
            "context_window": ["0-200k", "200k-1M"],
            "service_tiers": ("batch", "flex"),
            "inference_geos": "us",
            "api_key_ids": {"apikey_01"},
            "workspace_ids": iter(["wrkspc_01"]),
            "account_ids": "user_01",
            "service_account_ids": "svac_01",
        },
        "/v1/organizations/usage_report/messages",
        "starting_at=2026-02-01T00%3A00%3A00Z&ending_at=2026-02-02T00%3A00%3A00Z&bucket_width=1h"
        "&limit=24&api_key_ids%5B%5D=apikey_01&workspace_ids%5B%5D=wrkspc_01"
        "&service_tiers%5B%5D=batch&service_tiers%5B%5D=flex"
        "&context_window%5B%5D=0-200k&context_window%5B%5D=200k-1M"
        "&inference_geos%5B%5D=us&account_ids%5B%5D=user_01&service_account_ids%5B%5D=svac_01",
    ),
    (
        "cost",
        FEBRUARY,
        {"group_by": ["workspace_id", "description"]},
        "/v1/organizations/cost_report",
        "starting_at=2026-02-01T00%3A00%3A00Z&ending_at=2026-03-01T00%3A00%3A00Z&bucket_width=1d"
        "&group_by%5B%5D=workspace_id&group_by%5B%5D=description&limit=31",
    ),
    (
        "claude_code",
        ("2026-02-01", "2026-02-02"),
        {},
        "/v1/organizations/usage_report/claude_code",
        "starting_at=2026-02-01&limit=1000",
    ),
]


def params_of(query: str) -> list[str]:
    return sorted(query.split("&"))


def nothing(asked: Asked) -> Answer:
    return Answer(body=page([])) if asked.path.endswith("claude_code") else every_bucket(asked)


@pytest.mark.parametrize(("report", "span", "options", "path", "query"), ENCODED)
def test_a_request_is_encoded_exactly(
    report: str, span: Any, options: dict[str, Any], path: str, query: str
) -> None:
    with Loopback(nothing) as server:
        read(False, lambda c: getattr(c, report)(*span, **options).totals(), base_url=server.url)
    (asked,) = server.asked
    assert asked.path == path
    assert params_of(asked.query) == params_of(query)
    assert asked.query.startswith(query.split("&")[0])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_headers_name_the_version_the_key_and_us(asynchronous: bool) -> None:
    with Loopback(every_bucket) as server:
        options: dict[str, Any] = {"base_url": server.url}
        read(asynchronous, lambda c: c.usage(*FEBRUARY).totals(), **options)
        options["anthropic_version"] = "2026-10-21"
        read(asynchronous, lambda c: c.cost(*FEBRUARY).totals(), **options)
    first, second = (asked.headers for asked in server.asked)
    assert first["x-api-key"] == KEY
    assert "authorization" not in first
    assert first["anthropic-version"] == "2023-06-01"
    assert second["anthropic-version"] == "2026-10-21"
    name, _, version = first["user-agent"].partition("/")
    assert (name, version.count(".")) == ("anthropic-usage", 2)
    assert "anthropic-beta" not in first


def test_the_beta_header_goes_with_speed_only() -> None:
    with Loopback(every_bucket) as server:
        for options in ({"speeds": "fast"}, {"group_by": "speed"}, {"group_by": "model"}):
            read(
                False,
                lambda c, options=options: c.usage(*FEBRUARY, **options).totals(),
                base_url=server.url,
            )
    betas = [asked.headers.get("anthropic-beta") for asked in server.asked]
    assert betas == ["fast-mode-2026-02-01", "fast-mode-2026-02-01", None]


@pytest.mark.parametrize("given", [{"oauth_token": "sk-ant-oat01-x", "api_key": None}])
def test_an_oauth_token_travels_as_a_bearer(given: dict[str, Any]) -> None:
    with Loopback(every_bucket) as server:
        read(False, lambda c: c.usage(*FEBRUARY).totals(), base_url=server.url, **given)
    (asked,) = server.asked
    assert asked.headers["authorization"] == "Bearer sk-ant-oat01-x"
    assert "x-api-key" not in asked.headers


@pytest.mark.parametrize(
    ("width", "most", "days"), [("1d", 31, 90), ("1h", 168, 14), ("1m", 1440, 2)]
)
def test_the_largest_page_is_asked_for(width: str, most: int, days: int) -> None:
    start = utc(2026, 2, 1)
    with Loopback(every_bucket) as server:
        report = read(
            False,
            lambda c: c.usage(start, start + days * DAY, bucket_width=width).collect(),
            base_url=server.url,
        )
    buckets = days * {"1d": 1, "1h": 24, "1m": 1440}[width]
    assert len(server.asked) == report.pages == -(-buckets // most)
    assert {asked.params["limit"] for asked in server.asked} == {str(most)}
    assert len(list(report)) == buckets


def test_a_smaller_page_still_reads_the_report_to_its_end() -> None:
    with Loopback(every_bucket) as server:
        rows = read(
            False, lambda c: list(c.cost(*FEBRUARY, limit=5)), base_url=server.url, concurrency=1
        )
    assert len(rows) == 28
    assert [asked.params.get("page") for asked in server.asked] == [
        None,
        *[f"page_{n}" for n in (5, 10, 15, 20, 25)],
    ]
    # A cursor is valid for its own query only: nothing but the page may change.
    queries = {
        tuple(part for part in params_of(asked.query) if not part.startswith("page="))
        for asked in server.asked
    }
    assert len(queries) == 1


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("models", "model"),
        ("Model", "model"),
        ("api_key", "api_key_id"),
        ("workspaceid", "workspace_id"),
        ("tier", "service_tier"),
        ("context", "context_window"),
        ("geo", "inference_geo"),
        ("service_acount_id", "service_account_id"),
    ],
)
def test_an_unknown_dimension_names_the_nearest_one(wrong: str, right: str) -> None:
    with pytest.raises(InvalidQuery, match=rf"{wrong!r} \(did you mean {right!r}\?\)"):
        USAGE.ask(*FEBRUARY, group_by=wrong)


def test_every_documented_dimension_can_be_grouped_by() -> None:
    assert set(get_args(UsageGroupBy)) == set(UsageRow.DIMENSIONS)
    for name in UsageRow.DIMENSIONS:
        assert USAGE.ask(*FEBRUARY, group_by=name).dimensions == (name,)
    assert COST.ask(*FEBRUARY, group_by="workspace_id").dimensions == (
        "workspace_id",
        "currency",
    )
    both = COST.ask(*FEBRUARY, group_by=("description", "workspace_id"))
    assert both.dimensions == CostRow.DIMENSIONS


@pytest.mark.parametrize("name", sorted(USAGE.filters))
def test_every_filter_takes_one_or_several_and_refuses_none_at_all(name: str) -> None:
    values = USAGE.filters[name] or ("any_01", "any_02")
    assert USAGE.ask(*FEBRUARY, **{name: values[0]}).filters == {name: (values[0],)}
    doubled = [*values, *values]
    assert USAGE.ask(*FEBRUARY, **{name: doubled}).filters == {name: tuple(values)}
    assert USAGE.ask(*FEBRUARY, **{name: None}).filters == {}
    with pytest.raises(InvalidQuery, match=f"{name} is empty"):
        USAGE.ask(*FEBRUARY, **{name: []})
    if USAGE.filters[name]:
        with pytest.raises(InvalidQuery, match=f"{name} does not know 'bogus'"):
            USAGE.ask(*FEBRUARY, **{name: "bogus"})


def test_a_group_by_of_five_goes_out_and_six_do_not() -> None:
    five = list(UsageRow.DIMENSIONS[:5])
    assert len(USAGE.ask(*FEBRUARY, group_by=[*five, *five]).group_by) == 5
    with Loopback(every_bucket) as server:
        with pytest.raises(InvalidQuery, match="at most 5 dimensions, not 6"):
            read(
                False,
                lambda c: c.usage(*FEBRUARY, group_by=[*five, "account_id"]).totals(),
                base_url=server.url,
            )
        assert server.asked == []


def test_an_end_left_out_is_now() -> None:
    with Loopback(every_bucket) as server:
        read(
            False,
            lambda c: c.usage("2026-11-19").totals(),
            base_url=server.url,
            clock=lambda: NOW,
        )
    assert server.asked[0].params["ending_at"] == "2026-11-21T00:00:00Z"


def test_a_query_is_frozen() -> None:
    query = USAGE.ask(*FEBRUARY)
    with pytest.raises(AttributeError):
        query.limit = 1  # type: ignore[misc]
