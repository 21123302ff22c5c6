"""A day is there wholly or not at all, once, and says what the API said."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from anthropic_usage.cli import main as cli
from anthropic_usage.lake.schema import TABLES
from anthropic_usage.lake.snapshot import load_manifests, newest, unpack
from anthropic_usage.lake.source import LakeSource
from anthropic_usage.lake.storage import LakeError, Storage
from anthropic_usage.lake.tracker import missing_days, sweep
from anthropic_usage.lake.upkeep import changes, prune, rebuild, verify
from anthropic_usage.simulator import Server, Simulator
from clock import NOW
from tracking import KEY, Run

DAY = dt.timedelta(days=1)


def midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def sums(lake: Storage) -> tuple[int, Decimal]:
    """Return all tokens and dollars of a lake, from its Parquet files."""
    tokens, usd = 0, Decimal(0)
    for manifest in newest(load_manifests(lake)).values():
        usage = pq.read_table(lake.path(manifest.curated["usage_daily"].name))
        tokens += sum(usage.column("total_tokens").to_pylist())
        if "cost_daily" in manifest.curated:
            cost = pq.read_table(lake.path(manifest.curated["cost_daily"].name))
            usd += sum(cost.column("amount_usd").to_pylist(), Decimal(0))
    return tokens, usd


def truth(simulator: Simulator, first: dt.date, last: dt.date) -> tuple[int, Decimal]:
    """Return the same from the simulator's ledger."""
    start, end = midnight(first), midnight(last + DAY)
    usage = simulator.ledger.usage(start, end)[()]
    tokens = sum(count for name, count in usage.items() if name.endswith("_tokens"))
    return tokens, simulator.ledger.cost(start, end)[()] / 100


