"""How a client is sent out: by a transport, a proxy, with whom to trust; and what it logs."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from anthropic_usage import AsyncUsageClient, ConnectionFailed, InvalidQuery, UsageClient
from anthropic_usage.simulator import Simulator
from clock import NOW

KEY = "sk-ant-admin01-MARKER-nobody-sees"
SPAN = ("2026-10-20", "2026-11-10")


class Recorded(httpx.AsyncBaseTransport):
    """Answers by itself, and keeps what was asked."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[httpx.Request] = []
        self.closed = False
        self._status = status

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        body = {"id": "org_1", "type": "organization", "name": "One"}
        return httpx.Response(self._status, json=body, request=request)

    async def aclose(self) -> None:
        self.closed = True


def test_a_client_sends_by_the_transport_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://nowhere")
    transport = Recorded()
    with UsageClient(KEY, transport=transport) as client:
        assert client.organization().name == "One"
    (asked,) = transport.asked
    assert str(asked.url) == "https://api.anthropic.com/v1/organizations/me"
    assert asked.headers["x-api-key"] == KEY
    assert transport.closed


def test_a_mock_of_httpx_will_do() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": "org_1", "type": "organization", "name": "Two"})

    with UsageClient(KEY, transport=httpx.MockTransport(answer)) as client:
        assert client.organization().name == "Two"


async def test_so_does_an_async_client() -> None:
    transport = Recorded()
    async with AsyncUsageClient(KEY, transport=transport) as client:
        assert (await client.organization()).id == "org_1"
    assert transport.closed


def test_a_proxy_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    from anthropic_usage import Retry

    proxy = "http://user:secret-word@127.0.0.1:9"
    with (
        UsageClient(
            KEY, base_url="https://api.example", proxy=proxy, retry=Retry(attempts=1)
        ) as one,
        pytest.raises(ConnectionFailed) as caught,
    ):
        one.organization()
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"proxy": "nonsense"}, "proxy is none that can be used"),
        ({"proxy": ""}, "proxy is none that can be used"),
        ({"proxy": 3}, "proxy is none that can be used"),
        ({"proxy": "gopher://x"}, "proxy is none that can be used"),
        ({"verify": "/no/such/file"}, "verify is True, a file"),
        ({"verify": None}, "verify is True, a file"),
        ({"verify": False}, "never sent to whoever answers"),
        ({"verify": __file__}, "verify names no certificates"),
        ({"transport": httpx.HTTPTransport()}, "transport is no httpx.AsyncBaseTransport"),
        ({"transport": Recorded(), "proxy": "http://x:1"}, "a transport has its own way"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    for kind in (UsageClient, AsyncUsageClient):
        with pytest.raises(InvalidQuery, match=said):
            kind(KEY, **options)


def test_whom_to_trust_is_a_file_a_folder_or_a_context(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    for verify in (str(file), str(tmp_path), ssl.create_default_context()):
        UsageClient(KEY, verify=verify).close()


def test_requests_and_waits_are_logged_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    simulator = Simulator(seed=3, size=0.3, days=60, now=NOW, faults=["429:0.5"])
    caplog.set_level(logging.DEBUG, logger="anthropic_usage")
    with (
        simulator.serve() as server,
        UsageClient(Simulator.DEMO_KEY, base_url=server.url) as client,
    ):
        client.usage(*SPAN, group_by="model").totals()
        client.claude_code(*SPAN).totals()
    said = [record.getMessage() for record in caplog.records if record.name == "anthropic_usage"]
    assert any(text.startswith("GET /v1/organizations/usage_report/messages: 200") for text in said)
    assert any(text.startswith("waiting ") and "429" in text for text in said)
    assert not any(Simulator.DEMO_KEY in text for text in caplog.text.splitlines())
