"""Files, tables and frames: exact to the digit, and whole or not there."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from anthropic_usage import (
    AnthropicUsageError,
    CostRow,
    IncompleteReport,
    MissingExtra,
    Report,
    UsageRow,
)
from anthropic_usage.reports import CLAUDE_CODE, COST, USAGE
from hypothesis import given
from hypothesis import strategies as st
from support import DAY, Loopback, bucket, every_bucket, read, report_of, usage_result, utc

SAMPLES = Path(__file__).parent / "samples"
FIRST = utc(2026, 2, 1)
AMOUNTS = ["123.45", "94.662", "0.000000001", "-17", "1e2", "0", "99999999999.123456789012345678"]


def cost(amounts: list[str] = AMOUNTS, holes: bool = False) -> Report[Any]:
    query = COST.ask("2026-02-01", "2026-02-04", group_by=["description", "workspace_id"])
    lines = [
        {"currency": "USD", "amount": amount, "description": f'Line "{n}",\nwith all, 日本'}
        for n, amount in enumerate(amounts)
    ]
    days = [0, 2] if holes else [0, 1, 2]
    return report_of(query, [bucket(FIRST + n * DAY, lines) for n in days], [1])


def usage() -> Report[Any]:
    query = USAGE.ask("2026-02-01", "2026-02-03", group_by=["model", "workspace_id"])
    results = [
        usage_result(model="opus", workspace_id=None, output_tokens=2**62),
        usage_result(model="haiku", workspace_id="wrkspc_01"),
    ]
    return report_of(query, [bucket(FIRST, results), bucket(FIRST + DAY, results[1:])])


def code() -> Report[Any]:
    (record,) = json.loads((SAMPLES / "claude_code_docs.json").read_text())["data"]
    record |= {"date": "2026-02-01T00:00:00Z", "is_remote": False}
    return report_of(CLAUDE_CODE.ask("2026-02-01", "2026-02-02"), [record])


MAKERS = {"cost": cost, "usage": usage, "claude_code": code}


def from_csv(report: Report[Any]) -> list[dict[str, str]]:
    out = io.StringIO(newline="")
    report.to_csv(out)
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))


def from_ndjson(report: Report[Any]) -> list[dict[str, Any]]:
    out = io.StringIO()
    report.to_ndjson(out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_csv_money_is_plain_and_exact() -> None:
    rows = from_csv(cost())
    assert [Decimal(row["amount_cents"]) for row in rows] == [Decimal(a) for a in AMOUNTS] * 3
    assert all(Fraction(r["amount_usd"]) * 100 == Fraction(r["amount_cents"]) for r in rows)
    assert all("e" not in (r["amount_usd"] + r["amount_cents"]).lower() for r in rows)
    assert rows[0]["description"] == 'Line "0",\nwith all, 日本'
    assert rows[0]["workspace_id"] == ""
    assert rows[0]["starting_at"] == "2026-02-01T00:00:00Z"


@given(
    st.lists(
        st.from_regex(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", fullmatch=True).filter(str.isascii),
        min_size=1,
        max_size=8,
    )
)
def test_any_amount_survives_every_way_out(amounts: list[str]) -> None:
    report = cost(amounts)
    exact = [Fraction(amount) for amount in amounts] * 3
    assert [Fraction(row["amount_cents"]) for row in from_csv(report)] == exact
    assert [Fraction(row["amount_cents"]) for row in from_ndjson(report)] == exact
    arrow = report.to_arrow()
    assert [Fraction(cents) for cents in arrow["amount_cents"].to_pylist()] == exact
    assert [Fraction(usd) * 100 for usd in arrow["amount_usd"].to_pylist()] == exact


@pytest.mark.parametrize("report", sorted(MAKERS))
def test_json_lines_hold_every_column_and_no_float(report: str) -> None:
    made = MAKERS[report]()
    lines = from_ndjson(made)
    assert lines
    for line, row in zip(lines, made, strict=True):
        assert tuple(line) == made.query.columns()
        assert "float" not in {type(value).__name__ for value in line.values()}
        for name, value in line.items():
            found = getattr(row, name)
            if isinstance(found, Decimal):
                assert Decimal(value) == found
            elif isinstance(found, dt.datetime):
                assert dt.datetime.fromisoformat(value) == found
            elif name not in ("models", "date"):
                assert value == found


def test_columns_have_exact_types() -> None:
    types = {field.name: field.type for field in cost().to_arrow().schema}
    assert types["amount_cents"] == pa.decimal128(38, 18)
    assert types["amount_usd"] == pa.decimal128(38, 20)
    assert types["starting_at"] == pa.timestamp("us", tz="UTC")
    assert types["description"] == pa.string()
    types = {field.name: field.type for field in usage().to_arrow().schema}
    assert types["output_tokens"] == types["total_tokens"] == pa.int64()
    types = {field.name: field.type for field in code().to_arrow().schema}
    assert types["date"] == pa.date32()
    assert types["is_remote"] == pa.bool_()
    assert not any(pa.types.is_floating(kind) for kind in types.values())


@pytest.mark.parametrize("report", sorted(MAKERS))
def test_a_parquet_file_reads_back_as_the_table(report: str, tmp_path: Path) -> None:
    made = MAKERS[report]()
    made.to_parquet(tmp_path / "report.parquet")
    assert pq.read_table(tmp_path / "report.parquet").equals(made.to_arrow())
    assert made.to_arrow().column_names == list(made.query.columns())


def test_frames_hold_decimals_and_whole_numbers() -> None:
    pandas, polars = cost().to_pandas(), cost().to_polars()
    assert [type(value) for value in pandas["amount_usd"]] == [Decimal] * 21
    assert list(pandas["amount_cents"])[:7] == [Decimal(amount) for amount in AMOUNTS]
    assert polars.schema["amount_usd"] == pl.Decimal(38, 20)
    assert polars["amount_cents"].to_list()[:7] == [Decimal(amount) for amount in AMOUNTS]
    assert str(pandas["starting_at"].dtype).endswith("UTC]")
    assert usage().to_polars()["output_tokens"].to_list()[0] == 2**62
    assert list(usage().to_pandas()["workspace_id"])[1] == "wrkspc_01"


def test_an_empty_report_is_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    query = USAGE.ask("2026-02-01", "2026-02-02", group_by="model")
    empty = report_of(query, [bucket(FIRST)])
    assert empty.to_arrow().num_rows == 0
    assert empty.to_arrow().schema.names == list(query.columns())
    assert from_csv(empty) == []
    empty.to_parquet(tmp_path / "empty.parquet")
    assert pq.read_table(tmp_path / "empty.parquet").schema.names == list(query.columns())


def test_a_number_no_column_holds_is_one_clear_error() -> None:
    query = USAGE.ask("2026-02-01", "2026-02-02")
    for tokens in (2**63, 2**63 - 1):
        # The second one fits its own column, but not the one of the totals.
        report = report_of(query, [bucket(FIRST, [usage_result(output_tokens=tokens)])])
        with pytest.raises(AnthropicUsageError, match="does not fit its Arrow column"):
            report.to_arrow()
        assert from_csv(report)[0]["output_tokens"] == str(tokens)


WRITERS = ["to_csv", "to_ndjson", "to_parquet"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("old", [None, "what was there before"])
def test_nothing_is_under_the_name_after_a_failure_midway(
    writer: str, old: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "report"
    if old:
        path.write_text(old)
    with pytest.raises(IncompleteReport):
        getattr(cost(holes=True), writer)(path)
    assert [file.name for file in tmp_path.iterdir()] == (["report"] if old else [])
    assert not old or path.read_text() == old


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_under_the_name_until_it_is_whole(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "report"
    inner = cost()
    seen = []

    def source() -> Any:
        for part in inner.parts():
            seen.append(path.exists())
            yield part

    getattr(Report(inner.query, source), writer)(path)
    assert seen == [False, False]
    assert path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("writer", WRITERS)
def test_being_interrupted_leaves_nothing_behind(writer: str, tmp_path: Path) -> None:
    inner = cost()

    def source() -> Any:
        yield next(iter(inner.parts()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        getattr(Report(inner.query, source), writer)(tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_file_has_the_rights_any_other_would_have(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    cost().to_csv(tmp_path / "report")
    assert (tmp_path / "report").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_that_is_not_there_costs_no_request(writer: str, tmp_path: Path) -> None:
    with Loopback(every_bucket) as server:
        with pytest.raises(FileNotFoundError):
            read(
                False,
                lambda c: getattr(c.cost("2026-02-01", "2026-02-02"), writer)(
                    tmp_path / "no" / "x"
                ),
                base_url=server.url,
            )
        assert server.asked == []


@pytest.mark.parametrize("writer", WRITERS)
def test_a_whole_file_takes_the_place_of_the_old_one(writer: str, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("what was there before")
    getattr(cost(), writer)(tmp_path / "report")
    getattr(cost(), writer)(tmp_path / "other")
    assert (tmp_path / "report").read_bytes() == (tmp_path / "other").read_bytes()


def test_writing_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    for writer in WRITERS:
        for name in ("first", "second"):
            getattr(cost(), writer)(tmp_path / name)
        assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_paths_may_be_strings_and_open_files_stay_open(tmp_path: Path) -> None:
    usage().to_csv(str(tmp_path / "a.csv"))
    with open(tmp_path / "b.csv", "w", encoding="utf-8", newline="") as out:
        out.write("# mine\n")
        usage().to_csv(out)
        out.write("# still mine\n")
    b = (tmp_path / "b.csv").read_text()
    assert b == "# mine\n" + (tmp_path / "a.csv").read_text() + "# still mine\n"


@pytest.mark.parametrize(
    ("method", "module", "extra"),
    [
        ("to_arrow", "pyarrow", "arrow"),
        ("to_parquet", "pyarrow.parquet", "arrow"),
        ("to_pandas", "pandas", "pandas"),
        ("to_polars", "polars", "polars"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_missing_library_names_its_extra(
    method: str,
    module: str,
    extra: str,
    asynchronous: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    path = [tmp_path / "x"] if method == "to_parquet" else []
    with Loopback(every_bucket) as server, pytest.raises(ImportError) as caught:
        read(
            asynchronous,
            lambda c: getattr(c.usage("2026-02-01", "2026-02-02"), method)(*path),
            base_url=server.url,
        )
    assert isinstance(caught.value, MissingExtra)
    assert f"pip install 'anthropic-usage[{extra}]'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_field_of_a_row_is_a_float() -> None:
    for row in [*cost(), *usage(), *code()]:
        kinds = {type(value) for value in row.as_dict().values()}
        assert float not in kinds
    assert {type(row) for row in (next(iter(cost())), next(iter(usage())))} == {CostRow, UsageRow}
