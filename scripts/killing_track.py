"""Kill the tracker at random moments, catch up, and prove that nothing was lost or doubled.

    python scripts/killing_track.py [--kills 100] [--pairs 20]

Each tracker is a process of its own, killed with SIGKILL while it tracks a day or a backfill of
ten; then one catches up, the lake is verified, and its sums are compared with the simulator's
ledger. After that, pairs of trackers run at once on roots of their own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import random
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
from anthropic_usage.lake.snapshot import load_manifests, newest
from anthropic_usage.lake.storage import Storage
from anthropic_usage.lake.upkeep import verify
from anthropic_usage.simulator import Simulator

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
DAYS = 10
FIRST = dt.date(2026, 11, 1)


def track(root: Path, url: str, *args: str) -> subprocess.Popen[bytes]:
    """Start a tracker."""
    base = {name: value for name, value in os.environ.items() if "ANTHROPIC" not in name}
    key = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_ADMIN_API_KEY": Simulator.DEMO_KEY}
    command = [sys.executable, "-m", "anthropic_usage.cli.track", "--datalake-root", str(root)]
    return subprocess.Popen(
        [*command, *args], env=base | key, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def sums(storage: Storage) -> tuple[int, Decimal]:
    """Return the tokens and dollars of a lake."""
    tokens, usd = 0, Decimal(0)
    for manifest in newest(load_manifests(storage)).values():
        usage = pq.read_table(storage.path(manifest.curated["usage_daily"].name))
        tokens += sum(usage.column("total_tokens").to_pylist())
        cost = pq.read_table(storage.path(manifest.curated["cost_daily"].name))
        usd += sum(cost.column("amount_usd").to_pylist(), Decimal(0))
    return tokens, usd


def truth(simulator: Simulator) -> tuple[int, Decimal]:
    """Return the same by the simulator's ledger."""
    start = dt.datetime.combine(FIRST, dt.time(), dt.UTC)
    end = start + dt.timedelta(days=DAYS)
    usage = simulator.ledger.usage(start, end)[()]
    tokens = sum(count for name, count in usage.items() if name.endswith("_tokens"))
    return tokens, simulator.ledger.cost(start, end)[()] / 100


def main() -> int:
    """Kill, catch up, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    until = FIRST + dt.timedelta(days=DAYS)
    span = ("--since", str(FIRST), "--until", str(until))
    simulator = Simulator(seed=7, size=0.3, days=90, now=NOW, latency_ms=5)
    killed = broken = wrong = doubled = runs = lakes = 0
    with simulator.serve() as server, tempfile.TemporaryDirectory() as scratch:
        expected = truth(simulator)
        while killed < options.kills:
            lakes += 1
            root = Path(scratch) / str(lakes)
            for _ in range(10):
                one_day = dice.random() < 0.3
                day = FIRST + dt.timedelta(days=dice.randrange(DAYS))
                runs += 1
                process = track(root, server.url, *(("--date", str(day)) if one_day else span))
                time.sleep(dice.uniform(0.3, 1.1))
                process.kill()
                killed += process.wait() == -9
                if root.exists():
                    broken += len(verify(Storage(root)).problems)
            caught_up = track(root, server.url, *span).wait()
            found = verify(Storage(root))
            wrong += caught_up != 0 or bool(found.problems) or sums(Storage(root)) != expected
            doubled += found.waste + sum(
                len(snapshots) != 1 for snapshots in load_manifests(Storage(root)).values()
            )
        print(
            f"kill -9: {killed} times in {runs} runs on {lakes} lakes; after a kill {broken} days "
            f"that did not verify; after catching up {wrong} lakes with wrong sums, {doubled} days "
            "or files too many"
        )
        lost = 0
        for pair in range(options.pairs):
            root = Path(scratch) / f"pair{pair}"
            both = [track(root, server.url, *span) for _ in range(2)]
            codes = [process.wait() for process in both]
            manifests = load_manifests(Storage(root))
            lost += (
                codes != [0, 0]
                or sums(Storage(root)) != expected
                or any(len(snapshots) != 1 for snapshots in manifests.values())
                or bool(verify(Storage(root)).problems)
            )
        print(f"two trackers at once, {options.pairs} times: {lost} lakes lost or doubled a day")
    return 1 if broken or wrong or doubled or lost else 0


if __name__ == "__main__":
    sys.exit(main())
