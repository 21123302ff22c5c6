"""Measure SQL over a lake: `python scripts/bench_lake.py [--rows 50000000]`.

First 400 tracked days, asked by model and month of DuckDB and of Spark, which must agree to the
token and the cent, and what it costs that every file is compared with its hash; then a lake of many
rows, made up and written by this script into a temporary folder in the tracker's layout, asked by
five dimensions.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from anthropic_usage import UsageClient
from anthropic_usage.lake import sql as lake_sql
from anthropic_usage.lake.curate import arrow_schema
from anthropic_usage.lake.snapshot import FileEntry, Manifest, curated_name, manifest_name, raw_name
from anthropic_usage.lake.sql import query
from anthropic_usage.lake.storage import Storage
from anthropic_usage.lake.tracker import Tracker
from anthropic_usage.lake.upkeep import verify
from anthropic_usage.simulator import Simulator
from bench_clients import peak_mib

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
WRITTEN = "20261120T120000000000Z"
DECODE = "decode"
UNCHECKED = "unchecked"
BY_MONTH = (
    "select model, year(date) as y, month(date) as m, sum(output_tokens) as tokens, "
    "sum(estimated_cost_usd) as usd from usage_daily group by 1, 2, 3 order by 1, 2, 3"
)
BY_FIVE = (
    "select model, api_key_id, agent_label, year(date) as y, month(date) as m, "
    "sum(uncached_input_tokens) as a, sum(cache_read_input_tokens) as b, sum(output_tokens) as c, "
    "sum(web_search_requests) as d, sum(estimated_cost_usd) as usd from usage_daily "
    "group by 1, 2, 3, 4, 5"
)


def measure(root: str, sql: str, engine: str) -> dict[str, Any]:
    """Ask in a process of its own; returns seconds, the peak, and the answer."""
    done = subprocess.run(
        [sys.executable, __file__, "--ask", root, sql, engine],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def ask(root: str, sql: str, engine: str) -> None:
    """Be that process."""
    start = time.perf_counter()
    if engine == DECODE:
        decode(root)
        print(json.dumps({"wall": time.perf_counter() - start, "peak_mib": peak_mib()}))
        return
    if engine == UNCHECKED:
        engine, lake_sql.check = "duckdb", lambda storage, entries: None
    table = query(Storage(root), sql, engine=engine)
    wall = time.perf_counter() - start
    rows = table.to_pylist()
    plain = [[_plain(value) for value in row.values()] for row in rows]
    plain.sort(key=str)
    print(json.dumps({"wall": wall, "peak_mib": peak_mib(), "rows": plain}))


def decode(root: str) -> None:
    """Read the columns of BY_FIVE and do nothing with them: what no engine can go below."""
    import pyarrow.dataset as ds

    columns = ["model", "api_key_id", "agent_label", "date", "uncached_input_tokens"]
    columns += ["cache_read_input_tokens", "output_tokens", "web_search_requests"]
    columns += ["estimated_cost_usd"]
    files = sorted(str(path) for path in Path(root).rglob("usage_daily_*.parquet"))
    for batch in ds.dataset(files).to_batches(columns=columns):
        del batch


def _plain(value: Any) -> Any:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def tracked(root: Path, days: int) -> None:
    """Track so many days of a simulated organisation."""
    simulator = Simulator(seed=7, days=days + 5, now=NOW)
    first = NOW.date() - dt.timedelta(days=days)
    start = time.perf_counter()
    with (
        simulator.serve() as server,
        UsageClient(Simulator.DEMO_KEY, base_url=server.url) as client,
    ):
        every = (first + dt.timedelta(days=step) for step in range(days))
        done = list(Tracker(client, Storage(root)).track(every))
    print(f"tracked {len(done)} days in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    found = verify(Storage(root))
    verdict = "all whole" if not found.problems else found.problems[0]
    print(f"verified {found.days} days in {time.perf_counter() - start:.1f} s: {verdict}")


def made_up(root: Path, rows: int, days: int = 365) -> int:
    """Write a lake of so many rows; returns its bytes."""
    import numpy
    import pyarrow as pa
    import pyarrow.parquet as pq

    storage = Storage(root)
    schema = arrow_schema("usage_daily")
    each = rows // days
    dice = numpy.random.default_rng(7)
    keys = pa.array([f"apikey_{number:024}" for number in range(200)])
    models = pa.array([f"claude-model-{number}" for number in range(10)])
    labels = pa.array([f"agent-{number}" for number in range(20)])
    size = 0
    for step in range(days):
        day = NOW.date() - dt.timedelta(days=step)
        picked = dice.integers(0, 200, each)
        columns: dict[str, Any] = {
            "date": pa.array([day] * each, pa.date32()),
            "model": models.take(pa.array(dice.integers(0, 10, each))),
            "api_key_id": keys.take(pa.array(picked)),
            "agent_label": labels.take(pa.array(picked % 20)),
        }
        for field in schema:
            if field.name in columns:
                continue
            # As in real use: many zeros, few digits.
            numbers = pa.array(dice.integers(0, 5000, each) * dice.integers(0, 2, each))
            if pa.types.is_decimal(field.type):
                columns[field.name] = numbers.cast(pa.decimal128(38, 0)).cast(field.type)
            else:
                columns[field.name] = numbers
        name = curated_name("usage_daily", day, WRITTEN)
        target = Path(storage.path(name))
        target.parent.mkdir(parents=True)
        pq.write_table(pa.table(columns, schema=schema), target, compression="zstd")
        size += target.stat().st_size
        entry = FileEntry.of(name, target.read_bytes(), each)
        manifest = Manifest(
            date=day,
            stamp=WRITTEN,
            fetched_at=NOW,
            complete=True,
            content="",
            prices="",
            # Named and not there: the questions are of one table.
            raw={"usage": FileEntry.of(raw_name("usage", day, WRITTEN), b"")},
            curated={
                "usage_daily": entry,
                "model_daily": FileEntry.of(curated_name("model_daily", day, WRITTEN), b""),
            },
            totals={},
        )
        storage.write(manifest_name(day, manifest.stamp), manifest.encode())
    return size


def show(title: str, results: dict[str, dict[str, Any]]) -> None:
    """Print one question's results; they must agree."""
    if len({json.dumps(result["rows"]) for result in results.values()}) != 1:
        raise SystemExit(f"{title}: the engines disagree")
    for engine, result in results.items():
        memory = f"{result['peak_mib']:,.0f} MiB" if engine == "duckdb" else "JVM beside it"
        print(f"{title}: {engine:7} {result['wall']:6.2f} s  {memory}  {len(result['rows'])} rows")