def test_a_day_as_the_layout_says(
    run: Run, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    code, stdout, stderr = run("--date", "2026-11-10")
    assert code == 0, stderr
    names = [
        *lake.list("raw"),
        *lake.list("curated"),
    ]
    stamps = {name.rpartition("_")[2].partition(".")[0] for name in names}
    (when,) = stamps
    assert f"raw/anthropic/usage_report/date=2026-11-10/usage_{when}.json" in names
    assert f"raw/anthropic/cost_report/date=2026-11-10/cost_{when}.json" in names
    for table in TABLES:
        folder = f"curated/anthropic/{table}/year=2026/month=11/day=10"
        assert f"{folder}/{table}_{when}.parquet" in names
    day = dt.date(2026, 11, 10)
    tokens, usd = truth(served[0], day, day)
    assert sums(lake) == (tokens, usd)
    assert f"${usd:,.2f}" in stdout
    assert "API-reported cost" in stdout
    assert stderr.splitlines()[-1].endswith("wrote 1 of 1 days into " + str(lake))
    assert verify(lake).problems == ()


def test_raw_documents_hold_the_apis_own_bytes(
    run: Run, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    import httpx

    run("--date", "2026-11-10")
    (name,) = (name for name in lake.list("raw") if "/cost_" in name)
    (read,) = unpack(lake.read(name), name)
    asked = httpx.get(
        f"{served[1].url}/v1/organizations/cost_report",
        params=[
            ("starting_at", "2026-11-10T00:00:00Z"),
            ("ending_at", "2026-11-11T00:00:00Z"),
            ("limit", "31"),
            ("group_by[]", "workspace_id"),
            ("group_by[]", "description"),
        ],
        headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"},
    )
    assert read.pages[0].body == asked.content
    assert asked.content in lake.read(name)
    assert json.loads(lake.read(name))["date"] == "2026-11-10"


def test_running_again_writes_nothing(run: Run, lake: Storage) -> None:
    run("--since", "2026-11-08", "--until", "2026-11-11")
    before = {name: lake.read(name) for name in lake.list("")}
    code, _, stderr = run("--since", "2026-11-08", "--until", "2026-11-11")
    assert code == 0
    assert "nothing was new" in stderr
    assert {name: lake.read(name) for name in lake.list("")} == before


def test_a_demonstration_does_not_reach_the_real_lake() -> None:
    from anthropic_usage.cli import track
    from cassettes import run_command

    code, stdout, stderr = run_command(("--demo",), {}, main=track.main)
    assert (code, stdout) == (2, "")
    assert "a lake of its own" in stderr


def test_a_dry_run_writes_nothing(run: Run, lake: Storage) -> None:
    code, stdout, stderr = run("--date", "2026-11-10", "--dry-run")
    assert code == 0
    assert "input tokens" in stdout
    assert "would write 1 of 1" in stderr
    assert [name for name in lake.list("") if name != ".lock"] == []


def test_maps_and_prices(run: Run, lake: Storage, tmp_path: Path) -> None:
    plain = json.loads(run("--date", "2026-11-10", "--json")[1])
    (first,) = newest(load_manifests(lake)).values()
    rows = pq.read_table(lake.path(first.curated["usage_daily"].name)).to_pylist()
    row = max((row for row in rows if row["api_key_id"]), key=lambda row: row["estimated_cost_usd"])
    key = row["api_key_id"]
    prices = tmp_path / "prices.json"
    terms = {"input_per_million": 1000.0, "output_per_million": 1000}
    prices.write_text(json.dumps({row["model"]: terms}))
    code, stdout, _ = run(
        "--date",
        "2026-11-10",
        "--json",
        "--pricing-json",
        str(prices),
        ANTHROPIC_AGENT_MAP_JSON=json.dumps({key: "opus-main"}),
    )
    assert code == 0
    dear = json.loads(stdout)
    estimates = [day["totals"]["model_daily"]["estimated_cost_usd"] for day in (plain, dear)]
    assert Decimal(estimates[1]) > Decimal(estimates[0])
    (manifest,) = newest(load_manifests(lake)).values()
    rows = pq.read_table(lake.path(manifest.curated["usage_daily"].name)).to_pylist()
    assert {row["agent_label"] for row in rows if row["api_key_id"] == key} == {"opus-main"}
    assert verify(lake).problems == ()


def test_an_override_that_no_model_bears_is_said(run: Run) -> None:
    terms = {"input_per_million": 1, "output_per_million": 2}
    asked = ("--date", "2026-11-10", "--dry-run", "--pricing-json")
    code, _, stderr = run(*asked, json.dumps({"claude-opus-4.1": terms, "claude-opus-4-1": terms}))
    assert code == 0
    (said,) = (line for line in stderr.splitlines() if "is no model" in line)
    assert "'claude-opus-4.1'" in said
    assert "near are claude-opus-4-1" in said


def test_today_has_usage_and_no_bill_yet(
    run: Run, lake: Storage, served: tuple[Simulator, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropic_usage.cli.track.utc_now", lambda: NOW)
    code, stdout, stderr = run()
    assert code == 0
    assert "2026-11-20 (UTC), so far" in stdout
    assert "not there yet" in stdout
    assert "no bill of 2026-11-20 yet" in stderr
    (manifest,) = newest(load_manifests(lake)).values()
    assert "cost_daily" not in manifest.curated
    assert manifest.complete is False


def test_catching_up(
    run: Run, lake: Storage, served: tuple[Simulator, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropic_usage.cli.track.utc_now", lambda: NOW)
    run("--date", "2026-11-12")
    run("--date", "2026-11-14")
    today = NOW.date()
    days = missing_days(lake, today, reread=2)
    assert [day.day for day in days] == [13, 15, 16, 17, 18, 19, 20]
    code, _, stderr = run("--catch-up", "2")
    assert code == 0
    assert "wrote 7 of 7 days" in stderr
    assert missing_days(lake, today, reread=0) == [today]
    found = verify(lake)
    assert (found.days, found.problems, found.gaps) == (9, (), ())


def test_a_restatement_shows_once(
    run: Run, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    simulator = Simulator(seed=7, size=0.5, days=60, now=NOW)
    with simulator.serve() as server:
        where = {"ANTHROPIC_BASE_URL": server.url}
        asked = ("--since", "2026-11-10", "--until", "2026-11-13")
        run(*asked, **where)
        before = sums(lake)
        simulator.restate("2026-11-11", 1.5)
        for _ in range(3):
            assert run(*asked, **where)[0] == 0
        found = changes(lake)
        usd = [change for change in found if change.table == "cost_daily"]
        assert len(usd) == 1
        assert usd[0].date == dt.date(2026, 11, 11)
        assert usd[0].difference == sums(lake)[1] - before[1]
        assert len({(change.table, change.measure) for change in found}) == len(found)
        assert changes(lake, dt.date(2026, 11, 12)) == []
        _, stdout, _ = run("changes", "--json", of=lambda args: cli.main(["lake", *args]))
        assert len(json.loads(stdout)["changes"]) == len(found)
        assert sums(lake) == truth(simulator, dt.date(2026, 11, 10), dt.date(2026, 11, 12))
        assert prune(lake, 1) == 1
        assert changes(lake) == []
        assert verify(lake).problems == ()


def test_tables_are_made_again_from_raw_alone(run: Run, lake: Storage) -> None:
    run("--since", "2026-11-08", "--until", "2026-11-12", "--compress")
    assert any(name.endswith(".json.zst") for name in lake.list("raw"))
    before = {name: lake.read(name) for name in lake.list("")}
    for name in lake.list("curated"):
        lake.remove(name)
    assert len(verify(lake).problems) > 0
    assert rebuild(lake) == 4
    assert {name: lake.read(name) for name in lake.list("")} == before
    assert rebuild(lake) == 0


@pytest.mark.parametrize("folder", ["raw", "curated"])
def test_damage_is_found(folder: str, run: Run, lake: Storage) -> None:
    run("--date", "2026-11-10")
    name = next(name for name in lake.list(folder) if "usage" in name)
    data = lake.read(name)
    lake.write(name, data[:-3] + b"xyz")
    (problem,) = verify(lake).problems
    assert name in problem
    code, stdout, _ = run("verify", of=lambda args: cli.main(["lake", *args]))
    assert code == 1
    assert name in stdout
    lake.remove(name)
    assert any(name in problem for problem in verify(lake).problems)


def test_a_manifest_that_lies_is_found(run: Run, lake: Storage) -> None:
    import msgspec
    from anthropic_usage.lake.curate import parquet

    run("--date", "2026-11-10")
    ((manifest,),) = load_manifests(lake).values()
    entry = manifest.curated["model_daily"]
    rows = pq.read_table(lake.path(entry.name)).to_pylist()
    rows[0]["output_tokens"] += 1
    data = parquet("model_daily", rows)
    lake.write(entry.name, data)
    curated = {**manifest.curated, "model_daily": type(entry).of(entry.name, data, len(rows))}
    lake.write(manifest.name, msgspec.structs.replace(manifest, curated=curated).encode())
    assert any("not what raw says" in problem for problem in verify(lake).problems)


def test_what_was_never_finished_does_not_count(run: Run, lake: Storage) -> None:
    run("--date", "2026-11-10")
    before = sums(lake)
    loose = "curated/anthropic/usage_daily/year=2026/month=11/day=10/usage_daily_20990101T000000000000Z.parquet"
    lake.write(loose, b"half")
    assert verify(lake).waste == 1
    assert sums(lake) == before
    # Nothing proves that it is a killed run's, until the mark says so that such a run leaves.
    assert sweep(lake) == 0
    lake.write(".staging/snapshots/2026-11-10_20990101T000000000000Z.json", b"{}")
    assert sweep(lake) == 1
    assert verify(lake).waste == 0


@pytest.mark.parametrize("fault", ["404@usage", "403@usage", "401"])
def test_reports_that_are_not_available_say_what_to_do(
    fault: str, run: Run, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = [fault]
    code, stdout, stderr = run("--date", "2026-11-10")
    assert (code, stdout) == (1, "")
    assert len(stderr.splitlines()) == 1
    assert "not available to this account" in stderr or "401" in stderr
    assert load_manifests(lake) == {}


def test_a_failing_day_leaves_the_days_before_it(
    run: Run, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = ["missing-measure@cost#3"]
    code, _, stderr = run("--since", "2026-11-01", "--until", "2026-11-10")
    assert code == 1
    assert "shape" in stderr
    assert verify(lake).problems == ()
    served[0].faults = []
    assert run("--since", "2026-11-01", "--until", "2026-11-10")[0] == 0
    first, last = dt.date(2026, 11, 1), dt.date(2026, 11, 9)
    assert sums(lake) == truth(served[0], first, last)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--date", "2999-01-01"), "has not begun"),
        (("--date", "1999-01-01"), "no day that usage can be tracked of"),
        (("--date", "soon"), "no moment in time"),
        (("--date", "2026-11-10", "--since", "2026-11-01"), "one of --date, --since"),
        (("--until", "2026-11-10"), "--until needs --since"),
        (("--pricing-json", "{"), "no JSON"),
        (("--datalake-root", "nowhere://x"), "no place for a lake"),
    ],
)
def test_wrong_questions_are_one_line(args: tuple[str, ...], says: str, run: Run) -> None:
    code, stdout, stderr = run(*args)
    assert (code, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1
    assert says in stderr


def _track(root: str, url: str, *args: str) -> subprocess.Popen[str]:
    base = {name: value for name, value in os.environ.items() if "ANTHROPIC" not in name}
    return subprocess.Popen(
        [sys.executable, "-m", "anthropic_usage.cli.track", "--datalake-root", root, *args],
        env={**base, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_ADMIN_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_trackers_at_once(lake: Storage, served: tuple[Simulator, Server]) -> None:
    args = ("--since", "2026-11-01", "--until", "2026-11-08")
    both = [_track(str(lake), served[1].url, *args) for _ in range(2)]
    outcomes = [tracker.communicate(timeout=60) for tracker in both]
    assert [tracker.returncode for tracker in both] == [0, 0], outcomes
    known = load_manifests(lake)
    assert len(known) == 7
    assert all(len(snapshots) == 1 for snapshots in known.values())
    assert sums(lake) == truth(served[0], dt.date(2026, 11, 1), dt.date(2026, 11, 7))


def test_the_lock_has_an_end(run: Run, lake: Storage) -> None:
    with lake.lock():
        code, _, stderr = run("--date", "2026-11-10", "--lock-timeout", "0.1")
    assert code == 1
    assert "another tracker" in stderr


def test_killed_at_any_moment_and_caught_up(
    run: Run, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    args = ("--since", "2026-11-01", "--until", "2026-11-10")
    for delay in (0.5, 0.6, 0.7, 0.8):
        tracker = _track(str(lake), served[1].url, *args)
        time.sleep(delay)
        tracker.send_signal(signal.SIGKILL)
        tracker.communicate()
        assert verify(lake).problems == ()
    assert run(*args)[0] == 0
    found = verify(lake)
    assert (found.problems, found.waste, found.days) == ((), 0, 9)
    assert sums(lake) == truth(served[0], dt.date(2026, 11, 1), dt.date(2026, 11, 9))


def _write_with_a_limit(root: str, outcome: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        Storage(root).write("raw/x.json", b"x" * 5000)
    except LakeError as error:
        outcome.put(str(error))


def test_a_full_disk_is_one_clear_error(lake: Storage) -> None:
    context = multiprocessing.get_context("spawn")
    outcome = context.Queue()
    writer = context.Process(target=_write_with_a_limit, args=(str(lake), outcome))
    writer.start()
    assert "cannot write raw/x.json" in outcome.get(timeout=30)
    writer.join()
    assert [name for name in lake.list("") if name.startswith((".staging", "raw"))] == []


def test_a_lake_answers_as_the_api_does(
    run: Run, lake: Storage, served: tuple[Simulator, Server], tmp_path: Path
) -> None:
    run("--since", "2026-11-01", "--until", "2026-11-20")
    span = ("--since", "2026-11-11", "--until", "2026-11-20", "--json")
    for command in (
        ("report", *span),
        ("chargeback", *span),
        ("chargeback", "--by", "api_key", *span),
        ("reconcile", *span),
    ):
        live = run(*command, of=_without_root)
        served[0].faults = ["500"]
        offline = run(*command, "--from-lake", str(lake), of=_without_root)
        served[0].faults = []
        assert live[0] == offline[0] == 0, offline[2]
        one, other = json.loads(live[1]), json.loads(offline[1])
        if command[0] == "report":
            # The lake's Claude Code and notes are as of the snapshots; the figures are the same.
            for document in (one, other):
                document.pop("notes")
        assert one == other


def _without_root(args: list[str]) -> int:
    place = args.index("--datalake-root")
    return cli.main([*args[:place], *args[place + 2 :]])


def test_a_lake_without_the_day_says_so(run: Run, lake: Storage) -> None:
    with pytest.raises(LakeError, match="no lake yet"):
        LakeSource(lake)
    code, stdout, stderr = run("verify", of=lambda args: cli.main(["lake", *args]))
    assert (code, stdout) == (1, "")
    assert "no lake yet" in stderr
    run("--date", "2026-11-10")
    run("--date", "2026-11-12")
    code, _, stderr = run(
        "chargeback", "--month", "2026-11", "--from-lake", str(lake), of=_without_root
    )
    assert code == 1
    assert "the lake has no 2026-11-01" in stderr
    day = ("--since", "2026-11-10", "--until", "2026-11-11", "--from-lake", str(lake))
    code, _, stderr = run("report", *day, of=_without_root)
    assert (code, "--no-compare" in stderr) == (1, True)
    code, stdout, stderr = run("report", *day, "--no-compare", of=_without_root)
    assert code == 0, stderr
    assert "in a day" in stdout


def test_forecasts_and_checks_of_a_young_lake(
    run: Run, lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--since", "2026-10-20", "--until", "2026-11-16")
    root = ("--from-lake", str(lake), "--json")
    code, stdout, stderr = run("forecast", "--month", "2026-11", *root, of=_without_root)
    assert code == 0, stderr
    (forecast,) = json.loads(stdout)["forecasts"]
    assert (forecast["billed_until"], forecast["days_left"]) == ("2026-11-16", 15)
    code, stdout, stderr = run("check", "--today", "2026-11-16", *root, of=_without_root)
    assert code in (0, 3), stderr
    assert json.loads(stdout)["billed_until"] == "2026-11-16"


def test_other_prices_make_another_snapshot_of_the_same_raw(
    run: Run, lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anthropic_usage.analysis.prices import PriceTable
    from anthropic_usage.lake import upkeep

    run("--since", "2026-11-10", "--until", "2026-11-12")
    before = sums(lake)
    dearer = PriceTable(PriceTable.bundled().prices, Decimal(1))
    monkeypatch.setattr(upkeep.PriceTable, "bundled", classmethod(lambda cls: dearer))
    assert rebuild(lake) == 2
    assert rebuild(lake) == 0
    assert sums(lake) == before
    assert verify(lake).problems == ()
    known = load_manifests(lake)
    assert [len(snapshots) for snapshots in known.values()] == [2, 2]
    for old, new in known.values():
        assert old.raw == new.raw
        sold, says = (m.totals["model_daily"]["estimated_cost_usd"] for m in (old, new))
        assert Decimal(says) > Decimal(sold)
    assert changes(lake) == []
    assert sweep(lake) == 0
    assert prune(lake, 1) == 2
    found = verify(lake)
    assert (found.problems, found.waste) == ((), 0)
