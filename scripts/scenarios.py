"""What is recorded, one cassette each: the catalogue that `make record` and the tests share."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from anthropic_admin_client.api.organization import (
    list_api_keys,
    list_service_accounts,
    list_users,
    list_workspaces,
)
from cassettes import FOLDER, TRACK

__all__ = ["NOW", "Recording", "Scenario", "catalogue", "recording"]

NOW = dt.datetime(2026, 3, 18, 9, 30, 15, tzinfo=dt.UTC)
"""The simulator's clock while recording, so that a recording can be repeated byte for byte."""

DAY = dt.timedelta(days=1)


@attrs.frozen(kw_only=True)
class Recording:
    """What a folder of cassettes was recorded from."""

    source: str
    now: dt.datetime
    ids: Mapping[str, str]
    """One id of each kind that occurs, for filters."""

    def as_json(self) -> str:
        """Write it down."""
        facts = {"source": self.source, "now": self.now.isoformat(), "ids": dict(self.ids)}
        return json.dumps(facts, indent=1) + "\n"


@attrs.frozen(kw_only=True)
class Scenario:
    """One question to the API, and what is special about it."""

    name: str
    call: str = ""
    """The client's method; empty if `requests` are sent as they are."""
    options: dict[str, Any] = attrs.field(factory=dict)
    requests: tuple[dict[str, Any], ...] = ()
    command: tuple[str, ...] = ()
    """A command of the CLI with its arguments, instead of a call."""
    faults: tuple[str, ...] = ()
    error: str | None = None
    """The error that it ends in, by the name of its class."""
    attempts: int = 1
    oauth: bool = False
    grows: bool = False
    """Whether the answer holds what no documentation mentions."""

    @property
    def is_report(self) -> bool:
        return self.call in ("usage", "cost", "claude_code")


def recording() -> Recording:
    """Return what the committed cassettes were recorded from."""
    facts = json.loads((FOLDER / "recording.json").read_text())
    return Recording(
        source=facts["source"], now=dt.datetime.fromisoformat(facts["now"]), ids=facts["ids"]
    )


def catalogue(at: Recording) -> list[Scenario]:
    """Return every scenario, relative to the recording's time and with its ids."""
    return [
        *_usage(at),
        *_cost(at),
        *_claude_code(at),
        *_lookups(at),
        *_failures(at),
        *_growth(at),
        *_commands(at),
    ]


def _usage(at: Recording) -> Iterator[Scenario]:
    midnight = at.now.replace(hour=0, minute=0, second=0, microsecond=0)
    ids = at.ids
    week = {"starting_at": midnight - 7 * DAY, "ending_at": midnight}
    two_days = {"starting_at": midnight - 2 * DAY, "ending_at": midnight}
    noon = midnight - DAY / 2

    def usage(name: str, **options: Any) -> Scenario:
        return Scenario(name=f"usage_{name}", call="usage", options={**week, **options})

    yield usage("1d")
    yield usage("1h", starting_at=midnight - DAY, bucket_width="1h", group_by=["model"])
    minutes = {"starting_at": noon, "ending_at": noon + dt.timedelta(minutes=90)}
    yield usage("1m", **minutes, bucket_width="1m")
    yield usage("1d_pages", limit=2, group_by=["model"])
    yield usage("1h_pages", **two_days, bucket_width="1h", limit=20)
    yield usage("1m_pages", **minutes, bucket_width="1m", limit=40)
    yield usage("1d_windows", starting_at=midnight - 40 * DAY)
    yield usage("open_bucket", starting_at=midnight, ending_at=midnight + DAY)
    yield usage("future", ending_at=midnight + 3 * DAY)
    yield usage("empty", models=["claude-nobody-uses-this"])
    for dimension in (
        "api_key_id",
        "workspace_id",
        "model",
        "service_tier",
        "context_window",
        "inference_geo",
        "account_id",
        "service_account_id",
        "speed",
    ):
        yield usage(f"by_{dimension}", **two_days, group_by=[dimension])
    five = ["model", "workspace_id", "api_key_id", "service_tier", "context_window"]
    yield usage("by_five", starting_at=midnight - DAY, group_by=five)
    filters = {
        "api_key_ids": [ids["api_key"]],
        "workspace_ids": [ids["workspace"]],
        "models": [ids["model"], "claude-nobody-uses-this"],
        "service_tiers": ["standard", "batch"],
        "context_window": ["0-200k"],
        "inference_geos": ["global", "us"],
        "account_ids": [ids["user"]],
        "service_account_ids": [ids["service_account"]],
        "speeds": ["fast"],
    }
    for name, values in filters.items():
        yield usage(f"only_{name}", **two_days, **{name: values}, group_by=["model"])


