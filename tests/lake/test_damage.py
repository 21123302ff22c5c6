"""Whatever happens to a lake's files, an answer is exact or there is none, and nothing else goes."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from anthropic_usage import AnthropicUsageError, UsageClient
from anthropic_usage.cli import main as cli
from anthropic_usage.lake.storage import LakeError, Storage
from anthropic_usage.lake.tracker import Tracker
from anthropic_usage.lake.upkeep import prune, rebuild, verify
from anthropic_usage.simulator import Simulator
from clock import NOW
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soak_attacks import by_reports, by_sql
from tracking import KEY, Run

DAYS = [dt.date(2026, 11, day) for day in (8, 9, 10)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Track three days, once."""
    folder = tmp_path_factory.mktemp("whole") / "lake"
    simulator = Simulator(seed=7, size=0.3, days=60, now=NOW)
    with simulator.serve() as server, UsageClient(KEY, base_url=server.url) as client:
        list(Tracker(client, Storage(folder)).track(DAYS))
    return folder


@pytest.fixture
def lake(whole: Path, tmp_path: Path) -> Storage:
    """Give a copy of the lake."""
    return Storage(shutil.copytree(whole, tmp_path / "lake"))


def exact_or_refused(lake: Storage, truth: tuple[int, Decimal]) -> None:
    for answer in (by_sql, by_reports):
        told: tuple[int, Decimal] | str
        try:
            told = answer(lake)
        except AnthropicUsageError as error:
            told = str(error)
        assert told == truth or (isinstance(told, str) and len(told.splitlines()) == 1)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != ".lock")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_is_exact_or_refused(data: st.DataObject, whole: Path, tmp_path: Path) -> None:
    truth = by_sql(Storage(whole))
    root = tmp_path / "damaged"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(whole, root)
    for _ in range(data.draw(st.integers(1, 3))):
        there = files(root)
        path = data.draw(st.sampled_from(there))
        raw = path.read_bytes()
        kind = data.draw(st.sampled_from(["flip", "cut", "swap", "empty", "gone", "more"]))
        if kind == "flip" and raw:
            place = data.draw(st.integers(0, len(raw) * 8 - 1))
            changed = bytearray(raw)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(changed)
        elif kind == "cut":
            path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
        elif kind == "swap":
            path.write_bytes(data.draw(st.sampled_from(there)).read_bytes())
        elif kind == "gone":
            # A whole day that is not there is another lake; its files are the damage.
            if "manifests" not in path.parts:
                path.unlink()
        else:
            path.write_bytes(b"" if kind == "empty" else raw + b" ")
    exact_or_refused(Storage(root), truth)


def edit(change: Callable[[dict[str, object]], None]) -> Callable[[Storage], None]:
    def damage(lake: Storage) -> None:
        name = lake.list("manifests")[0]
        document = json.loads(lake.read(name))
        change(document)
        Path(lake.path(name)).write_text(json.dumps(document))

    return damage


def moved(lake: Storage) -> None:
    name = lake.list("manifests")[0]
    text = lake.read(name).decode().replace('"date": "2026-11-08"', '"date": "2026-11-09"')
    Path(lake.path(name)).unlink()
    Path(lake.path(name.replace("2026-11-08", "2026-11-09"))).write_text(text)


def other_day(lake: Storage) -> None:
    one, two, *_ = (name for name in lake.list("curated") if "/usage_daily/" in name)
    Path(lake.path(one)).write_bytes(lake.read(two))


def a_digit(lake: Storage) -> None:
    name = next(name for name in lake.list("raw") if "/cost_" in name)
    Path(lake.path(name)).write_bytes(lake.read(name).replace(b'"amount":"', b'"amount":"1', 1))


