"""Exports: whole files only, resumable, the same byte for byte however often they were killed."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from anthropic_usage import (
    AnthropicUsageError,
    IncompleteReport,
    InvalidQuery,
    Retry,
    UsageClient,
)
from anthropic_usage.export import Exported, export
from anthropic_usage.reports import COST, USAGE, Query
from anthropic_usage.simulator import Server, Simulator
from anthropic_usage.sinks.columns import ParquetSink
from anthropic_usage.sinks.delimited import CsvSink
from clock import NOW
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from killing import kill_until_done
from support import quiet

START, END = dt.datetime(2026, 9, 10, tzinfo=dt.UTC), dt.datetime(2026, 11, 3, tzinfo=dt.UTC)
HOURS = USAGE.ask(START, END, bucket_width="1h", group_by=["model"])


@pytest.fixture
def client(served: tuple[Simulator, Server]) -> Any:
    retry = Retry(attempts=2, base=0.001)
    with UsageClient(
        Simulator.DEMO_KEY, base_url=served[1].url, retry=retry, clock=lambda: NOW
    ) as client:
        yield client


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_an_export_holds_what_the_report_does(client: Any, served: Any, tmp_path: Path) -> None:
    done = export(client, HOURS, tmp_path / "out")
    assert (done.files, done.kept, done.settled_until) == (8, 0, "2026-11-03T00:00:00Z")
    table = pq.read_table(sorted((tmp_path / "out").glob("*.parquet")))
    assert table.num_rows == done.rows == sum(1 for _ in client.report(HOURS))
    ledger = served[0].ledger.usage(START, END)[()]
    assert sum(table["output_tokens"].to_pylist()) == ledger["output_tokens"]


@pytest.mark.parametrize("file_format", ["parquet", "csv", "ndjson"])
def test_what_fails_goes_on_where_it_was(
    file_format: str, client: Any, served: Any, tmp_path: Path
) -> None:
    simulator, server = served
    export(client, HOURS, tmp_path / "whole", file_format)
    for fault in ("missing-bucket#6", "not-json#2"):
        simulator.faults = [fault]
        with pytest.raises(IncompleteReport):
            export(client, HOURS, tmp_path / "broken", file_format)
        quiet(server)
    simulator.faults = []
    written = len(list((tmp_path / "broken").glob(f"*.{file_format}")))
    server.requests.clear()
    done = export(client, HOURS, tmp_path / "broken", file_format)
    assert 0 < done.kept == written < 8
    assert len(server.requests) == 8 - written
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    server.requests.clear()
    assert export(client, HOURS, tmp_path / "broken", file_format).kept == 8
    assert server.requests == []


@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
def test_a_finished_file_that_is_not_whole_is_written_again(
    damage: str, client: Any, tmp_path: Path
) -> None:
    export(client, HOURS, tmp_path / "out")
    before = contents(tmp_path / "out")
    path = min((tmp_path / "out").glob("*.parquet"))
    path.unlink() if damage == "gone" else os.truncate(path, 0 if damage == "empty" else 50)
    export(client, HOURS, tmp_path / "out")
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"files": 5}', "\0"])
def test_a_damaged_list_of_an_export_is_one_line(text: str, client: Any, tmp_path: Path) -> None:
    export(client, HOURS, tmp_path / "out")
    (tmp_path / "out" / "export.json").write_text(text)
    with pytest.raises(AnthropicUsageError, match="export.json is damaged") as caught:
        export(client, HOURS, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1


def test_money_is_exact_in_files(client: Any, served: Any, tmp_path: Path) -> None:
    query = COST.ask(START, END, group_by=["description"])
    export(client, query, tmp_path / "out")
    table = pq.read_table(sorted((tmp_path / "out").glob("*.parquet")))
    assert sum(table["amount_cents"].to_pylist()) == served[0].ledger.cost(START, END)[()]


def test_what_could_still_change_is_read_again(client: Any, served: Any, tmp_path: Path) -> None:
    server = served[1]
    query = USAGE.ask("2026-11-01", "2026-11-21", bucket_width="1h")
    first = export(client, query, tmp_path / "out", asked={"since": "20d"})
    assert first.settled_until == "2026-11-20T14:07:30Z"
    server.requests.clear()
    later = USAGE.ask("2026-11-01", "2026-11-20T22:00:00Z", bucket_width="1h")
    again = export(client, later, tmp_path / "out", asked={"since": "20d"})
    assert (again.files, again.kept, len(server.requests)) == (3, 2, 1)


def test_a_folder_belongs_to_one_export(client: Any, tmp_path: Path) -> None:
    export(client, HOURS, tmp_path / "out")
    other: list[tuple[Query, str]] = [
        (COST.ask(START, END), "parquet"),
        (HOURS, "csv"),
        (USAGE.ask(START, END, bucket_width="1h"), "parquet"),
    ]
    for query, file_format in other:
        with pytest.raises(InvalidQuery, match="holds another export"):
            export(client, query, tmp_path / "out", file_format)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(InvalidQuery, match="is not empty and holds no export"):
        export(client, HOURS, tmp_path / "mine")
    with pytest.raises(InvalidQuery, match="none of parquet, csv, ndjson"):
        export(client, HOURS, tmp_path / "new", "xlsx")
    assert isinstance(export(client, HOURS, tmp_path / "out"), Exported)


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "._x", "Thumbs.db", "Thumbs.db:encryptable", "desktop.ini", ".directory", "Icon\r",
     ".localized", ".nfs000000001", "lost+found", "@eaDir", ".Trash-1000", "System Volume Information"],
)  # fmt: skip
def test_what_a_file_manager_left_is_nobodys(client: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("left")
    export(client, HOURS, tmp_path, "csv")
    assert export(client, HOURS, tmp_path, "csv").kept == 8
    assert (tmp_path / name).read_text() == "left"


def test_a_killed_export_loses_and_doubles_nothing(served: Any, tmp_path: Path) -> None:
    simulator, server = served
    simulator.latency_ms = 40.0
    kills = kill_until_done(server.url, tmp_path, kills=6, seed=1)
    assert kills.killed == 6
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


DECIMALS = st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@example(amount="0E31")
@example(amount="0E-99")
@example(amount="123456789012345678901234567890E-20")
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amount=DECIMALS.filter(str.isascii))
def test_any_decimal_string_survives_to_parquet_and_back(amount: str, tmp_path: Path) -> None:
    """It comes back digit for digit; one that no decimal column can hold is one clear error."""
    query = COST.ask("2025-08-01", "2025-08-02", group_by="description")
    body = json.loads((Path(__file__).parent / "samples" / "cost_docs.json").read_text())
    body["data"][0]["results"][0]["amount"] = amount
    exact = Decimal(amount)
    path = tmp_path / "amount.parquet"
    fits = (Fraction(exact) * 10**18).denominator == 1 and abs(exact) < 10**18
    try:
        sink = ParquetSink(query, path)
        sink.add(query.decode(json.dumps(body).encode()))
        sink.finish()
    except AnthropicUsageError:
        sink.abort()
        if fits:
            raise
        return
    (row,) = pq.read_table(path).to_pylist()
    assert row["amount_cents"] == exact
    assert Fraction(row["amount_usd"]) == Fraction(exact) / 100


def test_spreadsheets_get_no_formulas() -> None:
    query = COST.ask("2025-08-01", "2025-08-02", group_by="description")
    body = json.loads((Path(__file__).parent / "samples" / "cost_docs.json").read_text())
    line = body["data"][0]["results"][0]
    for text, safe in (
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1", "'+1"),
        ("-1", "-1"),  # a number, and harmless
        ("-1+1", "'-1+1"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("Opus - Input", "Opus - Input"),
    ):
        body["data"][0]["results"] = [{**line, "description": text, "amount": "-5"}]
        page = query.decode(json.dumps(body).encode())
        for excel_safe, expected in ((True, safe), (False, text)):
            out = io.StringIO()
            sink = CsvSink(query, out, excel_safe)
            sink.add(page)
            (row,) = csv.DictReader(io.StringIO(out.getvalue()))
            assert row["description"] == expected
            assert Decimal(row["amount_cents"]) == -5, "numbers stay numbers"
