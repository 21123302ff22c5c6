"""Reports against the simulator's own ledger: lazy, exact, the same sync and async."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import itertools
import json
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic_usage
import pytest
from anthropic_usage import (
    AsyncUsageClient,
    IncompleteReport,
    InvalidQuery,
    MissingExtra,
    UsageClient,
)
from anthropic_usage.engine.fold import Fold
from anthropic_usage.simulator import Server, Simulator
from clock import NOW
from hypothesis import given, settings
from hypothesis import strategies as st

START, END = dt.datetime(2026, 9, 10, tzinfo=dt.UTC), dt.datetime(2026, 11, 3, tzinfo=dt.UTC)
CODE = dt.datetime(2026, 11, 2, tzinfo=dt.UTC), dt.datetime(2026, 11, 12, tzinfo=dt.UTC)


@pytest.fixture
def client(served: tuple[Simulator, Server]) -> Any:
    with UsageClient(Simulator.DEMO_KEY, base_url=served[1].url, clock=lambda: NOW) as client:
        yield client


def test_what_is_pinned_can_be_imported() -> None:
    for name in [
        "UsageClient",
        "AsyncUsageClient",
        "AnthropicUsageError",
        "InvalidQuery",
        "AuthenticationError",
        "PermissionDenied",
        "RateLimited",
        "ApiError",
        "IncompleteReport",
        "ConnectionFailed",
    ]:
        assert hasattr(anthropic_usage, name)
        assert name in anthropic_usage.__all__
    for name in ["AuthenticationError", "PermissionDenied", "RateLimited"]:
        assert issubclass(getattr(anthropic_usage, name), anthropic_usage.ApiError)
    for name in anthropic_usage.__all__:
        kind = getattr(anthropic_usage, name)
        if isinstance(kind, type) and issubclass(kind, Exception) and "Warning" not in name:
            assert issubclass(kind, anthropic_usage.AnthropicUsageError)


WIDTHS = [
    ("1d", START, END, 2),
    ("1h", END - dt.timedelta(days=10), END, 2),
    ("1m", END - dt.timedelta(days=2), END, 2),
]


@pytest.mark.parametrize(("width", "start", "end", "requests"), WIDTHS)
def test_usage_equals_the_ledger_to_the_token(
    width: str, start: dt.datetime, end: dt.datetime, requests: int, client: Any, served: Any
) -> None:
    simulator, server = served
    report = client.usage(start, end, bucket_width=width, group_by=["model", "workspace_id"])
    groups = report.by("model", "workspace_id")
    assert len(server.requests) == requests == report.pages
    ledger = simulator.ledger.usage(start, end, by=("model", "workspace_id"))
    found = {
        (row.model, row.workspace_id): {m: getattr(row, m) for m in type(row).MEASURES}
        for row in groups
    }
    assert found == ledger
    assert report.settled_until == end


def test_cost_equals_the_ledger_to_the_last_digit(client: Any, served: Any) -> None:
    report = client.cost(START, END, group_by=["description", "workspace_id"]).collect()
    ledger = served[0].ledger
    assert report.totals().amount_cents == ledger.cost(START, END)[()]
    for dimension in ("workspace_id", "description", "model", "token_type", "service_tier"):
        groups = {(getattr(r, dimension),): r.amount_cents for r in report.by(dimension)}
        assert groups == ledger.cost(START, END, by=(dimension,))
    assert isinstance(report.totals().amount_usd, Decimal)
    assert report.totals().amount_usd * 100 == report.totals().amount_cents


def test_claude_code_equals_the_ledger(client: Any, served: Any) -> None:
    report = client.claude_code(*CODE, limit=5)
    groups = {(row.actor_type, row.actor): row for row in report.by("actor_type", "actor")}
    ledger = served[0].ledger.claude_code(*(m.date() for m in CODE), by=("actor_type", "actor"))
    assert groups.keys() == ledger.keys()
    assert {kind for kind, _ in groups} == {"user_actor", "api_actor"}
    for key, sums in ledger.items():
        cents = sums.pop("estimated_cost_cents")
        assert {name: getattr(groups[key], name) for name in sums} == sums
        assert groups[key].estimated_cost_usd * 100 == cents


def test_each_dimension_equals_the_ledger(client: Any, served: Any) -> None:
    start = END - dt.timedelta(days=5)
    for dimension in anthropic_usage.UsageRow.DIMENSIONS:
        rows = client.usage(start, END, group_by=dimension).by(dimension)
        ledger = served[0].ledger.usage(start, END, by=(dimension,))
        assert {(getattr(r, dimension),): r.output_tokens for r in rows} == {
            key: sums["output_tokens"] for key, sums in ledger.items()
        }


def test_periods_come_in_time_order_and_cover_what_the_report_does(client: Any) -> None:
    report = client.usage("2026-09-10", "2026-11-03").collect()
    months = report.by("month")
    assert [(row.month, row.starting_at.day, row.ending_at.day) for row in months] == [
        ("2026-09", 10, 1),
        ("2026-10", 1, 1),
        ("2026-11", 1, 3),
    ]
    weeks = report.by("week")
    assert [row.week.weekday() for row in weeks] == [0] * 9
    assert (weeks[0].starting_at.day, weeks[0].week.day) == (10, 7)
    assert all(a.ending_at == b.starting_at for a, b in itertools.pairwise(weeks))
    days = report.by("day")
    assert [row.day for row in days] == [row.day for row in report]
    for groups in (months, weeks, days):
        assert sum(row.total_tokens for row in groups) == report.totals().total_tokens


def test_groups_are_largest_first_within_their_period(client: Any) -> None:
    report = client.usage("2026-10-01", "2026-10-05", group_by="model").collect()
    sizes = [row.total_tokens for row in report.by("model")]
    assert sizes == sorted(sizes, reverse=True)
    keys = [(row.starting_at, -row.total_tokens) for row in report.by("day", "model")]
    assert keys == sorted(keys)


def test_what_was_not_asked_for_is_an_error_not_a_column_of_none(client: Any, served: Any) -> None:
    with pytest.raises(InvalidQuery, match="did you mean 'model'"):
        client.usage(START, END).by("modle")
    assert served[1].requests == []
    # What is held in memory cannot be asked for more.
    with pytest.raises(InvalidQuery, match=r"add 'model' to group_by"):
        client.usage(START, END, group_by="workspace_id").collect().by("model")
    with pytest.raises(InvalidQuery, match="add 'description' to group_by"):
        client.cost(START, END).collect().by("model")


def test_a_time_without_use_is_a_real_zero(client: Any) -> None:
    report = client.usage("2023-01-01", "2023-02-01", group_by="model")
    assert list(report) == []
    assert report.totals().total_tokens == 0
    assert report.totals().starting_at == report.query.starting_at
    assert report.totals().ending_at == report.query.ending_at
    assert client.cost("2023-01-01", "2023-02-01").totals().amount_usd == Decimal(0)
    assert client.claude_code("2023-01-01", "2023-01-02").totals().models == ()


@pytest.mark.parametrize("read", [lambda r: r.totals(), lambda r: r.by("model"), list])
def test_a_filter_that_matches_nothing_is_said(read: Any, client: Any) -> None:
    with pytest.warns(anthropic_usage.NothingMatchedWarning, match="'claude-nobody-uses-this'"):
        read(client.usage(START, END, models="claude-nobody-uses-this", group_by="model"))
    kept = client.usage(START, END, service_tiers="priority_on_demand")
    assert kept.totals().total_tokens >= 0  # a value that is checked cannot be a slip


def test_a_report_says_how_far_it_reaches(client: Any) -> None:
    today = NOW.replace(hour=0, minute=0, second=0)
    report = client.usage(today - dt.timedelta(days=2), today + dt.timedelta(days=5))
    assert report.settled_until is None
    assert len(list(report)) == 3
    assert report.settled_until == NOW - dt.timedelta(hours=1)
    cost = client.cost(today - dt.timedelta(days=2), NOW)
    assert cost.totals().amount_usd > 0
    assert cost.settled_until == today


def test_cost_of_a_day_that_is_not_over_is_a_sentence_not_a_zero(client: Any) -> None:
    with pytest.raises(InvalidQuery, match="no day from 2026-11-20 on has closed yet"):
        client.cost("2026-11-20", "2026-11-21").totals()


def test_a_report_is_lazy_until_collected(client: Any, served: Any) -> None:
    report = client.usage(START, END, group_by="model")
    assert served[1].requests == []
    report.totals()
    report.totals()
    assert len(served[1].requests) == 4
    kept = report.collect()
    assert len(served[1].requests) == 6
    assert kept.by("model") == report.by("model")
    assert list(kept) == list(kept)
    assert len(served[1].requests) == 8
    assert (kept.settled_until, kept.pages) == (END, 2)


def test_rows_stream_in_time_order(client: Any) -> None:
    starts = [row.starting_at for row in client.usage(START, END, bucket_width="1h")]
    assert starts == sorted(starts)
    assert starts[0] >= START


def test_leaving_a_stream_early_leaves_nothing_behind(client: Any, served: Any) -> None:
    simulator, server = served
    simulator.latency_ms = 50.0
    for _ in client.usage(END - dt.timedelta(days=300), END, bucket_width="1h"):
        break
    time.sleep(0.1)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("anthropic-usage") == 0
    asked = len(server.requests)
    time.sleep(0.2)
    assert len(server.requests) == asked < 20
    assert client.usage(START, END).totals().total_tokens > 0, "and the client still works"


async def test_leaving_an_async_stream_early_cancels_the_rest(served: Any) -> None:
    simulator, server = served
    simulator.latency_ms = 50.0
    async with AsyncUsageClient(Simulator.DEMO_KEY, base_url=server.url) as client:
        async for _ in client.usage(END - dt.timedelta(days=300), END, bucket_width="1h"):
            break
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1
        asked = len(server.requests)
        await asyncio.sleep(0.2)
        assert len(server.requests) == asked < 20


async def test_the_async_report_is_the_same(client: Any, served: Any, tmp_path: Path) -> None:
    async with AsyncUsageClient(Simulator.DEMO_KEY, base_url=served[1].url) as other:
        for make in (
            lambda c: c.usage(START, END, bucket_width="1d", group_by=["model", "speed"]),
            lambda c: c.cost(START, END, group_by="description"),
            lambda c: c.claude_code(*CODE),
        ):
            here, there = make(client), make(other)
            assert [row async for row in there] == list(here)
            assert await there.totals() == here.totals()
            assert await there.by("month") == here.by("month")
            kept = await there.collect()
            assert [row async for row in kept] == list(here)
            here.to_csv(tmp_path / "here.csv")
            await there.to_csv(tmp_path / "there.csv")
            assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
            assert (await there.to_arrow()).equals(here.to_arrow())
        assert await other.organization() == client.organization()
        for lookup in ("workspaces", "api_keys", "users"):
            assert await getattr(other, lookup)(limit=2) == getattr(client, lookup)()


def test_lookups_are_read_to_their_end(client: Any, served: Any) -> None:
    organisation = served[0].organisation
    assert client.organization().id == organisation.id
    assert len(client.api_keys(limit=1)) == len(organisation.api_keys)
    named = {workspace.id for workspace in client.workspaces(limit=1)}
    assert any(workspace.archived_at for workspace in client.workspaces())
    used = served[0].ledger.usage(START, END, by=("workspace_id",))
    assert {workspace for (workspace,) in used if workspace} <= named


def test_csv_is_exact_and_appears_when_whole(client: Any, served: Any, tmp_path: Path) -> None:
    path = tmp_path / "cost.csv"
    client.cost(START, END, group_by="description").to_csv(path)
    header, *lines = path.read_text().splitlines()
    assert header.startswith("starting_at,ending_at,description,cost_type,model,")
    assert "workspace_id" not in header
    column = header.split(",").index("amount_cents")
    cents = sum((Decimal(line.split(",")[-2]) for line in lines), Decimal())
    assert column == len(header.split(",")) - 2
    assert cents == served[0].ledger.cost(START, END)[()]
    assert all("E" not in line.split(",")[-1] for line in lines)

    served[0].faults = ["missing-bucket@cost#2"]
    with pytest.raises(IncompleteReport):
        client.cost(START, END).to_csv(path)
    assert path.read_text().splitlines()[0] == header, "the old file stands"
    assert [file.name for file in tmp_path.iterdir()] == ["cost.csv"]


def test_csv_and_ndjson_to_an_open_file(client: Any) -> None:
    csv, ndjson = io.StringIO(), io.StringIO()
    report = client.claude_code(*CODE).collect()
    report.to_csv(csv)
    report.to_ndjson(ndjson)
    rows = list(report)
    assert len(csv.getvalue().splitlines()) == len(rows) + 1
    first = json.loads(ndjson.getvalue().splitlines()[0])
    assert first["actor"] == rows[0].actor
    assert Decimal(first["estimated_cost_usd"]) == rows[0].estimated_cost_usd
    assert first["models"][0]["model"] == rows[0].models[0].model


@pytest.mark.parametrize("report", ["usage", "cost", "claude_code"])
def test_columns_hold_what_rows_hold(report: str, client: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    made = {
        "usage": lambda: client.usage(START, END, group_by=["model", "api_key_id"]),
        "cost": lambda: client.cost(START, END, group_by=["description", "workspace_id"]),
        "claude_code": lambda: client.claude_code(*CODE),
    }[report]().collect()
    table = made.to_arrow()
    made.to_parquet(tmp_path / "report.parquet")
    assert pq.read_table(tmp_path / "report.parquet").equals(table)
    assert made.to_pandas().shape == made.to_polars().shape == (table.num_rows, table.num_columns)
    for row, columns in zip(made, table.to_pylist(), strict=True):
        for name, value in columns.items():
            if name == "models":
                assert [use["model"] for use in value] == [use.model for use in row.models]
                assert [u["estimated_cost_usd"] for u in value] == [
                    use.estimated_cost_usd for use in row.models
                ]
            else:
                assert value == getattr(row, name), name


def test_an_extra_that_is_missing_is_named(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'anthropic-usage\[arrow\]'"):
        client.usage(START, END).to_arrow()


RESULT = {
    "uncached_input_tokens": 1,
    "cache_creation": {"ephemeral_1h_input_tokens": 2, "ephemeral_5m_input_tokens": 3},
    "cache_read_input_tokens": 4,
    "output_tokens": 5,
    "server_tool_use": {"web_search_requests": 6},
}


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**15)), max_size=5),
        min_size=1,
        max_size=20,
    ),
    st.lists(st.integers(1, 19), max_size=6),
)
def test_however_pages_are_cut_sums_are_the_same(
    buckets: list[list[tuple[str, int]]], cuts: list[int]
) -> None:
    from anthropic_usage.reports import USAGE

    query = USAGE.ask("2026-01-30", "2026-03-01", group_by="model")
    entries = [
        {
            "starting_at": f"{query.starting_at + number * query.width:%Y-%m-%dT%H:%M:%SZ}",
            "ending_at": f"{query.starting_at + (number + 1) * query.width:%Y-%m-%dT%H:%M:%SZ}",
            "results": [{**RESULT, "model": model, "output_tokens": n} for model, n in results],
        }
        for number, results in enumerate(buckets)
    ]

    def page(part: list[Any]) -> Any:
        body = json.dumps({"data": part, "has_more": False, "next_page": None}).encode()
        return query.decode(body)

    edges = [0, *sorted({cut for cut in cuts if cut < len(entries)}), len(entries)]
    for dimensions in ((), ("model",), ("week",), ("month", "model")):
        whole, parts = Fold(query, dimensions), Fold(query, dimensions)
        whole.add(page(entries))
        for first, last in itertools.pairwise(edges):
            parts.add(page(entries[first:last]))
        assert whole.rows() == parts.rows()
        outputs = [n for results in buckets for _, n in results]
        assert sum(row.output_tokens for row in parts.rows()) == sum(outputs)  # type: ignore[attr-defined]
    assert len(list(query.rows(page(entries)))) == len(outputs)
