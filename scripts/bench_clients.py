"""The clients that the benchmark compares, each run in a process of its own.

`python scripts/bench_clients.py CLIENT JSON` reads the case from JSON and prints what it measured:
wall seconds from the first request to the totals, the process's peak memory, and the totals.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Totals = dict[str, int]
Case = dict[str, Any]

PATH = "/v1/organizations/usage_report/messages"
MEASURES = (
    "uncached_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "web_search_requests",
)


def cookbook(case: Case, limit: int | None, keep: bool) -> Totals:
    """Do what the cookbook does: `requests.get` page after page, then dictionaries."""
    pages = _requests_pages(case, limit)
    if keep:
        buckets: list[Any] = []
        for page in pages:
            buckets.extend(page["data"])
        return _fold(buckets)
    totals: Totals = dict.fromkeys(MEASURES, 0)
    for page in pages:
        for name, count in _fold(page["data"]).items():
            totals[name] += count
    return totals


def official_sdk(case: Case) -> Totals:
    """Loop over the official SDK's generic `client.get`, at the largest page."""
    import anthropic

    # The SDK would send the key as a Bearer; the reports document `x-api-key`.
    client = anthropic.Anthropic(
        api_key=case["key"],
        base_url=case["url"],
        default_headers={"x-api-key": case["key"], "authorization": anthropic.Omit()},
    )
    totals: Totals = dict.fromkeys(MEASURES, 0)
    params = _params(case, case["most"])
    params["group_by"] = params.pop("group_by[]")  # it adds the brackets itself
    while True:
        page: Any = client.get(PATH, cast_to=object, options={"params": params})
        for name, count in _fold(page["data"]).items():
            totals[name] += count
        if not page["has_more"]:
            return totals
        params = {**params, "page": page["next_page"]}


def ours(case: Case, concurrency: int) -> Totals:
    """Ask this package for the totals."""
    from anthropic_usage import UsageClient

    with UsageClient(case["key"], base_url=case["url"], concurrency=concurrency) as client:
        report = client.usage(
            case["start"], case["end"], bucket_width=case["width"], group_by=case["group_by"]
        )
        row = report.totals()
    return {name: getattr(row, name) for name in MEASURES}


def floor(case: Case) -> Totals:
    """Decode the pages that `case["pages"]` holds with `orjson.loads` and nothing else."""
    import orjson

    gc.disable()
    spent = 0.0
    for file in sorted(Path(case["pages"]).iterdir()):
        body = file.read_bytes()
        start = time.perf_counter()
        orjson.loads(body)
        spent += time.perf_counter() - start
    return {"spent": int(spent * 1e6)}


CLIENTS: dict[str, Callable[[Case], Totals]] = {
    "cookbook, as written": lambda case: cookbook(case, case["as_written"], keep=False),
    "cookbook, largest page": lambda case: cookbook(case, case["most"], keep=False),
    "cookbook, keeps all": lambda case: cookbook(case, case["most"], keep=True),
    "official SDK, client.get": official_sdk,
    "anthropic-usage, 1 at a time": lambda case: ours(case, 1),
    "anthropic-usage, 4 at a time": lambda case: ours(case, 4),
    "anthropic-usage, 8 at a time": lambda case: ours(case, 8),
    "orjson.loads alone": floor,
}


def _requests_pages(case: Case, limit: int | None) -> Iterator[dict[str, Any]]:
    import requests

    headers = {"anthropic-version": "2023-06-01", "x-api-key": case["key"]}
    params = _params(case, limit)
    while True:
        answer = requests.get(case["url"] + PATH, headers=headers, params=params, timeout=60)
        answer.raise_for_status()
        page: dict[str, Any] = answer.json()
        yield page
        if not page["has_more"]:
            return
        params["page"] = page["next_page"]


def _params(case: Case, limit: int | None) -> dict[str, Any]:
    params = {
        "starting_at": case["start"],
        "ending_at": case["end"],
        "bucket_width": case["width"],
        "group_by[]": case["group_by"],
    }
    return params if limit is None else {**params, "limit": limit}


def _fold(buckets: list[Any]) -> Totals:
    groups: dict[Any, list[int]] = {}
    for bucket in buckets:
        for result in bucket["results"]:
            key = tuple(map(result.get, ("model", "workspace_id", "api_key_id", "service_tier")))
            cache = result.get("cache_creation", {})
            sums = groups.setdefault(key, [0] * len(MEASURES))
            sums[0] += result.get("uncached_input_tokens", 0)
            sums[1] += cache.get("ephemeral_5m_input_tokens", 0)
            sums[2] += cache.get("ephemeral_1h_input_tokens", 0)
            sums[3] += result.get("cache_read_input_tokens", 0)
            sums[4] += result.get("output_tokens", 0)
            sums[5] += result.get("server_tool_use", {}).get("web_search_requests", 0)
    columns = zip(*groups.values(), strict=True) if groups else [()] * len(MEASURES)
    return dict(zip(MEASURES, map(sum, columns), strict=True))


def peak_mib() -> float:
    """Return this process's own peak; `ru_maxrss` would count what it was forked from."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


def main() -> None:
    """Run one client on one case."""
    client, case = CLIENTS[sys.argv[1]], json.loads(sys.argv[2])
    start = time.perf_counter()
    totals = client(case)
    wall = totals.pop("spent", 0) / 1e6 or time.perf_counter() - start
    print(json.dumps({"wall": wall, "peak_mib": peak_mib(), "totals": totals}))


if __name__ == "__main__":
    main()
