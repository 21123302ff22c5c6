"""One running simulator for the tests that only read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from anthropic_usage.simulator import Server, Simulator

NOW = datetime(2026, 11, 20, 15, 7, 30, tzinfo=UTC)
HEADERS = {"x-api-key": Simulator.DEMO_KEY, "anthropic-version": "2023-06-01"}

Query = list[tuple[str, str]]


class Api:
    """A bare HTTP client that walks pages with nothing but `next_page`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.Client(base_url=f"{server.url}/v1/organizations", headers=HEADERS)

    def get(self, path: str, *query: tuple[str, str], **headers: str) -> httpx.Response:
        renamed = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.get(path, params=list(query), headers=renamed)

    def data(self, path: str, *query: tuple[str, str], **headers: str) -> list[dict[str, Any]]:
        """Return the data of all pages."""
        data: list[dict[str, Any]] = []
        page: Query = []
        while True:
            answer = self.get(path, *query, *page, **headers)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            data += body["data"]
            if not body["has_more"]:
                assert body["next_page"] is None
                return data
            page = [("page", body["next_page"])]

    def message(self, path: str, *query: tuple[str, str], **headers: str) -> str:
        """Return the message of an invalid_request_error."""
        answer = self.get(path, *query, **headers)
        body = answer.json()
        assert (answer.status_code, body["error"]["type"]) == (400, "invalid_request_error")
        return str(body["error"]["message"])


@pytest.fixture(scope="session")
def simulator() -> Simulator:
    """Return a simulator that no test may change."""
    return Simulator(seed=11, size=1.0, days=350, now=NOW)


@pytest.fixture(scope="session")
def api(simulator: Simulator) -> Iterator[Api]:
    """Serve the shared simulator."""
    with simulator.serve() as server:
        client = Api(server)
        with client.http:
            yield client


@pytest.fixture
def own() -> Iterator[tuple[Simulator, Api]]:
    """Serve a small simulator that a test may change."""
    simulator = Simulator(seed=3, size=0.2, days=60, now=NOW)
    with simulator.serve() as server:
        client = Api(server)
        with client.http:
            yield simulator, client