def _cost(at: Recording) -> Iterator[Scenario]:
    midnight = at.now.replace(hour=0, minute=0, second=0, microsecond=0)
    week = {"starting_at": midnight - 7 * DAY, "ending_at": midnight}

    def cost(name: str, **options: Any) -> Scenario:
        return Scenario(name=f"cost_{name}", call="cost", options={**week, **options})

    two_days = {"starting_at": midnight - 2 * DAY}
    yield cost("1d")
    yield cost("pages", limit=3)
    yield cost("windows", starting_at=midnight - 40 * DAY)
    yield cost("by_workspace_id", group_by=["workspace_id"])
    yield cost("by_description", **two_days, group_by=["description"])
    yield cost("by_both", **two_days, group_by=["workspace_id", "description"])
    yield cost("to_now", ending_at=midnight + DAY)
    yield cost("nothing_closed_in_last_window", starting_at=midnight - 31 * DAY, ending_at=at.now)
    yield attrs.evolve(
        cost("nothing_closed", starting_at=midnight, ending_at=midnight + DAY),
        error="InvalidQuery",
    )
    yield cost("empty", starting_at=dt.datetime(2023, 1, 1, tzinfo=dt.UTC), ending_at="2023-01-04")


def _claude_code(at: Recording) -> Iterator[Scenario]:
    midnight = at.now.replace(hour=0, minute=0, second=0, microsecond=0)

    def claude_code(name: str, **options: Any) -> Scenario:
        day = {"starting_at": midnight - DAY, "ending_at": midnight}
        return Scenario(name=f"claude_code_{name}", call="claude_code", options={**day, **options})

    yield claude_code("day")
    yield claude_code("days", starting_at=midnight - 3 * DAY)
    yield claude_code("pages", limit=4)
    yield claude_code("empty", starting_at="2023-01-01", ending_at="2023-01-02")


def _lookups(at: Recording) -> Iterator[Scenario]:
    ids = at.ids
    yield Scenario(name="organization", call="organization")
    yield Scenario(name="workspaces", call="workspaces")
    yield Scenario(name="workspaces_pages", call="workspaces", options={"limit": 2})
    yield Scenario(
        name="workspaces_with_default",
        call="workspaces",
        options={"include_default": True, "include_archived": False},
    )
    yield Scenario(name="api_keys", call="api_keys")
    yield Scenario(name="api_keys_pages", call="api_keys", options={"limit": 2})
    yield Scenario(
        name="api_keys_filtered",
        call="api_keys",
        options={
            "status": "active",
            "workspace_id": ids["workspace"],
            "created_by_user_id": ids["user"],
        },
    )
    yield Scenario(name="users", call="users")
    yield Scenario(name="users_pages", call="users", options={"limit": 2})
    yield Scenario(name="users_by_email", call="users", options={"email": ids["email"]})
    yield Scenario(
        name="service_accounts_pages", call="service_accounts", options={"limit": 1}, oauth=True
    )
    yield Scenario(
        name="service_accounts_refused", call="service_accounts", error="PermissionDenied"
    )
    # What the API knows and the client has no use for.
    yield Scenario(
        name="lookups_other_parameters",
        requests=(
            list_workspaces.request(before_id=ids["workspace"], limit=2),
            list_workspaces.request(ids=[ids["workspace"]], include_archived=True),
            list_api_keys.request(limit=1, anthropic_version="2026-10-21"),
            list_users.request(limit=1),
        ),
    )
    yield Scenario(
        name="service_accounts_plain",
        requests=(list_service_accounts.request(limit=1000),),
        oauth=True,
    )


