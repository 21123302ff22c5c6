"""SQL over a lake: the same answers from DuckDB, Spark, Delta, and an object store."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from anthropic_usage import InvalidQuery, UsageClient
from anthropic_usage.cli import main as cli
from anthropic_usage.lake.delta import commit, table_uri
from anthropic_usage.lake.sql import query
from anthropic_usage.lake.storage import Storage
from anthropic_usage.lake.tracker import Tracker
from anthropic_usage.lake.upkeep import prune, verify
from anthropic_usage.simulator import Server, Simulator
from clock import NOW
from tracking import KEY, Run

BY_MODEL = (
    "select model, month(date) as month, sum(output_tokens) as tokens, "
    "sum(estimated_cost_usd) as usd from usage_daily group by model, month(date) order by 1, 2"
)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, Simulator]:
    """Track twelve days."""
    simulator = Simulator(seed=7, size=0.5, days=60, now=NOW)
    storage = Storage(tmp_path_factory.mktemp("lake"))
    with simulator.serve() as server, UsageClient(KEY, base_url=server.url) as client:
        list(Tracker(client, storage).track(days(12)))
    return storage, simulator


def days(count: int) -> list[Any]:
    import datetime as dt

    return [dt.date(2026, 10, 26) + dt.timedelta(days=step) for step in range(count)]


def test_views_hold_what_was_tracked(tracked: tuple[Storage, Simulator]) -> None:
    import datetime as dt

    storage, simulator = tracked
    start, end = dt.datetime(2026, 10, 26, tzinfo=dt.UTC), dt.datetime(2026, 11, 7, tzinfo=dt.UTC)
    (row,) = query(storage, "select sum(amount_usd) as usd from cost_daily").to_pylist()
    assert row["usd"] == simulator.ledger.cost(start, end)[()] / 100
    used = simulator.ledger.usage(start, end)[()]
    (row,) = query(
        storage, "select sum(output_tokens) as n, count(distinct date) as d from model_daily"
    ).to_pylist()
    assert (row["n"], row["d"]) == (used["output_tokens"], 12)
    (row,) = query(storage, "select sum(num_sessions) as n from claude_code_daily").to_pylist()
    code = simulator.ledger.claude_code(start.date(), end.date())
    assert row["n"] == sum(sums["num_sessions"] for sums in code.values())


@pytest.mark.parametrize(
    "sql",
    [
        "copy usage_daily to '/tmp/stolen.csv'",
        "attach '/tmp/x.db'",
        "create table x as select 1",
        "select 1; select 2",
        "set enable_external_access = true",
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "install httpfs",
        "selct 1",
        "select nothing from usage_daily",
        "select '\udcff'",
        "explain (analyze) copy usage_daily to '/tmp/stolen.csv'",
        "with x as (copy (select 1) to '/tmp/stolen.csv') select * from x",
        "select * from query('with x as (co'||'py (select 1) to ''/tmp/stolen'') select * from x')",
        "select * from enable_logging(storage='file', storage_path='/tmp/stolen')",
        "select * from enable_profiling(save_location='/tmp/stolen')",
        "select * from duckdb_secrets()",
        "from usage_daily, '/etc/hostname'",
    ],
)
def test_it_only_reads(sql: str, tracked: tuple[Storage, Simulator]) -> None:
    with pytest.raises(InvalidQuery) as caught:
        query(tracked[0], sql)
    assert len(str(caught.value).splitlines()) == 1


def test_the_command(tracked: tuple[Storage, Simulator], tmp_path: Path, run: Run) -> None:
    root = ("--datalake-root", str(tracked[0]))

    def sql(*args: str) -> tuple[int, str, str]:
        return run("sql", *args, *root, of=cli.main)

    rows = json.loads(sql(BY_MODEL, "--json")[1])
    assert rows
    # What has no price is null, never a number.
    assert any(row["usd"] for row in rows)
    assert all(row["usd"] is None or isinstance(row["usd"], str) for row in rows)
    table = list(csv.DictReader(io.StringIO(sql(BY_MODEL, "--csv")[1])))
    assert [row["usd"] or None for row in table] == [row["usd"] for row in rows]
    target = tmp_path / "out.parquet"
    assert sql(BY_MODEL, "--parquet", str(target))[0] == 0
    assert pq.read_table(target).num_rows == len(rows)
    assert "month" in sql(BY_MODEL)[1].splitlines()[0]
    code, stdout, stderr = sql("selct")
    assert (code, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [("[1, 2]", "[1, 2]"), ("{'a': 1}", '{"a": 1}'), ("map {'é': [true, null]}", '{"é": [true, null]}'),
     ("['nan'::double, 1.5::decimal(3, 1)]", '[null, 1.5]'), ("[date '2026-01-02']", '["2026-01-02"]'),
     ("['=1+1']", '["=1+1"]'), ("[null]", "[null]"), ("{'a': {'b': 'x,y'}}", '{"a": {"b": "x,y"}}')],
)  # fmt: skip
def test_what_holds_several_values_is_json_in_csv_as_well(
    value: str, said: str, tracked: tuple[Storage, Simulator], run: Run
) -> None:
    root = ("--datalake-root", str(tracked[0]))
    code, stdout, stderr = run("sql", f"select {value} v, 1 w", "--csv", *root, of=cli.main)
    assert code == 0, stderr
    assert list(csv.reader(io.StringIO(stdout))) == [["v", "w"], [said, "1"]]
    assert (
        json.loads(said)
        == json.loads(run("sql", f"select {value} v", "--json", *root, of=cli.main)[1])[0]["v"]
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
@pytest.mark.filterwarnings("ignore")
def test_spark_says_the_same(tracked: tuple[Storage, Simulator]) -> None:
    storage = tracked[0]
    one, other = (
        query(storage, BY_MODEL, engine=engine, master="local[1]").to_pylist()
        for engine in ("duckdb", "spark")
    )
    assert [{**row, "tokens": int(row["tokens"])} for row in one] == other
    for sql in (
        "drop view usage_daily",
        "select java_method('java.lang.System', 'getenv', 'HOME')",
        "select length(reflect('java.lang.System', 'getenv', 'HOME'))",
        "select * from text.`/etc/hostname`",
        "with t as (select 1 a) insert overwrite directory '/tmp/stolen' using csv from t",
        "select transform(a) using 'cat' from (select 1 a)",
    ):
        with pytest.raises(InvalidQuery):
            query(storage, sql, engine="spark", master="local[1]")


def test_delta_logs_name_the_same_files(tracked: tuple[Storage, Simulator], tmp_path: Path) -> None:
    import deltalake
    import duckdb

    storage = Storage(shutil.copytree(str(tracked[0]), tmp_path / "lake"))
    versions = commit(storage)
    assert versions["cost_daily"] == (0, 12)
    assert commit(storage)["cost_daily"] == (0, 0)
    (truth,) = query(storage, "select sum(amount_usd) as usd from cost_daily").to_pylist()
    dataset = deltalake.DeltaTable(table_uri(storage, "cost_daily")).to_pyarrow_dataset()
    assert duckdb.from_arrow(dataset).sum("amount_usd").fetchall() == [(truth["usd"],)]
    simulator = Simulator(seed=7, size=0.5, days=60, now=NOW)
    simulator.restate("2026-10-30", 2)
    with simulator.serve() as server, UsageClient(KEY, base_url=server.url) as client:
        list(Tracker(client, storage).track(days(12)))
    assert commit(storage)["cost_daily"] == (1, 1)
    assert verify(storage).problems == ()
    (truth,) = query(storage, "select sum(amount_usd) as usd from cost_daily").to_pylist()
    log = deltalake.DeltaTable(table_uri(storage, "cost_daily"))
    dataset = log.to_pyarrow_dataset()
    assert duckdb.from_arrow(dataset).sum("amount_usd").fetchall() == [(truth["usd"],)]
    assert len(log.file_uris()) == 12
    log.load_as_version(0)
    assert len(log.file_uris()) == 12
    assert prune(storage, 1) == 1


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve an S3-compatible store on 127.0.0.1; gives the URL of a folder in a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="usage")
    yield f"s3://usage/lake?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()


@pytest.mark.filterwarnings("ignore")
def test_an_object_store_is_a_root_too(
    bucket: str, served: tuple[Simulator, Server], run: Run
) -> None:
    storage = Storage(bucket)
    root = ("--datalake-root", bucket)
    asked = ("--since", "2026-11-10", "--until", "2026-11-13")
    code, _, stderr = run(*asked, *root)
    assert code == 0, stderr
    assert "endpoint_override" not in stderr
    assert run(*asked, *root)[2].count("nothing was new") == 1
    assert verify(storage).problems == ()
    assert verify(storage).days == 3
    import datetime as dt

    start, end = (dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (10, 13))
    (row,) = query(storage, "select sum(amount_usd) as usd from cost_daily").to_pylist()
    assert row["usd"] == served[0].ledger.cost(start, end)[()] / 100


@pytest.mark.parametrize(
    "url", ["nowhere://user:SECRET@host/x", "s3://key:SECRET@bucket/lake?nonsense=SECRET"]
)
def test_a_url_does_not_give_its_secrets_away(url: str, run: Run) -> None:
    code, stdout, stderr = run("--date", "2026-11-10", "--datalake-root", url)
    assert (code, stdout) == (2, "")
    assert "SECRET" not in stderr
    assert "no place for a lake" in stderr
