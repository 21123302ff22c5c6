"""A report that cannot be read costs itself: the rest of its day is there, and it is asked again."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from anthropic_usage import AnthropicUsageError, PermissionDenied, UsageClient
from anthropic_usage.analysis.priced import priced_usage
from anthropic_usage.analysis.prices import PriceTable, add_costs
from anthropic_usage.cli import main as cli
from anthropic_usage.engine.flow import Retry
from anthropic_usage.lake.snapshot import load_manifests, newest
from anthropic_usage.lake.source import LakeSource
from anthropic_usage.lake.sql import query
from anthropic_usage.lake.storage import Storage
from anthropic_usage.lake.tracker import Tracked, Tracker, missing_days
from anthropic_usage.lake.upkeep import rebuild, verify
from anthropic_usage.simulator import Server, Simulator
from clock import NOW
from tracking import KEY, Run

DAY = dt.date(2026, 11, 10)
NEXT = DAY + dt.timedelta(days=1)
QUICK = Retry(attempts=2, base=0.001)
FAULTS = ("400", "403", "404", "500", "529", "missing-measure")


def track(
    lake: Storage, server: Server, days: list[dt.date] | None = None, **options: Any
) -> list[Tracked]:
    with UsageClient(KEY, base_url=server.url, retry=QUICK) as client:
        return list(Tracker(client, lake, **options).track(days or [DAY]))


def whole(lake: Storage, served: tuple[Simulator, Server]) -> None:
    """Check that a day is there in full."""
    start = dt.datetime.combine(DAY, dt.time(), dt.UTC)
    usage = served[0].ledger.usage(start, start + dt.timedelta(days=1))[()]
    tokens = sum(count for name, count in usage.items() if name.endswith("_tokens"))
    (row,) = query(lake, "select sum(total_tokens) n from usage_daily").to_pylist()
    assert row["n"] == tokens


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("report", ["cost", "claude_code"])
def test_a_report_that_cannot_be_read_costs_itself(
    report: str, fault: str, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = [f"{fault}@{report}"]
    if fault == "missing-measure" and report == "claude_code":
        served[0].faults = ["drop@claude_code"]
    (done,) = track(lake, served[1])
    assert done.written
    assert not done.complete
    assert report in done.missing
    assert any(done.missing[report] in sentence for sentence in done.notes)
    whole(lake, served)
    assert verify(lake).problems == ()
    assert verify(lake).lacking == {DAY: (report,)}
    assert rebuild(lake) == 0
    source = LakeSource(lake)
    ask = source.cost if report == "cost" else source.claude_code
    with pytest.raises(PermissionDenied, match="does not know"):
        ask(DAY, NEXT).totals()
    other = source.claude_code if report == "cost" else source.cost
    assert other(DAY, NEXT).by("day")
    assert DAY in missing_days(lake, DAY + dt.timedelta(days=30), reread=0)
    served[0].faults = []
    (done,) = track(lake, served[1])
    assert (done.written, done.complete, done.missing) == (True, True, {})
    assert LakeSource(lake).cost(DAY, NEXT).totals().amount_usd > 0
    assert LakeSource(lake).claude_code(DAY, NEXT).totals().num_sessions > 0
    assert DAY not in missing_days(lake, DAY + dt.timedelta(days=30), reread=0)


@pytest.mark.parametrize("report", ["cost", "claude_code"])
def test_what_is_known_already_stays(
    report: str, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    track(lake, served[1])
    before = query(lake, f"select * from {report}_daily order by all").to_pylist()
    assert before
    served[0].faults = [f"500@{report}"]
    (done,) = track(lake, served[1])
    assert report in done.missing
    assert query(lake, f"select * from {report}_daily order by all").to_pylist() == before
    assert verify(lake).lacking == {}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("nth", [3, 4])
def test_fast_use_that_cannot_be_told_is_never_priced_exactly(
    nth: int, fault: str, tmp_path: Any
) -> None:
    day = dt.date(2026, 3, 10)
    simulator = Simulator(size=2, seed=7, now=dt.datetime(2026, 3, 18, tzinfo=dt.UTC))
    lake = Storage(tmp_path / "lake")
    prices = PriceTable.bundled()
    with simulator.serve() as server:
        with UsageClient(KEY, base_url=server.url) as client:
            rows = priced_usage(client, day, day + dt.timedelta(days=1), by="api_key_id")
            truth = add_costs(map(prices.cost, rows))
        simulator.faults = [f"{fault}@usage#{number}" for number in (nth, nth + 1)]
        (done,) = track(lake, server, [day])
    assert "fast" in done.missing
    (manifest,) = newest(load_manifests(lake)).values()
    assert "fast" in manifest.missing
    totals = done.totals["model_daily"]
    low, high = (Decimal(totals[f"estimated_cost{end}_usd"]) for end in ("_low", ""))
    assert low < high
    assert low <= truth.low <= truth.high <= high
    for by in ("api_key_id", "workspace_id"):
        rows = priced_usage(LakeSource(lake), day, day + dt.timedelta(days=1), by=by)
        cost = add_costs(map(prices.cost, rows))
        assert (cost.low, cost.high) == (low, high)


def test_one_day_without_a_reading_of_fast_use_is_one_of_an_older_lake(
    lake: Storage, tmp_path: Any
) -> None:
    """A manifest that does not say so is no proof that nobody could be fast."""
    import msgspec

    day = dt.date(2026, 3, 10)
    simulator = Simulator(size=2, seed=7, now=dt.datetime(2026, 3, 18, tzinfo=dt.UTC))
    with simulator.serve() as server:
        simulator.faults = ["403@usage#3"]
        track(lake, server, [day])
    ((manifest,),) = load_manifests(lake).values()
    lake.write(manifest.name, msgspec.structs.replace(manifest, missing={}).encode())
    rows = priced_usage(LakeSource(lake), day, day + dt.timedelta(days=1), by="workspace_id")
    cost = add_costs(map(PriceTable.bundled().cost, rows))
    assert cost.low < cost.high


@pytest.mark.parametrize("fault", ["400", "403", "404", "500"])
@pytest.mark.parametrize("kind", ["workspaces", "api_keys", "users", "me"])
def test_lookups_cost_names_only(
    kind: str, fault: str, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = [f"{fault}@{kind}"]
    with UsageClient(KEY, base_url=served[1].url, retry=QUICK) as client:
        tracker = Tracker(client, lake)
        (done,) = tracker.track([DAY])
    assert done.complete
    assert not done.failed
    name = "organization" if kind == "me" else kind
    assert list(tracker.nameless) == [name]
    source = LakeSource(lake)
    with pytest.raises(AnthropicUsageError, match=f"could not look up {name}"):
        getattr(source, name)()
    assert source.cost(DAY, NEXT).totals().amount_usd > 0
    served[0].faults = []
    track(lake, served[1], [NEXT])
    assert getattr(LakeSource(lake), name)()


@pytest.mark.parametrize(
    ("fault", "code"),
    [("403@cost", 1), ("404@cost", 1), ("403@claude_code", 0), ("404@claude_code", 0)],
)
def test_the_command_names_the_reason(
    fault: str, code: int, run: Run, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = [fault]
    status, _, report = fault.partition("@")
    for form in ((), ("--json",)):
        done, stdout, stderr = run("--date", "2026-11-10", *form)
        assert done == code
        assert report in json.dumps(stdout) + stderr or report == "claude_code"
        assert f"refused: {status}" in stderr
    assert json.loads(stdout)["missing"].keys() == {report}
    whole(lake, served)
    served[0].faults = []
    assert run("--date", "2026-11-10")[0] == 0
    assert verify(lake).lacking == {}


def test_a_lake_without_claude_code_does_not_report_zeros(
    run: Run, lake: Storage, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = ["403@claude_code"]
    run("--date", "2026-11-10")
    asked = ("--since", "2026-11-10", "--until", "2026-11-11", "--no-compare")
    code, stdout, stderr = run(
        "report", *asked, "--from-lake", str(lake), of=lambda args: cli.main(args[:-2])
    )
    assert code == 0
    assert "No figures of Claude Code" in stdout + stderr
    code, stdout, stderr = run(
        *("claude-code", *asked[:-1], "--from-lake", str(lake)),
        of=lambda args: cli.main(args[:-2]),
    )
    assert code != 0 or "does not know" in stderr


def test_catching_up_completes_what_was_refused(
    run: Run, lake: Storage, served: tuple[Simulator, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropic_usage.cli.track.utc_now", lambda: NOW)
    days = ("--since", "2026-11-05", "--until", "2026-11-11")
    served[0].faults = ["403@claude_code", "403@cost#2"]
    assert run(*days)[0] == 1
    assert len(verify(lake).lacking) == 6
    served[0].faults = ["403@claude_code"]
    code, _, stderr = run("--catch-up", "0")
    assert code == 0
    assert "still without" in stderr
    assert all(lacks == ("claude_code",) for lacks in verify(lake).lacking.values())
    served[0].faults = []
    assert run("--catch-up", "0")[0] == 0
    assert verify(lake).lacking == {}


def test_a_new_lake_says_how_its_past_is_filled(
    run: Run, lake: Storage, served: tuple[Simulator, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropic_usage.cli.track.utc_now", lambda: NOW)
    _, _, stderr = run("--catch-up", "3")
    assert "--since" in stderr
    assert len(load_manifests(lake)) == 4
    assert "a new lake" not in run("--catch-up", "3")[2]


def test_days_that_a_lake_lacks_are_named_as_a_range(lake: Storage, served: Any) -> None:
    track(lake, served[1], [DAY, DAY + dt.timedelta(days=5), DAY + dt.timedelta(days=7)])
    with pytest.raises(AnthropicUsageError) as caught:
        LakeSource(lake).cost(DAY, DAY + dt.timedelta(days=8)).totals()
    assert "2026-11-11 to 2026-11-14" in str(caught.value)
    assert "--since 2026-11-11 --until 2026-11-15" in str(caught.value)


def test_what_has_no_price_is_not_free(lake: Storage, served: tuple[Simulator, Server]) -> None:
    prices = PriceTable.bundled()
    (done,) = track(lake, served[1])
    for row in done.models:
        if row["unpriced_tokens"]:
            assert row["estimated_cost_usd"] is row["estimated_cost_low_usd"] is None
        else:
            assert row["estimated_cost_low_usd"] <= row["estimated_cost_usd"]
    assert prices.prices


def test_an_unpriced_model_is_said_to_have_no_price(
    run: Run, lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anthropic_usage.analysis import prices

    table = prices.PriceTable.bundled()
    without = prices.PriceTable(
        tuple(price for price in table.prices if "opus" not in repr(price).lower())
    )
    monkeypatch.setattr(prices.PriceTable, "bundled", classmethod(lambda cls: without))
    code, stdout, stderr = run("--date", "2026-11-10")
    assert code == 0
    (line,) = (line for line in stdout.splitlines() if "opus-5-5" in line)
    assert line.endswith("no price")
    assert "without a price" in stdout
    assert "tokens have no price" in stderr
    (row,) = query(lake, "select * from model_daily where model like '%opus-5-5%'").to_pylist()
    assert row["estimated_cost_usd"] is None
    assert row["unpriced_tokens"] > 0
    band = next(line for line in stdout.splitlines() if "haiku-5-5" in line)
    assert " to $" in band
    assert verify(lake).problems == ()
