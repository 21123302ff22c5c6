"""Wear it out: `make soak`. Ten thousand requests, many refused or dropped; fifty killed exports.

Memory and sockets must stay flat, and nothing may be lost or doubled. Prints what was tried and
what was found; takes a few minutes.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime as dt
import hashlib
import os
import sys
import tempfile
from pathlib import Path

from anthropic_usage import Retry, UsageClient
from anthropic_usage.simulator import Server, Simulator
from killing import kill_until_done

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
FAULTS = ["429=0:0.1", "429-bare:0.05", "drop:0.05"]


def soak(requests: int) -> bool:
    """Ask until `requests` were sent; tells whether all sums were right and nothing grew."""
    simulator = Simulator(seed=7, size=0.5, days=400, now=NOW, faults=FAULTS)
    start, end = NOW.replace(hour=0) - dt.timedelta(days=300), NOW.replace(hour=0)
    truth = simulator.ledger.usage(start, end)[()]
    sent: collections.Counter[int] = collections.Counter()
    wrong = rounds = 0
    memory: list[float] = []
    sockets: list[int] = []
    with simulator.serve() as server:
        retry = Retry(attempts=12, base=0.001, cap=0.01)
        with UsageClient(Simulator.DEMO_KEY, base_url=server.url, retry=retry) as client:
            while sum(sent.values()) < requests:
                rounds += 1
                row = client.usage(start, end, limit=1).totals()
                wrong += any(getattr(row, name) != truth[name] for name in truth)
                _drain(server, sent)
                memory.append(_resident_mib())
                sockets.append(_sockets())
    refused, dropped = sent[429], sent[0]
    settled = memory[len(memory) // 4 :]
    print(
        f"soak: {sum(sent.values()):,} requests in {rounds} reports, {refused:,} refused (429), "
        f"{dropped:,} dropped; wrong totals {wrong}; memory {settled[0]:.0f} -> {settled[-1]:.0f} "
        f"MiB; sockets {min(sockets)} to {max(sockets)}"
    )
    return not wrong and settled[-1] < settled[0] * 1.1 + 5 and max(sockets) <= min(sockets) + 8


def kills(count: int) -> bool:
    """Kill exports `count` times; tells whether the files are those of one left in peace."""
    simulator = Simulator(seed=7, size=1.0, days=400, now=NOW, latency_ms=40.0)
    with simulator.serve() as server, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        done = kill_until_done(server.url, folder, count, seed=7)
        whole, killed = (_contents(folder / name) for name in ("whole", "killed"))
    lost = sorted(set(whole) - set(killed))
    extra = sorted(set(killed) - set(whole))
    differing = [name for name in whole if name in killed and whole[name] != killed[name]]
    print(
        f"kill -9: {done.killed} times in {done.runs} runs of an export of {len(whole) - 1} files; "
        f"lost {len(lost)}, doubled or left over {len(extra)}, different {len(differing)}"
    )
    return not (lost or extra or differing)


def _drain(server: Server, into: collections.Counter[int]) -> None:
    into.update(request.status for request in server.requests)
    server.requests.clear()


def _contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _sockets() -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is gone by now.
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    good = [soak(options.requests), kills(options.kills)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