DAMAGES = {
    "without tables": edit(lambda found: found.update(curated={})),
    "a table less": edit(lambda found: found["curated"].pop("cost_daily")),  # type: ignore[attr-defined]
    "of another day": moved,
    "another day's file": other_day,
    "a digit of the raw bill": a_digit,
    "not complete any more": edit(lambda found: found.update(complete=False)),
    "another version": edit(lambda found: found.update(schema="anthropic-usage-manifest/9")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found_and_answers_nothing_wrong(
    damage: Callable[[Storage], None], whole: Path, lake: Storage, run: Run
) -> None:
    truth = by_sql(Storage(whole))
    damage(lake)
    exact_or_refused(lake, truth)
    assert verify(lake).problems
    code, stdout, _ = run(
        "verify", "--datalake-root", str(lake), of=lambda args: cli.main(["lake", *args])
    )
    assert code == 1
    assert "anthropic-usage lake rebuild" in stdout or "anthropic-usage-track" in stdout


@pytest.mark.parametrize("asked", ["select 1", "select count(*) from model_daily"])
@pytest.mark.parametrize("size", [0, 100, None])
def test_sql_on_a_damaged_file_is_one_line(
    asked: str, size: int | None, lake: Storage, run: Run
) -> None:
    name = next(name for name in lake.list("curated") if "/model_daily/" in name)
    path = Path(lake.path(name))
    path.unlink() if size is None else os.truncate(path, size)
    code, stdout, stderr = run("sql", asked, "--datalake-root", str(lake), of=cli.main)
    assert (code, stdout, len(stderr.splitlines())) == (1, "", 1)
    assert name in stderr


@pytest.mark.parametrize("lost", ["all", "a day"])
def test_manifests_that_are_lost_cost_nothing(lost: str, lake: Storage, run: Run) -> None:
    truth, before = by_sql(lake), lake.list("raw")
    manifests = lake.list("manifests")
    for name in manifests if lost == "all" else manifests[:1]:
        lake.remove(name)
    for answer in (by_sql, by_reports):
        with pytest.raises(
            LakeError, match="manifest .* is lost: run anthropic-usage lake rebuild"
        ):
            answer(lake)
    code, _, stderr = run("--date", "2026-11-12", "--datalake-root", str(lake))
    assert code == 0
    assert set(before) <= set(lake.list("raw"))
    assert lost == "a day" or "lake rebuild" in stderr
    code, stdout, _ = run(
        "rebuild", "--datalake-root", str(lake), of=lambda args: cli.main(["lake", *args])
    )
    assert (code, stdout.split()[0]) == (0, "rebuilt")
    assert by_reports(lake) == truth
    assert [p for p in verify(lake).problems if "2026-11-12" not in p] == []
    code, stdout, _ = run(
        "rebuild", "--datalake-root", str(lake), of=lambda args: cli.main(["lake", *args])
    )
    assert (code, stdout) == (0, "nothing to rebuild\n")


@pytest.mark.parametrize(
    "outside", ["../victim.txt", "../../victim.txt", "{absolute}", "raw/../../victim.txt"]
)
@pytest.mark.parametrize("sealed", [True, False])
def test_nothing_outside_is_touched(
    outside: str, sealed: bool, lake: Storage, tmp_path: Path, run: Run
) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    newest = lake.list("manifests")[0]
    document = json.loads(lake.read(newest))
    document["raw"]["names"]["name"] = outside.format(absolute=victim)
    document["stamp"] = "20200101T000000000000Z"
    if not sealed:
        document.pop("seal", None)
        document["schema"] = "anthropic-usage-manifest/1"
    older = Path(lake.path(newest)).parent / "snapshot_20200101T000000000000Z.json"
    older.write_text(json.dumps(document))
    root = ("--datalake-root", str(lake))
    for args in (
        ["lake", "prune", "--keep", "1", *root],
        ["lake", "rebuild", *root],
        ["lake", "verify", *root],
        ["sql", "select 1", *root],
    ):
        assert run(*args, of=cli.main)[0] == 1, args
    assert run("--date", "2026-11-10", *root)[0] == 1
    assert victim.read_text() == "mine"


def test_links_out_of_the_lake_lose_nothing(lake: Storage, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = Path(lake.path("raw/anthropic/names"))
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    before = files(elsewhere)
    simulator = Simulator(seed=7, size=0.3, days=60, now=NOW)
    simulator.restate("2026-11-09", 2)
    with simulator.serve() as server, UsageClient(KEY, base_url=server.url) as client:
        list(Tracker(client, lake).track(DAYS))
    with pytest.raises(LakeError, match="leads out of"):
        prune(lake, 1)
    assert set(before) <= set(files(elsewhere))


FOREIGN = (
    "manifests/anthropic/date=2026-11-08/._snapshot_20261121T000000000000Z.json",
    "manifests/anthropic/date=2026-11-08/snapshot_20261121T000000000000Z (conflicted copy).json",
    "manifests/anthropic/date=2026-11-08/.DS_Store",
    "manifests/.DS_Store",
    "raw/anthropic/cost_report/date=2026-11-08/cost_20200101T000000000000Z.json.bak",
    "raw/anthropic/cost_report/cost_20200101T000000000000Z.json",
    "raw/anthropic/cost_report/date=2026-11-08/desktop.ini",
    "curated/anthropic/usage_daily/year=2026/month=11/day=08/Thumbs.db",
    "curated/anthropic/usage_daily/year=2026/month=11/day=08/._usage_daily_20261121T000000000000Z.parquet",
    "curated/anthropic/backup_20200101T000000000000Z.parquet",
    ".staging/mine.partial",
    "notes.md",
)


def test_foreign_files_never_count_and_never_go(lake: Storage, run: Run) -> None:
    truth = by_sql(lake)
    for name in FOREIGN:
        path = Path(lake.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5mine")
    root = ("--datalake-root", str(lake))
    assert run("--date", "2026-11-11", *root)[0] == 0
    for command in (("verify",), ("prune", "--keep", "1"), ("rebuild",)):
        assert run("lake", *command, *root, of=cli.main)[0] == 0
    assert verify(lake).waste == 0
    assert all(Path(lake.path(name)).read_bytes() == b"\0\5mine" for name in FOREIGN)
    for name in lake.list(""):
        if "2026-11-11" in name:
            lake.remove(name)
    assert by_sql(lake) == truth


def test_an_earlier_snapshot_does_not_answer_for_a_later_one(lake: Storage) -> None:
    simulator = Simulator(seed=7, size=0.3, days=60, now=NOW)
    simulator.restate("2026-11-09", 2)
    with simulator.serve() as server, UsageClient(KEY, base_url=server.url) as client:
        list(Tracker(client, lake).track(DAYS))
    truth, lost = by_sql(lake), lake.list("manifests/anthropic/date=2026-11-09")[-1]
    lake.remove(lost)
    for answer in (by_sql, by_reports):
        with pytest.raises(LakeError, match="is lost"):
            answer(lake)
    assert rebuild(lake) == 1
    assert by_sql(lake) == by_reports(lake) == truth


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_have_the_rights_that_the_umask_leaves(mask: int, tmp_path: Path, run: Run) -> None:
    before = os.umask(mask)
    try:
        assert run("--date", "2026-11-10", "--datalake-root", str(tmp_path / "lake"))[0] == 0
    finally:
        os.umask(before)
    found = [path.stat().st_mode & 0o777 for path in files(tmp_path / "lake")]
    assert found
    assert set(found) == {0o666 & ~mask}


@pytest.mark.parametrize("option", ["--parquet", "-o"])
def test_a_pipe_stays_a_pipe(option: str, lake: Storage, tmp_path: Path, run: Run) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    asked = ("sql", "select 1 a", "--datalake-root", str(lake), option, str(pipe))
    assert run(*asked, of=cli.main)[0] == 0
    reader.join(30)
    assert pipe.is_fifo()
    assert len(got[0]) > 0


def test_what_somebody_put_in_a_snapshots_place_stays(lake: Storage) -> None:
    simulator = Simulator(seed=7, size=0.3, days=60, now=NOW)
    old = next(name for name in lake.list("raw") if "/cost_" in name and "2026-11-09" in name)
    simulator.restate("2026-11-09", 2)
    with simulator.serve() as server, UsageClient(KEY, base_url=server.url) as client:
        list(Tracker(client, lake).track(DAYS))
    Path(lake.path(old)).write_text("somebody's own")
    prune(lake, 1)
    assert lake.read(old) == b"somebody's own"


def test_a_rebuild_makes_what_was_damaged_whole(lake: Storage) -> None:
    truth = by_sql(lake)
    other_day(lake)
    assert rebuild(lake) == 1
    assert by_sql(lake) == truth
    assert verify(lake).problems == ()


def test_a_log_beside_the_tables_never_names_what_was_pruned(lake: Storage) -> None:
    import deltalake
    from anthropic_usage.lake.delta import commit, table_uri

    commit(lake)
    simulator = Simulator(seed=7, size=0.3, days=60, now=NOW)
    simulator.restate("2026-11-09", 2)
    with simulator.serve() as server, UsageClient(KEY, base_url=server.url) as client:
        list(Tracker(client, lake).track(DAYS))
    assert prune(lake, 1) == 1
    for table in ("usage_daily", "model_daily", "cost_daily", "claude_code_daily"):
        log = deltalake.DeltaTable(table_uri(lake, table))
        assert log.to_pyarrow_table().num_rows > 0
    total = sum(
        deltalake.DeltaTable(table_uri(lake, "cost_daily"))
        .to_pyarrow_table()
        .column("amount_usd")
        .to_pylist(),
        Decimal(0),
    )
    assert total == by_sql(lake)[1]
