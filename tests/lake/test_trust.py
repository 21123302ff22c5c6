"""What a lake must not do: write when read, trust what was changed, give secrets away."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anthropic_usage import InvalidQuery
from anthropic_usage.cli import main as cli
from anthropic_usage.lake.snapshot import Manifest
from anthropic_usage.lake.source import LakeSource
from anthropic_usage.lake.sql import query
from anthropic_usage.lake.storage import LakeError, Storage
from anthropic_usage.lake.upkeep import prune, rebuild, verify
from tracking import Run


@pytest.fixture
def tracked(run: Run, lake: Storage) -> Storage:
    """Track three days."""
    assert run("--since", "2026-11-08", "--until", "2026-11-11")[0] == 0
    return lake


@pytest.mark.parametrize(
    "start", ["explain analyze", "explain (analyze)", "/* x */ explain analyze", "EXPLAIN"]
)
def test_explaining_a_copy_writes_nothing(start: str, tracked: Storage) -> None:
    target = tracked.path("curated/anthropic/x.csv")
    with pytest.raises(InvalidQuery):
        query(tracked, f"{start} copy (select 1) to '{target}'")
    assert not Path(target).exists()


def test_a_select_is_explained(tracked: Storage) -> None:
    for start in ("explain", "explain analyze"):
        assert query(tracked, f"{start} select count(*) from usage_daily").num_rows == 1


def test_sql_sees_the_tables_only(tracked: Storage) -> None:
    names = next(name for name in tracked.list("raw") if "/names_" in name)
    for name in (names, tracked.list("manifests")[0]):
        with pytest.raises(InvalidQuery):
            query(tracked, f"select * from read_text('{tracked.path(name)}')")


def _edit(lake: Storage, change: Any) -> str:
    """Change a manifest and seal it again, as only this package does."""
    name = lake.list("manifests")[1]
    document = json.loads(lake.read(name))
    change(document)
    lake.write(name, msgspec.json.decode(json.dumps(document), type=Manifest).encode())
    return name


def _without_bill(manifest: dict[str, Any]) -> None:
    del manifest["raw"]["cost"], manifest["curated"]["cost_daily"]
    del manifest["totals"]["cost_daily"]
    manifest["prices"] = "others"


def test_edited_totals_are_found(tracked: Storage) -> None:
    _edit(tracked, lambda found: found["totals"]["cost_daily"].update(amount_usd="1"))
    (problem,) = verify(tracked).problems
    assert "totals" in problem


def test_a_bill_taken_out_is_found_whatever_the_prices(tracked: Storage) -> None:
    _edit(tracked, _without_bill)
    (problem,) = verify(tracked).problems
    assert "no bill" in problem


def test_a_manifest_in_anothers_place_stops_everything(run: Run, tracked: Storage) -> None:
    first, *_, last = tracked.list("manifests")
    tracked.write(last, tracked.read(first))
    before = tracked.list("")
    (problem,) = verify(tracked).problems
    assert "copied or renamed" in problem
    assert run("--date", "2026-11-10")[0] == 1
    with pytest.raises(LakeError, match="copied or renamed"):
        query(tracked, "select 1")
    assert tracked.list("") == before


def test_foreign_files_are_left_alone(run: Run, tracked: Storage) -> None:
    foreign = ("manifests/anthropic/notes.json", "raw/anthropic/usage_report/mine.txt", "x.md")
    for name in foreign:
        tracked.write(name, b"mine")
    assert verify(tracked).problems == ()
    assert run("--date", "2026-11-11")[0] == 0
    assert all(tracked.read(name) == b"mine" for name in foreign)


def test_damaged_raw_documents_answer_nothing(tracked: Storage) -> None:
    name = next(name for name in tracked.list("raw") if "/cost_" in name)
    more = re.sub(rb'("amount":\s*")', rb"\g<1>9", tracked.read(name), count=1)
    tracked.write(name, more)
    before = {name: tracked.read(name) for name in tracked.list("")}
    with pytest.raises(LakeError, match="not as it was written"):
        rebuild(tracked)
    assert {name: tracked.read(name) for name in tracked.list("")} == before
    with pytest.raises(LakeError, match="not as it was written"):
        LakeSource(tracked).cost("2026-11-08", "2026-11-11").collect()


def test_a_dry_run_makes_no_folder(run: Run, lake: Storage) -> None:
    assert run("--date", "2026-11-10", "--dry-run")[0] == 0
    assert not Path(str(lake)).exists()


@pytest.mark.parametrize(
    "asked",
    [
        ("--since", "2026-11-11", "--until", "2026-11-08"),
        ("--catch-up", "2", "--since", "2026-11-05", "--until", "2026-11-08"),
        ("--catch-up", "0", "--since", "2999-01-01"),
    ],
)
def test_ranges_without_a_day_are_wrong(asked: tuple[str, ...], run: Run, lake: Storage) -> None:
    code, stdout, stderr = run(*asked)
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    "command", [("verify",), ("rebuild",), ("prune", "--keep", "1"), ("changes",), ("delta",)]
)
def test_where_no_lake_is_none_is_whole(command: tuple[str, ...], run: Run, lake: Storage) -> None:
    code, stdout, stderr = run(*command, of=lambda args: cli.main(["lake", *args]))
    assert (code, stdout, len(stderr.splitlines())) == (1, "", 1)
    assert "holds no lake yet" in stderr
    assert not Path(str(lake)).exists()


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:SECRET/more@bucket/lake",
        "s3://key:SEC RET@bucket/lake",
        "s3://bucket/lake?secret_key=SECRET&x y",
    ],
)
def test_a_malformed_url_keeps_its_secrets(url: str, run: Run) -> None:
    code, stdout, stderr = run("--date", "2026-11-10", "--datalake-root", url)
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert "SEC" not in stderr


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("abfss://box@account.dfs.core.windows.net/lake", "account.dfs.core.windows.net"),
        ("abfss://account:SECRET@box/lake", "account.blob.core.windows.net"),
        ("gs://bucket/lake", "storage.googleapis.com"),
        ("s3://bucket/lake?region=us-east-1", "s3.amazonaws.com"),
    ],
)
def test_a_store_that_cannot_be_reached_says_which_host(
    url: str, host: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(address: tuple[str, int], **_: Any) -> Any:
        raise OSError(111, f"nobody at {address[0]}")

    for name in (
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("socket.create_connection", refuse)
    code, stdout, stderr = run("--date", "2026-11-10", "--datalake-root", url)
    assert (code, stdout) == (1, "")
    assert f"cannot be reached: {host}:443: nobody at {host}" in stderr.splitlines()[-1]
    assert "SECRET" not in stderr


def test_an_error_that_only_the_object_store_knows_is_a_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa

    class Stores:
        @staticmethod
        def from_uri(url: str) -> Any:
            raise pa.ArrowException("Unknown error: no token")

    monkeypatch.setattr("pyarrow.fs.FileSystem", Stores)
    for command in (("--date", "2026-11-10"), ("sql", "select 1"), ("lake", "verify")):
        main = None if command[0] == "--date" else cli.main
        root = ("--datalake-root", "gs://bucket/lake")
        code, stdout, stderr = run(*command, *root, **({} if main is None else {"of": main}))
        assert (code, stdout) == (1, "")
        assert "no token" in stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("root", "url"),
    [
        ("s3://key:SECRET@bucket/lake?region=us-east-1", "s3://bucket/lake/x"),
        ("abfss://box@account.dfs.core.windows.net/lake", None),
        ("abfss://box:SECRET@account.dfs.core.windows.net/lake", None),
    ],
)
def test_engines_get_a_url_without_secrets(root: str, url: str | None) -> None:
    azure = "abfss://box@account.dfs.core.windows.net/lake/x"
    assert Storage(root).url("x") == (url or azure)


@pytest.mark.parametrize("folder", ["raw", "curated"])
def test_tracking_again_heals_a_day(folder: str, run: Run, tracked: Storage) -> None:
    name = next(name for name in tracked.list(folder) if "usage" in name)
    tracked.remove(name)
    assert verify(tracked).problems
    assert "wrote 1 of 3" in run("--since", "2026-11-08", "--until", "2026-11-11")[2]
    assert "nothing was new" in run("--since", "2026-11-08", "--until", "2026-11-11")[2]
    assert prune(tracked, 1) == 1
    assert verify(tracked).problems == ()
