"""Compare this package with its peers against the simulator, in one run: `make bench`.

Every client asks the same questions of the same server in turn, each in a process of its own, and
must come to the same totals. Seconds depend on the machine; read the ratios.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anthropic_usage import UsageClient
from anthropic_usage.simulator import Server, Simulator
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = Path(__file__).with_name("bench_clients.py")
CHART = Path(__file__).with_name("bench.png")
SDK = "anthropic==2.11.0"
SDK_VENV = ROOT / ".venv" / "bench"

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
END = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
HOURLY = ["model", "workspace_id", "api_key_id", "service_tier", "context_window"]
LATENCY_MS = 150.0
LARGEST_UNTIL = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
"""The organisation's 90 days with the largest pages end here; memory follows the largest page."""

PEERS = (
    "cookbook, as written",
    "cookbook, largest page",
    "cookbook, keeps all",
    "official SDK, client.get",
)
OURS = tuple(f"anthropic-usage, {n} at a time" for n in (1, 4, 8))
FLOOR = "orjson.loads alone"

console = Console(width=110)


def case(days: int, width: str, latency_ms: float, end: dt.datetime = END) -> dict[str, Any]:
    """Return the questions of one size."""
    most, as_written = (168, 24) if width == "1h" else (1440, 60)
    return {
        "days": days,
        "width": width,
        "start": (end - dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "group_by": HOURLY,
        "most": most,
        "as_written": as_written,
        "latency_ms": latency_ms,
    }


def measure(client: str, question: dict[str, Any]) -> dict[str, Any]:
    """Run one client in a process of its own."""
    python = SDK_VENV / "bin" / "python" if client == PEERS[3] else Path(sys.executable)
    done = subprocess.run(
        [str(python), str(CLIENTS), client, json.dumps(question)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if "ANTHROPIC" not in name},
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def run(
    sim: Simulator, server: Server, question: dict[str, Any], clients: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Measure the clients on one case, print the table, and return it."""
    question = {**question, "url": server.url, "key": Simulator.DEMO_KEY}
    with tempfile.TemporaryDirectory() as pages:
        size, rows, count = warm(sim, question, clients, Path(pages))
        sim.latency_ms = question["latency_ms"]
        results: dict[str, dict[str, Any]] = {}
        for client in clients:
            before = len(server.requests)
            results[client] = measure(client, question)
            results[client]["requests"] = len(server.requests) - before
        results[FLOOR] = measure(FLOOR, {**question, "pages": pages})
    totals = {json.dumps(results[client]["totals"], sort_keys=True) for client in clients}
    if len(totals) != 1:
        raise SystemExit(f"the clients disagree on {question}: {totals}")
    width = {"1h": "hours", "1m": "minutes"}[question["width"]]
    show(
        results,
        f"{question['days']} days of {width}: {rows:,} rows, {count} pages, {size / 1e6:,.0f} MB "
        f"of JSON, {question['latency_ms']:g} ms a request; all totals equal",
    )
    return results


def warm(
    sim: Simulator, question: dict[str, Any], clients: tuple[str, ...], pages: Path
) -> tuple[int, int, int]:
    """Let the server make its pages before anything is timed; keep their JSON for the floor."""
    sim.latency_ms = 0.0
    size = rows = count = 0
    with UsageClient(question["key"], base_url=question["url"]) as client:
        report = client.usage(
            question["start"],
            question["end"],
            bucket_width=question["width"],
            group_by=question["group_by"],
        )
        for count, part in enumerate(report.parts(), 1):
            (pages / f"{count:04}.json").write_bytes(part.body)
            size += part.size
            rows += part.body.count(b'"output_tokens"')
    for peer in PEERS[:2]:
        # The official SDK pages as the cookbook does at its largest page.
        if peer in clients:
            measure(peer, question)
    return size, rows, count


def show(results: dict[str, dict[str, Any]], title: str) -> None:
    """Print one case."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("client")
    for name in ("requests", "seconds", "ours is", "peak MiB"):
        table.add_column(name, justify="right")
    best = results[OURS[1]]["wall"]
    for client, result in results.items():
        ratio = result["wall"] / best
        table.add_row(
            client,
            str(result.get("requests", "")),
            f"{result['wall']:.2f}",
            f"{ratio:.1f}x as fast" if client in PEERS else f"{1 / ratio:.2f}x its time",
            f"{result['peak_mib']:.0f}",
        )
    console.print(table)
    console.print()


def growth(measured: dict[int, dict[str, Any]]) -> None:
    """Print and draw how our time and memory grow with the range."""
    table = Table(title="how it grows (4 at a time)", title_justify="left", box=None)
    for name in ("days", "seconds", "seconds a day", "peak MiB"):
        table.add_column(name, justify="right")
    for days, result in measured.items():
        wall = result["wall"]
        table.add_row(str(days), f"{wall:.2f}", f"{wall / days:.4f}", f"{result['peak_mib']:.0f}")
    console.print(table)

    import altair

    rows = [
        {"days": days, "value": value, "what": what}
        for days, result in measured.items()
        for what, value in (("seconds", result["wall"]), ("peak MiB", result["peak_mib"]))
    ]
    line = altair.Chart(altair.Data(values=rows)).mark_line(point=True)
    chart = (
        line.encode(x="days:Q", y=altair.Y("value:Q", title=None))
        .properties(width=220, height=140)
        .facet("what:N", title="a year of hours, 200 groups")
        .resolve_scale(y="independent")
    )
    chart.save(str(CHART), scale_factor=2)
    console.print(f"drawn in {CHART.relative_to(ROOT)}")


def targets(results: dict[str, dict[str, Any]], other: dict[str, Any], pages: int) -> bool:
    """Print each target beside what was reached; tell whether all hold."""
    ours = results[OURS[1]]
    checks: list[tuple[str, float, str, float]] = [
        ("times as fast as the cookbook as written", _ratio(results, PEERS[0]), ">=", 20),
        ("times as fast as the cookbook at its largest page", _ratio(results, PEERS[1]), ">=", 5),
        ("times as fast as the cookbook that keeps all", _ratio(results, PEERS[2]), ">=", 7),
        ("times the time of orjson.loads alone", 1 / _ratio(results, FLOOR), "<=", 1.6),
        ("MiB at the peak", ours["peak_mib"], "<", 300),
        ("peak of 365 days over its 90 largest", ours["peak_mib"] / other["peak_mib"], "<=", 1.1),
        ("requests over pages", ours["requests"] / pages, "<=", 1),
    ]
    kept = True
    for what, value, relation, limit in checks:
        holds = value >= limit if relation == ">=" else value <= limit
        kept &= holds
        console.print(
            f"{'met   ' if holds else 'MISSED'} {value:8.2f} {what} ({relation} {limit:g})"
        )
    return kept


def _ratio(results: dict[str, dict[str, Any]], client: str) -> float:
    slower, faster = results[client]["wall"], results[OURS[1]]["wall"]
    ratio: float = slower / faster
    return ratio


def cases(quick: bool, minutes: bool) -> Iterator[tuple[dict[str, Any], tuple[str, ...], float]]:
    """Yield what to measure: the question, the clients, and the organisation's size."""
    everyone = PEERS + OURS
    yield case(30, "1h", LATENCY_MS), everyone, 7.0
    if quick:
        return
    yield case(30, "1h", 0.0), everyone, 7.0
    yield case(90, "1h", LATENCY_MS), everyone, 7.0
    yield case(365, "1h", LATENCY_MS), everyone, 7.0
    if minutes:
        yield case(30, "1m", LATENCY_MS), everyone, 1.7


def sdk() -> None:
    """Install the official SDK where it cannot disturb our own packages."""
    if not (SDK_VENV / "installed").exists():
        console.print(f"installing {SDK} in {SDK_VENV.relative_to(ROOT)} (once) ...")
        venv.create(SDK_VENV, with_pip=True)
        pip = [str(SDK_VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", SDK]
        subprocess.run(pip, check=True)
        (SDK_VENV / "installed").touch()


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="30 days of hours only")
    parser.add_argument("--no-minutes", action="store_true", help="leave out 30 days of minutes")
    options = parser.parse_args()
    sdk()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    console.print(f"on {machine}; simulator and client on the same machine, gzip on\n")
    hourly: dict[int, dict[str, dict[str, Any]]] = {}
    for question, clients, size in cases(options.quick, not options.no_minutes):
        sim = Simulator(seed=7, size=size, days=400, now=NOW)
        with sim.serve() as server:
            results = run(sim, server, question, clients)
        if question["width"] == "1h" and question["latency_ms"]:
            hourly[question["days"]] = results
    if options.quick:
        return 0
    growth({days: results[OURS[1]] for days, results in hourly.items()})
    sim = Simulator(seed=7, size=7.0, days=400, now=NOW)
    with sim.serve() as server:
        console.print("and the 90 days with the largest pages:\n")
        largest = run(sim, server, case(90, "1h", LATENCY_MS, LARGEST_UNTIL), OURS[1:2])
    pages = -(-365 * 24 // 168)
    return 0 if targets(hourly[365], largest[OURS[1]], pages) else 1


if __name__ == "__main__":
    sys.exit(main())
