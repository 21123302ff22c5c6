"""Generated code asks exactly what the API understands, and loses nothing of what it answers."""

import ast
import datetime
import importlib
import json
import pkgutil
import sys

import anthropic_admin_client
import httpx
import pytest
from anthropic_admin_client import models
from anthropic_admin_client.api.claude_code import get_claude_code_usage_report
from anthropic_admin_client.api.cost import get_cost_report
from anthropic_admin_client.api.organization import (
    get_organization,
    list_api_keys,
    list_service_accounts,
    list_users,
    list_workspaces,
)
from anthropic_admin_client.api.usage import get_messages_usage_report
from anthropic_admin_client.types import UNSET, decode_datetime, encode_datetime

UTC = datetime.UTC
START = datetime.datetime(2026, 2, 1, tzinfo=UTC)
END = datetime.datetime(2026, 3, 1, tzinfo=UTC)
MODULES = {
    "UsageReport": get_messages_usage_report,
    "CostReport": get_cost_report,
    "ClaudeCodeReport": get_claude_code_usage_report,
    "Organization": get_organization,
    "WorkspaceList": list_workspaces,
    "ApiKeyList": list_api_keys,
    "UserList": list_users,
    "ServiceAccountList": list_service_accounts,
}


def sent(**kwargs):
    """The request that httpx would send."""
    with httpx.Client(base_url="https://api.anthropic.com") as client:
        return client.build_request(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        pytest.param(
            get_messages_usage_report.request(starting_at=START),
            "/v1/organizations/usage_report/messages?starting_at=2026-02-01T00%3A00%3A00Z",
            id="usage, only what is required",
        ),
        pytest.param(
            get_messages_usage_report.request(
                starting_at=START,
                ending_at=END,
                bucket_width="1m",
                group_by=["model", "workspace_id"],
                models=["claude-opus-5", "claude-sonnet-5"],
                workspace_ids=["wrkspc_01"],
                limit=1440,
                page="page_MjAy=",
                api_key_ids=["apikey_01", "apikey_02"],
                account_ids=["user_01"],
                service_account_ids=["svac_01"],
                service_tiers=["standard", "flex_discount"],
                context_window=["0-200k", "200k-1M"],
                inference_geos=["us", "not_available"],
                speeds=["fast"],
                anthropic_beta="fast-mode-2026-02-01",
            ),
            "/v1/organizations/usage_report/messages"
            "?starting_at=2026-02-01T00%3A00%3A00Z&ending_at=2026-03-01T00%3A00%3A00Z"
            "&bucket_width=1m&group_by%5B%5D=model&group_by%5B%5D=workspace_id"
            "&models%5B%5D=claude-opus-5&models%5B%5D=claude-sonnet-5"
            "&workspace_ids%5B%5D=wrkspc_01&limit=1440&page=page_MjAy%3D"
            "&api_key_ids%5B%5D=apikey_01&api_key_ids%5B%5D=apikey_02"
            "&account_ids%5B%5D=user_01&service_account_ids%5B%5D=svac_01"
            "&service_tiers%5B%5D=standard&service_tiers%5B%5D=flex_discount"
            "&context_window%5B%5D=0-200k&context_window%5B%5D=200k-1M"
            "&inference_geos%5B%5D=us&inference_geos%5B%5D=not_available&speeds%5B%5D=fast",
            id="usage, everything",
        ),
        pytest.param(
            get_cost_report.request(
                starting_at=START,
                ending_at=END,
                page="page_1",
                bucket_width="1d",
                group_by=["workspace_id", "description"],
                limit=31,
            ),
            "/v1/organizations/cost_report"
            "?starting_at=2026-02-01T00%3A00%3A00Z&ending_at=2026-03-01T00%3A00%3A00Z&page=page_1"
            "&bucket_width=1d&group_by%5B%5D=workspace_id&group_by%5B%5D=description&limit=31",
            id="cost",
        ),
        pytest.param(
            get_claude_code_usage_report.request(
                starting_at=datetime.date(2026, 2, 1), limit=1000, page="page_1"
            ),
            "/v1/organizations/usage_report/claude_code"
            "?starting_at=2026-02-01&limit=1000&page=page_1",
            id="claude_code",
        ),
        pytest.param(get_organization.request(), "/v1/organizations/me", id="organization"),
        pytest.param(
            list_workspaces.request(
                limit=1000,
                after_id="wrkspc_01",
                before_id="wrkspc_09",
                include_archived=True,
                include_default=False,
                ids=["wrkspc_02", "wrkspc_03"],
            ),
            "/v1/organizations/workspaces?limit=1000&after_id=wrkspc_01&before_id=wrkspc_09"
            "&include_archived=true&include_default=false&ids%5B%5D=wrkspc_02&ids%5B%5D=wrkspc_03",
            id="workspaces",
        ),
        pytest.param(
            list_api_keys.request(
                limit=1,
                after_id="apikey_01",
                status="active",
                workspace_id="wrkspc_01",
                created_by_user_id="user_01",
            ),
            "/v1/organizations/api_keys?limit=1&after_id=apikey_01&status=active"
            "&workspace_id=wrkspc_01&created_by_user_id=user_01",
            id="api_keys",
        ),
        pytest.param(
            list_users.request(limit=1, after_id="user_01", email="a+b@example.com"),
            "/v1/organizations/users?limit=1&after_id=user_01&email=a%2Bb%40example.com",
            id="users",
        ),
        pytest.param(
            list_service_accounts.request(limit=1, page="page_1"),
            "/v1/organizations/service_accounts?limit=1&page=page_1",
            id="service_accounts",
        ),
    ],
)
def test_requests_on_the_wire(kwargs, expected):
    """Method, path and query, byte for byte, as httpx encodes them."""
    request = sent(**kwargs)
    assert request.method == "GET"
    assert request.url.raw_path.decode() == expected
    assert request.headers["anthropic-version"] == "2023-06-01"


