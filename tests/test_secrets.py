"""The key is never seen: not in a repr, a log, an error, a traceback, a file."""

from __future__ import annotations

import asyncio
import logging
import pickle
import ssl
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import (
    AnthropicUsageError,
    AsyncUsageClient,
    AuthenticationError,
    InvalidQuery,
    Retry,
    UsageClient,
)
from anthropic_usage.credentials import Credentials
from anthropic_usage.simulator import Server, Simulator

KEY = "sk-ant-admin01-MARKER-that-nobody-may-see"
TOKEN = "sk-ant-oat01-MARKER-that-nobody-may-see"
MARKER = "MARKER-that"
SPAN = ("2026-11-10", "2026-11-13")


def everything(error: BaseException) -> str:
    """Return all that a debugger or an error tracker would show of an error."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    chain: list[BaseException | None] = [error, error.__cause__, error.__context__]
    texts = [repr(e) + str(vars(e)) for e in chain if e is not None]
    return "".join([*shown.format(), *texts, str(pickle.dumps(error))])


@pytest.mark.parametrize(
    "fault",
    [
        "",
        "401",
        "403",
        "429=0",
        "500",
        "drop",
        "truncate",
        "bad-gzip",
        "not-json",
        "redirect",
        "missing-bucket",
        "missing-measure",
        "slow=0.5",
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_no_failure_shows_the_key(
    fault: str,
    asynchronous: bool,
    served: tuple[Simulator, Server],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    simulator, server = served
    simulator.faults = [fault] if fault else []
    monkeypatch.setenv("ANTHROPIC_ADMIN_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {
        "base_url": server.url,
        "retry": Retry(attempts=2, base=0.001),
        "timeout": 0.2,
    }
    shown = ""

    async def read() -> Any:
        async with AsyncUsageClient(**options) as client:
            return repr(client), await client.usage(*SPAN).by("day")

    try:
        if asynchronous:
            shown += str(asyncio.run(read()))
        else:
            with UsageClient(**options) as client:
                report = client.usage(*SPAN)
                shown += repr(client) + repr(report) + repr(client.settings) + str(report.by("day"))
        assert not fault
    except AnthropicUsageError as error:
        assert fault
        shown += everything(error)
    assert server.requests
    shown += caplog.text + "".join(capfd.readouterr())
    assert MARKER not in shown


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://localhost:1/base"])
def test_an_address_where_nobody_listens(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_ADMIN_KEY", KEY)
    client = UsageClient(base_url=url, retry=Retry(attempts=2, base=0.001))
    with client, pytest.raises(AnthropicUsageError, match="be reached: no connection") as caught:
        client.usage(*SPAN).totals()
    assert MARKER not in everything(caught.value)


@pytest.mark.parametrize("bad", [KEY + "\n-more", KEY + " x", KEY + "é", KEY + "\x00"])
def test_a_key_with_wrong_characters(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthenticationError, match="copy it again") as caught:
        Credentials.find(environ={"ANTHROPIC_ADMIN_API_KEY": bad})
    assert MARKER not in str(caught.value) + repr(caught.value) + str(vars(caught.value))


def test_no_key() -> None:
    with pytest.raises(AuthenticationError, match="set ANTHROPIC_ADMIN_API_KEY"):
        UsageClient()
    with pytest.raises(AuthenticationError, match="is empty"):
        UsageClient("  ")


def test_credentials_hold_their_tongue() -> None:
    for credentials in (Credentials(KEY), Credentials(TOKEN, oauth=True)):
        assert MARKER not in repr(credentials) + str(credentials)
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(credentials)


def test_where_the_key_comes_from(
    served: tuple[Simulator, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server = served
    found = {
        "ANTHROPIC_OAUTH_TOKEN": (TOKEN, "authorization"),
        "ANTHROPIC_ADMIN_KEY": (KEY, "x-api-key"),
        "ANTHROPIC_ADMIN_API_KEY": (KEY + "2", "x-api-key"),
    }
    for name, (secret, header) in found.items():
        # Each one set outranks those set before.
        monkeypatch.setenv(name, secret)
        with UsageClient(base_url=server.url) as client:
            assert client.settings.credentials.source == name
            client.organization()
        headers = {key.lower(): value for key, value in server.requests[-1].headers.items()}
        assert header in headers
        assert ("x-api-key" in headers) != ("authorization" in headers)
        assert headers["anthropic-version"] == "2023-06-01"
        assert headers["user-agent"].startswith("anthropic-usage/")
    with UsageClient(
        "sk-ant-admin01-given", base_url=server.url, anthropic_version="2026-10-21"
    ) as client:
        client.usage(*SPAN).totals()
    assert {k.lower(): v for k, v in server.requests[-1].headers.items()}[
        "anthropic-version"
    ] == "2026-10-21"


def test_a_key_of_another_kind_gets_a_warning_not_a_refusal() -> None:
    with pytest.warns(UserWarning, match="Admin API key, not one for inference") as caught:
        Credentials("sk-ant-api03-MARKER-that-nobody-may-see")
    assert MARKER not in str(caught[0].message)


def test_base_urls() -> None:
    with pytest.raises(InvalidQuery, match="unencrypted to api.example.com: use https, or allow"):
        UsageClient(KEY, base_url="http://api.example.com")
    assert UsageClient(KEY, base_url="http://api.example.com", allow_http=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in (
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://localhost",
            "https://x.example",
        ):
            assert UsageClient(KEY, base_url=url).settings.base_url == url
        assert (
            UsageClient(KEY, base_url="https://x.example/v1/").settings.base_url
            == "https://x.example"
        )
        assert UsageClient(KEY).settings.base_url == "https://api.anthropic.com"
    for url in ("api.anthropic.com", "ftp://x", "https://", "https://u:p@x", "https://x?key=1"):
        with pytest.raises(InvalidQuery, match="base URL"):
            UsageClient(KEY, base_url=url)


def test_a_redirect_is_not_followed_with_the_key(served: tuple[Simulator, Server]) -> None:
    simulator, server = served
    simulator.faults = ["redirect"]
    client = UsageClient(KEY, base_url=server.url)
    with client, pytest.raises(AnthropicUsageError, match="redirects are not followed"):
        client.usage(*SPAN).totals()
    assert len(server.requests) == 1


def test_nothing_on_disk_holds_the_key(served: tuple[Simulator, Server], tmp_path: Path) -> None:
    with UsageClient(KEY, base_url=served[1].url) as client:
        report = client.usage(*SPAN).collect()
        report.to_csv(tmp_path / "a.csv")
        report.to_ndjson(tmp_path / "a.ndjson")
        report.to_parquet(tmp_path / "a.parquet")
    assert all(MARKER.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_tls_is_always_checked() -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    for verify in (False, careless, blind):
        for kind in (UsageClient, AsyncUsageClient):
            with pytest.raises(InvalidQuery, match="verify is"):
                kind(KEY, verify=verify)
    clients = (UsageClient(KEY), AsyncUsageClient(KEY))
    pools = [client._engine._client._transport._pool for client in clients]
    assert {pool._ssl_context.verify_mode for pool in pools} == {ssl.CERT_REQUIRED}
    assert all(pool._ssl_context.check_hostname for pool in pools)
