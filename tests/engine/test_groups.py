"""Groups are a list that can be written, shown, and summed up again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from anthropic_usage import AsyncUsageClient, InvalidQuery, UsageClient
from anthropic_usage.simulator import Server, Simulator
from clock import NOW

SPAN = ("2026-10-20", "2026-11-10")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Simulator(seed=3, size=0.3, days=60, now=NOW).serve() as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[UsageClient]:
    with UsageClient(Simulator.DEMO_KEY, base_url=server.url) as made:
        yield made


def test_by_asks_for_what_it_needs(client: UsageClient) -> None:
    plain = client.usage(*SPAN)
    asked = client.usage(*SPAN, group_by=["model", "workspace_id"])
    assert plain.by("model", "workspace_id") == asked.by("model", "workspace_id")
    assert plain.by(["model", "workspace_id"]) == asked.by("model", "workspace_id")
    assert plain.settled_until == asked.settled_until
    assert client.cost(*SPAN).by("token_type") == client.cost(*SPAN, group_by="description").by(
        "token_type"
    )
    with pytest.raises(InvalidQuery, match="at most 5"):
        plain.by(*type(plain.totals()).DIMENSIONS)
    with pytest.raises(InvalidQuery, match="did you mean 'model'"):
        plain.by("modle")
    with pytest.raises(InvalidQuery, match="needs the report grouped by it"):
        plain.collect().by("model")


async def test_by_asks_for_what_it_needs_in_async_code(server: Server) -> None:
    async with AsyncUsageClient(Simulator.DEMO_KEY, base_url=server.url) as client:
        plain = await client.usage(*SPAN).by("model")
        assert plain == await client.usage(*SPAN, group_by="model").by("model")


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [
        (("day", "model"), ("model",)),
        (("day", "model"), ("week", "model")),
        (("day",), ("month",)),
        (("starting_at", "model"), ("week",)),
        (("week", "model"), ("week",)),
        (("model",), ()),
    ],
)
def test_groups_are_summed_up_as_the_report_is(
    client: UsageClient, fine: tuple[str, ...], coarse: tuple[str, ...]
) -> None:
    report = client.usage(*SPAN, group_by="model").collect()
    assert report.by(*fine).by(*coarse) == report.by(*coarse)
    bill = client.cost(*SPAN, group_by="description").collect()
    assert bill.by(*fine).by(*coarse) == bill.by(*coarse)


def test_claude_code_is_summed_up_with_its_models(client: UsageClient) -> None:
    report = client.claude_code(*SPAN).collect()
    assert report.by("date", "actor").by("actor") == report.by("actor")
    assert report.by("week", "actor", "model").by("model") == report.by("model")
    assert report.by("actor").totals() == report.totals()


def test_what_groups_cannot_say_is_refused(client: UsageClient) -> None:
    groups = client.usage(*SPAN).by("week", "model")
    for name in ("day", "month", "workspace_id"):
        with pytest.raises(
            InvalidQuery, match=f"by\\('{name}'\\): these groups are by week, model"
        ):
            groups.by(name)


def test_groups_are_written_in_every_form(client: UsageClient, tmp_path: Path) -> None:
    groups = client.cost(*SPAN).by("week", "model")
    assert groups.columns[:5] == ("week", "starting_at", "ending_at", "model", "amount_cents")
    out = io.StringIO()
    groups.to_csv(out)
    lines = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [Decimal(line["amount_usd"]) for line in lines] == [row.amount_usd for row in groups]
    groups.to_ndjson(tmp_path / "groups.ndjson")
    texts = (tmp_path / "groups.ndjson").read_text().splitlines()
    assert [json.loads(text) for text in texts] == groups.to_dicts()
    groups.to_parquet(tmp_path / "groups.parquet")
    table = pq.read_table(tmp_path / "groups.parquet")
    assert table.column_names == list(groups.columns)
    assert table["amount_usd"].to_pylist() == [row.amount_usd for row in groups]
    assert table["week"].to_pylist() == [row.week for row in groups]
    assert groups.to_polars().height == len(groups)
    assert groups.to_pandas()["amount_usd"].sum() == sum(row.amount_usd for row in groups)
    floats = groups.to_pandas(money="float")["amount_usd"]
    assert floats.dtype == "float64"
    assert client.claude_code(*SPAN).by("actor").to_arrow().num_rows > 0
    wrong: Any = "exact"
    with pytest.raises(InvalidQuery, match="neither 'decimal' nor 'float'"):
        groups.to_pandas(money=wrong)


def test_groups_are_shown_as_tables(client: UsageClient) -> None:
    groups = client.cost(*SPAN).by("day", "model")
    head, *lines = repr(groups).splitlines()
    assert head.split()[:4] == ["day", "starting_at", "ending_at", "model"]
    assert (len(lines), lines[-1]) == (21, f"... and {len(groups) - 20} more")
    page = groups._repr_html_()
    assert page.count("<tr>") == 21
    assert "<th>model</th>" in page


def test_names_from_outside_are_escaped_in_a_notebook(client: UsageClient) -> None:
    hostile = Simulator(seed=7, size=0.3, days=60, now=NOW, hostile=True)
    with hostile.serve() as server, UsageClient(Simulator.DEMO_KEY, base_url=server.url) as made:
        groups = made.claude_code(*SPAN).by("actor")
        assert any("<" in str(row.actor) for row in groups)
        assert "<img" not in groups._repr_html_()
        assert "\x1b" not in repr(groups)


def test_a_collected_report_has_a_length_and_indices(client: UsageClient) -> None:
    report = client.usage(*SPAN, group_by="model").collect()
    rows = list(report)
    assert len(report) == len(rows)
    assert (report[0], report[-1], report[2:4]) == (rows[0], rows[-1], rows[2:4])
    assert "<table>" in report._repr_html_()