def _failures(at: Recording) -> Iterator[Scenario]:
    midnight = at.now.replace(hour=0, minute=0, second=0, microsecond=0)
    errors = {
        "400": "ApiError",
        "401": "AuthenticationError",
        "402": "ApiError",
        "403": "PermissionDenied",
        "404": "ApiError",
        "409": "ApiError",
        "413": "ApiError",
        "429": "RateLimited",
        "500": "ApiError",
        "504": "ApiError",
        "529": "ApiError",
    }
    day = {"starting_at": midnight - DAY, "ending_at": midnight}
    for status, error in errors.items():
        yield Scenario(
            name=f"error_{status}", call="usage", options=day, faults=(status,), error=error
        )
    yield Scenario(
        name="retried",
        call="usage",
        options=day,
        faults=("429=0#1", "529#2"),
        attempts=3,
    )
    yield Scenario(
        name="too_large_then_halved",
        call="usage",
        options={"starting_at": midnight - 4 * DAY, "ending_at": midnight},
        faults=("413#1",),
    )


def _growth(at: Recording) -> Iterator[Scenario]:
    midnight = at.now.replace(hour=0, minute=0, second=0, microsecond=0)
    day = {"starting_at": midnight - DAY, "ending_at": midnight}
    grouped = {**day, "group_by": ["model"]}
    for kind, call, options in (
        ("unknown-field", "usage", grouped),
        ("unknown-enum", "usage", grouped),
        ("unknown-field", "cost", {**day, "group_by": ["description"]}),
        ("unknown-field", "claude_code", day),
        ("unknown-actor", "claude_code", day),
    ):
        yield Scenario(
            name=f"{call}_{kind.replace('-', '_')}",
            call=call,
            options=options,
            faults=(kind,),
            grows=True,
        )


def _commands(at: Recording) -> Iterator[Scenario]:
    """Every command that asks the API; each says its range, so that any day can replay it."""
    today = at.now.date()
    first = today.replace(day=1)
    span = ("--since", str(first), "--until", str(today))
    two_days = ("--since", str(today - 2 * DAY), "--until", str(today))
    for name, *command in (
        ("usage", "usage", *two_days, "--by", "model", "--json"),
        ("cost", "cost", *two_days, "--by", "workspace_id", "--csv"),
        ("claude_code", "claude-code", *two_days, "--json"),
        ("report", "report", *two_days, "--json"),
        ("reconcile", "reconcile", *two_days, "--json"),
        ("chargeback_workspace", "chargeback", *span, "--json"),
        ("chargeback_api_key", "chargeback", *two_days, "--by", "api_key", "--csv"),
        ("chargeback_model", "chargeback", *span, "--by", "model", "--json"),
        ("forecast", "forecast", "--month", f"{first:%Y-%m}", "--json"),
        ("check", "check", "--today", str(today), "--json"),
        ("track", TRACK, "--date", str(today - 2 * DAY), "--json"),
        ("export_usage", "export", "usage", *two_days, "--csv", "-"),
        ("export_cost", "export", "cost", *two_days, "--csv", "-"),
    ):
        yield Scenario(name=f"command_{name}", command=(*command, "--concurrency", "1"))
    day = {"starting_at": f"{today - 2 * DAY}T00:00:00Z", "ending_at": f"{today}T00:00:00Z"}
    for action, grouped in (("usage", ["model"]), ("cost", ["workspace_id"])):
        asked = json.dumps({"action": action, **day, "group_by": grouped})
        yield Scenario(name=f"command_tool_{action}", command=("tool", "--json", asked))
