"""What all tests share: no key from outside, and a simulator on a port."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from anthropic_usage.engine import flow
from anthropic_usage.simulator import Server, Simulator
from clock import NOW


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own key and address away from every test."""
    for name in (
        "ANTHROPIC_ADMIN_API_KEY",
        "ANTHROPIC_ADMIN_KEY",
        "ANTHROPIC_OAUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _recorded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let simulators and cassettes live in their own time, which lies behind this machine's."""
    monkeypatch.setattr(flow, "STALE", dt.timedelta.max / 2)


@pytest.fixture(scope="module")
def organisation() -> Iterator[tuple[Simulator, Server]]:
    """Serve a simulator to a module; its faults are taken back after each test by `served`."""
    simulator = Simulator(seed=7, size=0.5, days=400, now=NOW)
    with simulator.serve() as server:
        yield simulator, server


@pytest.fixture
def served(organisation: tuple[Simulator, Server]) -> Iterator[tuple[Simulator, Server]]:
    """Give a test the module's simulator without faults, and take its faults back."""
    simulator, server = organisation
    simulator.faults = []
    server.requests.clear()
    yield organisation
    simulator.faults = []
    simulator.latency_ms = 0.0
