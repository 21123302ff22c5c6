"""Every environment variable that any layer reads, with values that nobody would give it."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import anthropic_usage
import pytest
from anthropic_usage import AnthropicUsageError, UsageClient
from anthropic_usage.cli.track import main as track
from anthropic_usage.simulator import Server, Simulator
from cassettes import run_command

SPAN = ("--since", "2026-11-10", "--until", "2026-11-12")
KEY = "sk-ant-admin01-MARKER-nobody-sees"
OURS = {
    "ANTHROPIC_ADMIN_API_KEY", "ANTHROPIC_ADMIN_KEY", "ANTHROPIC_OAUTH_TOKEN", "ANTHROPIC_BASE_URL",
    "ANTHROPIC_USAGE_ALLOW_HTTP", "ANTHROPIC_USAGE_MCP_TOKEN", "ANTHROPIC_AGENT_MAP_JSON",
}  # fmt: skip
"""What this package gives a meaning."""
WAY = {
    "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy",
    "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE",
}  # fmt: skip
"""What says how to reach the API."""
LOOKS = {
    "COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE",
    "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS", "TZ", "LANG", "LC_ALL",
    "LC_CTYPE", "HOME", "XDG_STATE_HOME", "PAGER",
}  # fmt: skip
"""What says how to print, and where one is at home."""
ODD = (
    "", " ", "nonsense", "\udcff\udcfe", "-1", "999999999999999999999", "/nonexistent/x",
    "http://", "://", "socks://x", "http://a b", "\u202e\n\x1b[2J", "ü", "{", '{"a": ["b"]}', "x" * 9999,
)  # fmt: skip


def names() -> Iterator[str]:
    """Yield what looks like a variable in each module that looks at the environment."""
    for path in Path(anthropic_usage.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "environ" not in text or "simulator" in path.parts:
            continue
        exported = text.partition("__all__ = [")[2].partition("]")[0]
        for node in ast.walk(ast.parse(text.replace(exported, ""))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from re.findall(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$|^TERM$", node.value)


def test_every_variable_is_listed() -> None:
    met = set(names())
    assert met >= {"ANTHROPIC_BASE_URL", "SSL_CERT_FILE", "NO_COLOR", "HTTPS_PROXY"}
    assert met - OURS - WAY - LOOKS == {"O_BINARY"}


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take away all that the machine's own environment says, and stand in an empty folder."""
    for name in OURS | WAY | (LOOKS - {"HOME"}):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", sorted(OURS | WAY))
def test_a_client_works_or_names_the_variable(
    name: str, value: str, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    key = None if name in ("ANTHROPIC_ADMIN_API_KEY", "ANTHROPIC_ADMIN_KEY") else KEY
    if name == "ANTHROPIC_OAUTH_TOKEN":
        key = None
    url = None if name == "ANTHROPIC_BASE_URL" else "https://api.example.invalid"
    if name == "ANTHROPIC_USAGE_ALLOW_HTTP":
        url = "http://api.example.invalid"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with UsageClient(key, base_url=url):
                pass
        except AnthropicUsageError as error:
            said = str(error)
            assert name.upper() in said.upper() or (key is None and "no key" in said)
            assert "\n" not in said
            assert "\x1b" not in said
            said.encode()
    if name != "SSLKEYLOGFILE":  # which is a file to be written
        assert list(alone.iterdir()) == []


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", sorted(OURS | WAY | LOOKS))
@pytest.mark.filterwarnings("ignore:the key from")
def test_a_command_ends_in_a_line_at_most(
    name: str, value: str, alone: Path, served: tuple[Simulator, Server]
) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, "ANTHROPIC_ADMIN_API_KEY": KEY, name: value}
    if name in ("ANTHROPIC_ADMIN_KEY", "ANTHROPIC_OAUTH_TOKEN"):
        del where["ANTHROPIC_ADMIN_API_KEY"]
    lake = str(alone / "lake")
    for command, main in (
        (("usage", *SPAN, "--by", "model"), None),
        (("chargeback", *SPAN, "--by", "api_key"), None),
        (("--date", "2026-11-10", "--datalake-root", lake), track),
    ):
        if name == "ANTHROPIC_BASE_URL" and "nonsense" not in value and not value.strip():
            continue  # that is as if it were not set, and leads to the API itself
        code, out, err = run_command(command, where, main=main)
        assert "Traceback" not in err
        assert KEY not in out + err
        (out + err).encode()
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", out + err)
        if code != 0:
            assert code in (1, 2)
            assert out == ""
            assert len(err.splitlines()) <= 2
            assert any(said in err for said in (name, "key", "reached", "HTTP 400")), err


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", sorted((OURS | WAY) - {"ANTHROPIC_USAGE_MCP_TOKEN"}))
def test_the_doctor_finds_it_and_goes_on(
    name: str, value: str, alone: Path, served: tuple[Simulator, Server]
) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, "ANTHROPIC_ADMIN_API_KEY": KEY, name: value}
    if name == "ANTHROPIC_BASE_URL" and not value.strip():
        return
    code, out, err = run_command(("doctor", "--json"), where)
    document = json.loads(out)
    assert code == (0 if document["ok"] else 1)
    assert len(document["checks"]) >= 2
    assert KEY not in out + err
    assert "Traceback" not in err


def test_an_env_file_is_read_by_every_command_that_sends_a_key(
    alone: Path, served: tuple[Simulator, Server]
) -> None:
    commands = {
        "usage": ("usage", *SPAN), "cost": ("cost", *SPAN), "report": ("report", *SPAN),
        "doctor": ("doctor",), "export": ("export", "cost", *SPAN, "--csv", "-"),
        "tool": ("tool", json.dumps({"action": "cost", "starting_at": "2026-11-10", "ending_at": "2026-11-11"})),
        "track": ("--date", "2026-11-10", "--datalake-root", str(alone / "lake")),
    }  # fmt: skip
    for name, command in commands.items():
        main = track if name == "track" else None
        (alone / ".env").unlink(missing_ok=True)
        code, out, err = run_command(command, {}, main=main)
        assert code == 1, name
        assert "no key" in out + err
        (alone / ".env").write_text(
            f"ANTHROPIC_ADMIN_API_KEY={KEY}\nANTHROPIC_BASE_URL={served[1].url}\n"
        )
        served[1].requests.clear()
        code, out, err = run_command(command, {}, main=main)
        assert served[1].requests, name
        assert KEY not in out + err
        if name != "doctor":  # which finds that the clock of the simulator is another
            assert code == 0, err
        # What the environment says goes first; a file's address goes with its own key only.
        where = {"ANTHROPIC_ADMIN_API_KEY": KEY, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
        served[1].requests.clear()
        assert run_command(command, where, main=main)[0] == 1, name
        assert not served[1].requests
        assert "ANTHROPIC_BASE_URL" not in os.environ


@pytest.mark.parametrize("raw", [b"\xff\xfeA\0", b"ANTHROPIC_ADMIN_API_KEY=\xe9" + KEY.encode()])
def test_an_env_file_that_cannot_be_read_is_one_line(alone: Path, raw: bytes) -> None:
    (alone / ".env").write_bytes(raw)
    for command in (("usage", *SPAN), ("report", *SPAN), ("prices",)):
        code, out, err = run_command(command, {})
        if command == ("prices",):
            assert code == 0  # which needs no key
            continue
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert ".env" in err
        assert KEY not in err
    out = run_command(("doctor", "--json"), {})[1]
    with contextlib.suppress(IndexError):
        assert ".env" in json.loads(out)["checks"][1]["says"]