def test_every_operation_is_covered_here(spec):
    """A new operation needs its request spelt out above."""
    paths = [module.request.__module__ for module in MODULES.values()]
    assert len(set(paths)) == len(spec["paths"])


def test_headers_carry_the_version_and_betas_only():
    """Credentials are the transport's; generated code never holds them."""
    asked = {"starting_at": START, "anthropic_version": "2026-10-21", "anthropic_beta": "b"}
    headers = get_messages_usage_report.request(**asked)["headers"]
    assert headers == {"anthropic-version": "2026-10-21", "anthropic-beta": "b"}
    assert get_organization.request()["headers"] == {"anthropic-version": "2023-06-01"}


def test_times_are_sent_in_utc():
    """Any zone will do, for the instant is what counts."""
    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    start = datetime.datetime(2026, 2, 1, 9, tzinfo=tokyo)
    params = get_cost_report.request(starting_at=start)["params"]
    assert params == {"starting_at": "2026-02-01T00:00:00Z"}


def test_a_time_without_a_zone_is_refused():
    """It would mean another window for every reader."""
    with pytest.raises(ValueError, match="has no time zone"):
        get_cost_report.request(starting_at=datetime.datetime(2026, 2, 1))
    with pytest.raises(ValueError, match="has no time zone"):
        decode_datetime("2026-02-01T00:00:00")


def test_a_time_for_a_day_is_refused():
    """A datetime is a date to Python, and the API answers 400 to it."""
    with pytest.raises(ValueError, match="is a time, not a day"):
        get_claude_code_usage_report.request(starting_at=START)


@pytest.mark.parametrize(
    "text", ["2026-02-01T00:00:00Z", "2019-12-27T18:11:19.117Z", "2024-10-30T23:58:27.427722Z"]
)
def test_times_are_written_as_they_were_read(text):
    """With as many digits as they came with."""
    assert encode_datetime(decode_datetime(text)) == text


def test_published_answers_survive_decoding_and_encoding(sample_path, sample_class):
    """Nothing is lost or changed, known or not, for every published answer."""
    body = json.loads(sample_path.read_text())
    if sample_class in MODULES:
        decoded = MODULES[sample_class].parse(body)
    else:
        decoded = models.ErrorBody.from_dict(body)
    assert type(decoded).__name__ == sample_class
    assert decoded.to_dict() == body
    assert json.loads(sample_path.read_text()) == body


