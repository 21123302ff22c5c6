"""A client of the module's simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anthropic_usage import UsageClient
from anthropic_usage.simulator import Server, Simulator


@pytest.fixture
def client(served: tuple[Simulator, Server]) -> Iterator[UsageClient]:
    """Ask the module's simulator, by its clock."""
    simulator, server = served
    with UsageClient(
        Simulator.DEMO_KEY, base_url=server.url, clock=lambda: simulator.now
    ) as opened:
        yield opened
