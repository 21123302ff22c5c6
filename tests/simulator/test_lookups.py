"""The lookups: names, and walks by id or by token."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from anthropic_usage.simulator import Simulator

from .conftest import HEADERS, Api

BEARER = {
    "Authorization": f"Bearer {Simulator.DEMO_TOKEN}",
    "anthropic-version": "2023-06-01",
}


def walk(api: Api, path: str, *query: tuple[str, str], limit: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    after: list[tuple[str, str]] = []
    while True:
        page = api.get(path, *query, ("limit", str(limit)), *after).json()
        items += page["data"]
        assert len(page["data"]) <= limit
        if not page["has_more"]:
            return items
        assert page["first_id"] == page["data"][0]["id"]
        assert page["last_id"] == page["data"][-1]["id"]
        after = [("after_id", page["last_id"])]


@pytest.mark.parametrize("path", ["/workspaces", "/api_keys", "/users"])
def test_a_walk_gives_each_item_once(api: Api, path: str) -> None:
    whole = api.get(path, ("limit", "1000")).json()
    assert whole["has_more"] is False
    assert walk(api, path, limit=2) == whole["data"]
    assert len({item["id"] for item in whole["data"]}) == len(whole["data"]) > 2
    last = whole["data"][-1]["id"]
    before = api.get(path, ("before_id", last), ("limit", "2")).json()
    assert before["data"] == whole["data"][-3:-1]


@pytest.mark.parametrize(
    ("path", "sample"),
    [
        ("/me", "organization_me"),
        ("/workspaces", "workspaces"),
        ("/api_keys", "api_keys_2023-06-01"),
        ("/users", "users"),
    ],
)
def test_published_shapes(api: Api, path: str, sample: str, pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / f"tests/samples/lookup_{sample}_docs.json").read_bytes()
    published, answer = msgspec.json.decode(text), api.get(path).json()
    assert set(answer) == set(published)
    for item in answer.get("data", []):
        assert set(item) == set(published["data"][0])


def test_archived_and_default_workspaces_only_on_demand(api: Api) -> None:
    plain, archived, default = (
        {space["id"]: space for space in api.get("/workspaces", *query).json()["data"]}
        for query in ([], [("include_archived", "true")], [("include_default", "true")])
    )
    assert all(space["archived_at"] is None for space in plain.values())
    assert set(plain) < set(archived)
    assert set(plain) < set(default)
    one = next(iter(archived))
    chosen = api.get("/workspaces", ("ids[]", one), ("include_archived", "true")).json()["data"]
    assert [space["id"] for space in chosen] == [one]
    many = [("ids[]", f"wrkspc_{index}") for index in range(101)]
    assert api.message("/workspaces", *many).startswith("ids[]:")


def test_api_keys_by_status_and_workspace(api: Api) -> None:
    keys = api.get("/api_keys", ("limit", "1000")).json()["data"]
    assert None in {key["workspace_id"] for key in keys}
    active = api.get("/api_keys", ("status", "active"), ("limit", "1000")).json()["data"]
    assert active == [key for key in keys if key["status"] == "active"]
    space = next(key["workspace_id"] for key in keys if key["workspace_id"])
    chosen = api.get("/api_keys", ("workspace_id", space)).json()["data"]
    assert chosen == [key for key in keys if key["workspace_id"] == space]


def test_the_newer_version_scopes_api_keys(api: Api) -> None:
    key = api.get("/api_keys", ("limit", "1"), anthropic_version="2026-10-21").json()["data"][0]
    assert "workspace_id" not in key
    assert key["scope"]["type"] == "workspace"


def test_users_by_email_and_those_who_left(api: Api, simulator: Simulator) -> None:
    users = api.get("/users", ("limit", "1000")).json()["data"]
    one = users[0]
    assert api.get("/users", ("email", one["email"])).json()["data"] == [one]
    assert len(users) == len(simulator.organisation.people) - 1


def test_service_accounts_are_for_oauth_tokens(api: Api, pytestconfig: pytest.Config) -> None:
    refusal = api.get("/service_accounts")
    assert refusal.status_code == 403
    assert refusal.json()["error"]["type"] == "permission_error"
    text = (pytestconfig.rootpath / "tests/samples/lookup_service_accounts_docs.json").read_bytes()
    published = msgspec.json.decode(text)
    with httpx.Client(base_url=api.http.base_url, headers=BEARER) as http:
        seen = []
        query = {"limit": "1"}
        while True:
            page = http.get("/service_accounts", params=query).json()
            assert set(page) == set(published)
            seen += page["data"]
            if page["next_page"] is None:
                break
            query["page"] = page["next_page"]
    assert len({account["id"] for account in seen}) == len(seen) >= 2
    assert all(set(account) == set(published["data"][0]) for account in seen)


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("/me", [("limit", "1")], "limit"),
        ("/users", [("limit", "1001")], "limit"),
        ("/users", [("after_id", "user_nobody")], "after_id"),
        ("/users", [("page", "page_x")], "page"),
        ("/api_keys", [("status", "lost")], "status"),
        ("/workspaces", [("include_archived", "yes")], "include_archived"),
    ],
)
def test_refusals_name_the_parameter(
    api: Api, path: str, query: list[tuple[str, str]], named: str
) -> None:
    assert api.message(path, *query).startswith(f"{named}:")


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"x-api-key": None}, 401, "authentication_error"),
        ({"x-api-key": "sk-ant-api03-no"}, 401, "authentication_error"),
        ({"x-api-key": "sk-ant-admin01-revoked"}, 401, "authentication_error"),
        ({"x-api-key": "sk-ant-admin01-nopermission"}, 403, "permission_error"),
        ({"x-api-key": None, "Authorization": "Bearer nonsense"}, 401, "authentication_error"),
        ({"x-api-key": None, "Authorization": BEARER["Authorization"]}, 200, None),
        ({"anthropic-version": None}, 400, "invalid_request_error"),
        ({"anthropic-version": "2020-01-01"}, 400, "invalid_request_error"),
        ({"anthropic-version": "2026-10-21"}, 200, None),
    ],
)
def test_credentials_and_version(
    api: Api, headers: dict[str, str | None], status: int, kind: str | None
) -> None:
    sent = {name: value for name, value in (HEADERS | headers).items() if value is not None}
    answer = httpx.get(f"{api.server.url}/v1/organizations/me", headers=sent)
    assert answer.status_code == status
    assert answer.json().get("error", {}).get("type") == kind
    assert answer.headers["request-id"].startswith("req_01")
    if kind:
        assert answer.json()["request_id"] == answer.headers["request-id"]


def test_other_paths_and_methods(api: Api) -> None:
    missing = api.get("/nothing")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    wrong = api.http.post("/me")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