def price(title: str, root: Path, sql: str) -> None:
    """Print what it costs that files are compared with their hashes: the best of five each."""
    checked, bare = (
        min(measure(str(root), sql, engine)["wall"] for _ in range(5))
        for engine in ("duckdb", UNCHECKED)
    )
    print(f"{title}: checked {checked:.2f} s, unchecked {bare:.2f} s: {checked / bare:.2f} times")


def main() -> int:
    """Measure both lakes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--engines", default="duckdb,spark")
    parser.add_argument("--ask", nargs=3, metavar=("ROOT", "SQL", "ENGINE"))
    options = parser.parse_args()
    if options.ask:
        ask(*options.ask)
        return 0
    engines = options.engines.split(",")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        small, large = Path(scratch) / "tracked", Path(scratch) / "made-up"
        tracked(small, options.days)
        title = f"{options.days} days by model and month"
        show(title, {engine: measure(str(small), BY_MONTH, engine) for engine in engines})
        price(title, small, BY_MONTH)
        if options.rows:
            size = made_up(large, options.rows)
            print(f"made up {options.rows:,} rows, {size / 1e6:,.0f} MB of Parquet")
            title = f"{options.rows / 1e6:.0f} M rows by five dimensions"
            show(title, {engine: measure(str(large), BY_FIVE, engine) for engine in engines})
            bare = measure(str(large), BY_FIVE, DECODE)
            print(f"{title}: reading the columns alone {bare['wall']:.2f} s")
            price(title, large, BY_FIVE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