def test_an_unknown_actor_survives(read_sample):
    """A kind that is new to us is kept whole, beside the known ones."""
    body = read_sample("claude_code_docs")
    actor = {"type": "team_actor", "team": {"id": "team_01"}}
    body["data"].append({**body["data"][0], "actor": actor})
    report = get_claude_code_usage_report.parse(body)
    known, unknown = (record.actor for record in report.data)
    assert isinstance(known, models.UserActor)
    assert isinstance(unknown, models.UnknownActor)
    assert unknown.type_ == "team_actor"
    assert unknown["team"] == {"id": "team_01"}
    assert report.to_dict() == body


def test_both_known_actors_are_told_apart(read_sample):
    """A person has an address, a key has a name."""
    body = read_sample("claude_code_docs")
    body["data"][0]["actor"] = {"type": "api_actor", "api_key_name": "ci"}
    actor = get_claude_code_usage_report.parse(body).data[0].actor
    assert actor == models.ApiActor(type_="api_actor", api_key_name="ci")


def test_unknown_values_survive(read_sample):
    """A tier, a place, a tool or a kind of cost that is new to us is a string like any other."""
    usage = read_sample("usage_messages_docs")
    usage["data"][0]["results"][0] |= {"service_tier": "express", "inference_geo": "eu"}
    cost = read_sample("cost_docs")
    cost["data"][0]["results"][0]["cost_type"] = "memory"
    claude_code = read_sample("claude_code_docs")
    claude_code["data"][0]["tool_actions"]["new_tool"] = {"accepted": 1, "rejected": 2}

    result = get_messages_usage_report.parse(usage).data[0].results[0]
    assert (result.service_tier, result.inference_geo) == ("express", "eu")
    assert get_cost_report.parse(cost).data[0].results[0].cost_type == "memory"
    tools = get_claude_code_usage_report.parse(claude_code).data[0].tool_actions
    assert tools["new_tool"] == models.ToolAction(accepted=1, rejected=2)


def test_unknown_fields_survive_at_every_level(read_sample):
    """What the specification does not know is kept where it was found."""
    body = read_sample("usage_messages_docs")
    result = body["data"][0]["results"][0]
    for level in (body, body["data"][0], result, result["cache_creation"]):
        level["invented"] = {"deeply": ["nested"]}
    report = get_messages_usage_report.parse(body)
    assert report.additional_properties == {"invented": {"deeply": ["nested"]}}
    assert report.to_dict() == body


@pytest.mark.parametrize(
    "path",
    [
        ("output_tokens",),
        ("uncached_input_tokens",),
        ("cache_read_input_tokens",),
        ("cache_creation",),
        ("cache_creation", "ephemeral_1h_input_tokens"),
        ("cache_creation", "ephemeral_5m_input_tokens"),
        ("server_tool_use",),
        ("server_tool_use", "web_search_requests"),
    ],
    ids=".".join,
)
def test_a_missing_measure_fails(path, read_sample):
    """It is never taken for a zero."""
    body = read_sample("usage_messages_docs")
    holder = body["data"][0]["results"][0]
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]
    with pytest.raises(KeyError, match=path[-1]):
        get_messages_usage_report.parse(body)


def test_an_absent_dimension_is_told_from_null(read_sample):
    """Null is the default workspace; absent is nothing at all."""
    body = read_sample("usage_messages_docs")
    result = body["data"][0]["results"][0]
    result["workspace_id"] = None
    del result["model"]
    decoded = get_messages_usage_report.parse(body)
    assert decoded.data[0].results[0].workspace_id is None
    assert decoded.data[0].results[0].model is UNSET
    assert decoded.data[0].results[0].speed is UNSET
    assert decoded.to_dict() == body


def test_an_unset_field_is_false_and_names_itself():
    """It reads well in a test and in a traceback."""
    assert not UNSET
    assert repr(UNSET) == "UNSET"


def test_the_package_imports_nothing_but_attrs_and_the_standard_library():
    """Sending is the facade's; a new HTTP library must not touch generated code."""
    prefix = f"{anthropic_admin_client.__name__}."
    for module in pkgutil.walk_packages(anthropic_admin_client.__path__, prefix):
        source = importlib.util.find_spec(module.name).origin
        with open(source, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
            assert foreign <= {"attrs"}, module.name


def test_every_named_schema_has_a_class(spec):
    """The specification's words are the words of the code; actors are a union of theirs."""
    assert set(models.__all__) == spec["components"]["schemas"].keys() - {"Actor"}
