"""Serving: determinism, isolation, compression, and coming to an end."""

from __future__ import annotations

import ast
import gzip
import hashlib
import signal
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path

import anthropic_usage
import httpx
import pytest
from anthropic_usage.simulator import Simulator

from .conftest import HEADERS, NOW, Api

SOURCE = Path(anthropic_usage.__file__).parent / "simulator"
QUERIES = (
    "usage_report/messages?starting_at=2026-11-10T00:00:00Z&group_by[]=model&group_by[]=api_key_id",
    "usage_report/messages?starting_at=2026-11-20T14:00:00Z&bucket_width=1m",
    "cost_report?starting_at=2026-11-10T00:00:00Z&group_by[]=description",
    "usage_report/claude_code?starting_at=2026-11-18",
    "api_keys?limit=100",
)
DIGEST = """
import hashlib, sys
import httpx
from datetime import datetime
from anthropic_usage.simulator import Simulator
now = datetime.fromisoformat(sys.argv[1])
with Simulator(seed=5, size=0.3, days=90, now=now).serve() as server:
    headers = {"x-api-key": Simulator.DEMO_KEY, "anthropic-version": "2023-06-01"}
    for query in sys.argv[2:]:
        body = httpx.get(f"{server.url}/v1/organizations/{query}", headers=headers).content
        print(hashlib.sha256(body).hexdigest())
"""


def digests(seed: int) -> list[str]:
    with Simulator(seed=seed, size=0.3, days=90, now=NOW).serve() as server:
        return [
            hashlib.sha256(
                httpx.get(f"{server.url}/v1/organizations/{query}", headers=HEADERS).content
            ).hexdigest()
            for query in QUERIES
        ]


def test_the_same_seed_is_the_same_bytes_in_any_process() -> None:
    command = [sys.executable, "-c", DIGEST, NOW.isoformat(), *QUERIES]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert digests(5) == other.stdout.split()
    assert not set(digests(5)) & set(digests(6))


def test_it_shares_no_code_with_the_client() -> None:
    allowed = {"aiohttp", "attrs", "msgspec"} | sys.stdlib_module_names
    for path in SOURCE.rglob("*.py"):
        depth = len(path.relative_to(SOURCE).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth, path
                if node.level == 0:
                    assert (node.module or "").partition(".")[0] in allowed, path
            elif isinstance(node, ast.Import):
                assert {name.name.partition(".")[0] for name in node.names} <= allowed, path


def test_a_missing_extra_is_told_in_one_line() -> None:
    program = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "from anthropic_usage.simulator import Simulator, parse_fault\n"
        "simulator = Simulator(size=0.1, days=5); simulator.ledger\n"
        "try: simulator.serve()\n"
        "except ImportError as error: print(error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout == ("this needs aiohttp: pip install 'anthropic-usage[simulator]'\n")


def test_gzip_only_when_asked_for(api: Api) -> None:
    query = ("starting_at", "2026-11-01T00:00:00Z"), ("group_by[]", "api_key_id")
    packed = api.get("/usage_report/messages", *query)
    plain = api.get("/usage_report/messages", *query, accept_encoding="identity")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) // 4
    assert len(gzip.compress(plain.content)) < len(plain.content)


def test_requests_are_recorded_without_credentials(api: Api) -> None:
    before = len(api.server.requests)
    api.get("/users", ("limit", "2"))
    [request] = api.server.requests[before:]
    assert (request.method, request.path) == ("GET", "/v1/organizations/users")
    assert (request.query, request.status) == ("limit=2", 200)
    assert request.headers["x-api-key"] == "[redacted]"
    assert Simulator.DEMO_KEY not in repr(api.server.requests)


def test_a_port_is_free_again_after_the_block(own: tuple[Simulator, Api]) -> None:
    simulator, api = own
    with simulator.serve() as other:
        port = other.port
        assert port != api.server.port
    with simulator.serve(port=port) as again:
        assert again.port == port
    with pytest.raises(OSError, match="in use"), simulator.serve(port=api.server.port):
        pass


def test_a_real_clock_runs() -> None:
    simulator = Simulator(size=0.2, days=30)
    today = simulator.now.date()
    assert simulator.ledger.usage(date(2020, 1, 1), today)[()]["output_tokens"] > 0


def test_latency_delays_each_answer() -> None:
    with Simulator(size=0.1, days=3, latency_ms=60).serve() as server:
        answer = httpx.get(f"{server.url}/v1/organizations/me", headers=HEADERS)
    assert answer.elapsed.total_seconds() >= 0.06


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_run_serves_until_it_is_told_to_stop(stop: signal.Signals) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = f"from anthropic_usage.simulator import run; run(port={port}, size=0.1, days=10)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"http://127.0.0.1:{port}" in line
        assert Simulator.DEMO_KEY in line
        url = f"http://127.0.0.1:{port}/v1/organizations/me"
        assert httpx.get(url, headers=HEADERS).status_code == 200
        process.send_signal(stop)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
