"""An organisation written down by hand, served over HTTP: for bills that no simulator invents."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

import attrs
from anthropic_usage import UsageClient
from support import DAY, KEY, QUICK, Answer, Asked, Loopback, bucket, page

_USAGE = ("api_key_id", "workspace_id", "model", "service_tier", "context_window", "inference_geo")
_MEASURES = (
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "cache_creation_5m",
    "cache_creation_1h",
    "web_search_requests",
)
_PATHS = {
    "usage_report/messages": "usage",
    "cost_report": "cost",
    "usage_report/claude_code": "claude_code",
    "workspaces": "workspaces",
    "api_keys": "api_keys",
    "users": "users",
    "me": "me",
}


def used(day: str, model: str = "claude-opus-4-8", **facts: Any) -> dict[str, Any]:
    """Return use on a day, of what `facts` say."""
    return {
        "day": day,
        "model": model,
        "workspace_id": "wrkspc_1",
        "api_key_id": "apikey_1",
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
        **facts,
    }


def billed(day: str, cents: Any, model: str | None = "claude-opus-4-8", **facts: Any) -> Any:
    """Return a line of the bill of a day, of output tokens unless `facts` say otherwise."""
    return {
        "day": day,
        "amount": str(cents),
        "currency": "USD",
        "workspace_id": "wrkspc_1",
        "description": f"{model} Usage - Output Tokens",
        "cost_type": "tokens",
        "model": model,
        "token_type": "output_tokens",
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
        **facts,
    }


@attrs.frozen(kw_only=True)
class Organisation:
    """What each report holds, by day, and the answers that come instead."""

    now: dt.datetime
    usage: list[dict[str, Any]] = attrs.field(factory=list)
    cost: list[dict[str, Any]] = attrs.field(factory=list)
    claude_code: list[dict[str, Any]] = attrs.field(factory=list)
    refused: Mapping[str, tuple[int, Any]] = attrs.field(factory=dict)
    """By report: a status and a body; `fast` is the usage report of the fast mode."""

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        """Serve it; gives the address."""
        with Loopback(self._answer) as server:
            yield server.url

    @contextlib.contextmanager
    def client(self) -> Iterator[UsageClient]:
        """Open a client of it, whose clock is the organisation's."""
        with (
            self.served() as url,
            UsageClient(KEY, base_url=url, retry=QUICK, clock=lambda: self.now) as client,
        ):
            yield client

    def _answer(self, asked: Asked) -> Answer:
        path = asked.path.removeprefix("/v1/organizations/")
        report = _PATHS[path]
        query: dict[str, list[str]] = {}
        for name, value in parse_qsl(asked.query):
            query.setdefault(name.removesuffix("[]"), []).append(value)
        headers = {"date": format_datetime(self.now, usegmt=True)}
        for name in (report, *(("fast",) if "speeds" in query else ())):
            if name in self.refused:
                status, body = self.refused[name]
                return Answer(status=status, body=json.dumps(body).encode(), headers=headers)
        return Answer(body=self._body(report, query), headers=headers)

    def _body(self, report: str, query: dict[str, list[str]]) -> bytes:
        if report == "me":
            return b'{"id": "org", "type": "organization", "name": "Acme"}'
        if report == "claude_code":
            day = query["starting_at"][0]
            return page([item for item in self.claude_code if item["date"].startswith(day)])
        if report not in ("usage", "cost"):
            return b'{"data": [], "has_more": false, "first_id": null, "last_id": null}'
        start, end = (
            dt.datetime.fromisoformat(query[name][0]) for name in ("starting_at", "ending_at")
        )
        reached = self.now if report == "usage" else self.now - DAY
        data = []
        while start < end and start <= reached:
            day = f"{start:%Y-%m-%d}"
            if report == "cost":
                rows = [
                    {name: value for name, value in line.items() if name != "day"}
                    for line in self.cost
                    if line["day"] == day
                ]
            else:
                rows = self._used(day, query)
            data.append(bucket(start, rows))
            start += DAY
        return page(data)

    def _used(self, day: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        by = query.get("group_by", [])
        sums: dict[tuple[Any, ...], dict[str, int]] = {}
        for use in self.usage:
            fast = use.get("speed") == "fast"
            if use["day"] != day or ("speeds" in query and not fast):
                continue
            measures = sums.setdefault(
                tuple(use.get(name) for name in by), dict.fromkeys(_MEASURES, 0)
            )
            for name in _MEASURES:
                measures[name] += use.get(name, 0)
        return [
            {
                **dict.fromkeys(_USAGE),
                **dict(zip(by, key, strict=True)),
                "uncached_input_tokens": measures["uncached_input_tokens"],
                "cache_read_input_tokens": measures["cache_read_input_tokens"],
                "output_tokens": measures["output_tokens"],
                "cache_creation": {
                    "ephemeral_5m_input_tokens": measures["cache_creation_5m"],
                    "ephemeral_1h_input_tokens": measures["cache_creation_1h"],
                },
                "server_tool_use": {"web_search_requests": measures["web_search_requests"]},
            }
            for key, measures in sums.items()
        ]


def record(
    day: str, actor: str, cents: int, *, customer_type: str = "api", key: bool = False
) -> dict[str, Any]:
    """Return a Claude Code record with an estimated cost."""
    who = {"type": "api_actor", "api_key_name": actor}
    return {
        "date": f"{day}T00:00:00Z",
        "actor": who if key else {"type": "user_actor", "email_address": actor},
        "organization_id": "org",
        "customer_type": customer_type,
        "terminal_type": "vscode",
        "core_metrics": {
            "num_sessions": 1,
            "lines_of_code": {"added": 1, "removed": 0},
            "commits_by_claude_code": 0,
            "pull_requests_by_claude_code": 0,
        },
        "tool_actions": {
            tool: {"accepted": 1, "rejected": 0}
            for tool in ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")
        },
        "model_breakdown": [
            {
                "model": "claude-opus-4-8",
                "tokens": {"input": 1, "output": 1, "cache_read": 0, "cache_creation": 0},
                "estimated_cost": {"currency": "USD", "amount": cents},
            }
        ],
    }
