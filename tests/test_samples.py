"""Every published answer of the API decodes, and says what its page says."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import ApiError, ClaudeCodeRow, CostRow, IncompleteReport, Retry, UsageRow
from anthropic_usage import UsageClient as Client
from anthropic_usage.engine.flow import Reply, exchange
from anthropic_usage.reports import CLAUDE_CODE, COST, USAGE, Query
from support import KEY, Answer, Loopback

SAMPLES = Path(__file__).parent / "samples"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.json"))
KINDS = {"usage": UsageRow, "cost": CostRow, "claude": ClaudeCodeRow}
QUERIES: dict[str, Query] = {
    "usage": USAGE.ask("2025-08-01", "2025-08-02"),
    "cost": COST.ask("2025-08-01", "2025-08-02"),
    "claude": CLAUDE_CODE.ask("2025-08-01", "2025-08-02"),
}


def body_of(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", [n for n in NAMES if n.split("_")[0] in KINDS])
def test_a_published_report_decodes(name: str) -> None:
    kind = name.split("_")[0]
    published = json.loads(body_of(name))
    found = list(QUERIES[kind].rows(QUERIES[kind].decode(body_of(name))))
    entries = published["data"]
    if kind != "claude":
        entries = [result for bucket in entries for result in bucket["results"]]
    assert len(found) == len(entries)
    for row, entry in zip(found, entries, strict=True):
        assert isinstance(row, KINDS[kind])
        for dimension in set(row.DIMENSIONS).intersection(entry) - {"actor"}:
            assert getattr(row, dimension) == entry[dimension]
        if "actor" in entry:
            assert row.as_dict()["actor"] == entry["actor"]["email_address"]


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("error")])
def test_a_published_error_keeps_its_words(name: str) -> None:
    published = json.loads(body_of(name))
    flow = exchange({}, Retry(attempts=1))
    next(flow)
    with pytest.raises(ApiError) as caught:
        flow.send(Reply(int(name.split("_")[1]), {}, body_of(name)))
    assert caught.value.type == published["error"]["type"]
    assert caught.value.message == published["error"]["message"]
    assert caught.value.request_id == published.get("request_id")
    assert published["error"]["message"] in str(caught.value)


LOOKUPS = {
    "lookup_api_keys_2023-06-01_docs": "api_keys",
    "lookup_organization_me_docs": "organization",
    "lookup_service_accounts_docs": "service_accounts",
    "lookup_users_docs": "users",
    "lookup_workspaces_docs": "workspaces",
}


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("lookup")])
def test_a_published_lookup_decodes(name: str) -> None:
    published = json.loads(body_of(name))
    last = {**published, "has_more": False}
    if "next_page" in published:
        last["next_page"] = None
    with (
        Loopback(lambda asked: Answer(body=json.dumps(last).encode())) as server,
        Client(KEY, base_url=server.url) as client,
    ):
        found = getattr(client, LOOKUPS[name])()
    if LOOKUPS[name] == "organization":
        assert (found.id, found.name) == (published["id"], published["name"])
    else:
        assert [item.id for item in found] == [item["id"] for item in published["data"]]
        assert found[0].name == published["data"][0]["name"]


def usage(changes: dict[str, Any]) -> list[Any]:
    body = json.loads(body_of("usage_messages_docs"))
    body["data"][0]["results"][0].update(changes)
    return list(QUERIES["usage"].rows(QUERIES["usage"].decode(json.dumps(body).encode())))


@pytest.mark.parametrize("tokens", ["1", 1.5, -0.5, [], {}, None, True])
def test_a_count_of_another_type_is_refused_with_its_path(tokens: Any) -> None:
    with pytest.raises(IncompleteReport, match=r"usage report's shape changed.*output_tokens"):
        usage({"output_tokens": tokens})


def test_a_count_is_exact_however_large() -> None:
    (row,) = usage({"output_tokens": 10**30 + 1})
    assert row.output_tokens == 10**30 + 1


@pytest.mark.parametrize("dimension", UsageRow.DIMENSIONS)
def test_dimensions_may_be_missing_null_or_new(dimension: str) -> None:
    body = json.loads(body_of("usage_messages_docs"))
    body["data"][0]["results"][0].pop(dimension, None)
    query = QUERIES["usage"]
    (row,) = query.rows(query.decode(json.dumps(body).encode()))
    assert getattr(row, dimension) is None
    assert getattr(usage({dimension: None})[0], dimension) is None
    assert getattr(usage({dimension: "never-seen"})[0], dimension) == "never-seen"


@pytest.mark.parametrize("moment", ["2025-08-01", "2025-08-01T00:00:00", 1754006400, None, "soon"])
def test_a_bucket_must_say_when_it_is(moment: Any) -> None:
    body = json.loads(body_of("cost_docs"))
    body["data"][0]["starting_at"] = moment
    with pytest.raises(IncompleteReport, match=r"starting_at"):
        QUERIES["cost"].decode(json.dumps(body).encode())


def test_moments_are_given_in_utc() -> None:
    body = json.loads(body_of("cost_docs"))
    body["data"][0]["starting_at"] = "2025-08-01T02:00:00+02:00"
    (row,) = QUERIES["cost"].rows(QUERIES["cost"].decode(json.dumps(body).encode()))
    assert row.as_dict()["starting_at"].utcoffset() == dt.timedelta()
    assert row.as_dict()["starting_at"] == dt.datetime(2025, 8, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("written", "cents"),
    [("123.45", "123.45"), ("94.662", "94.662"), ("1.5E2", "150"), ("1e-7", "1e-7"), ("-3", "-3")],
)
def test_an_amount_is_its_own_digits_in_cents(written: str, cents: str) -> None:
    body = json.loads(body_of("cost_docs"))
    body["data"][0]["results"][0]["amount"] = written
    (row,) = QUERIES["cost"].rows(QUERIES["cost"].decode(json.dumps(body).encode()))
    assert isinstance(row, CostRow)
    assert row.amount_cents == Decimal(cents)
    assert row.amount_usd == Decimal(cents) / 100
    assert type(row.amount_usd) is Decimal


def test_a_number_where_a_decimal_string_belongs_is_refused() -> None:
    """A JSON number would have been a float on the way, so it cannot be trusted."""
    body = json.loads(body_of("cost_docs"))
    body["data"][0]["results"][0]["amount"] = 123.45
    with pytest.raises(IncompleteReport, match=r"amount"):
        QUERIES["cost"].check(QUERIES["cost"].decode(json.dumps(body).encode()))


@pytest.mark.parametrize("actor", [{}, {"type": 5}, {"type": "new", "n": 1}, {"x": ["y"]}])
def test_an_actor_of_any_kind_is_read(actor: dict[str, Any]) -> None:
    body = json.loads(body_of("claude_code_docs"))
    body["data"][0]["actor"] = actor
    (row,) = QUERIES["claude"].rows(QUERIES["claude"].decode(json.dumps(body).encode()))
    assert row.as_dict()["actor"] is None


def test_a_row_as_a_dict_has_all_columns_in_order() -> None:
    (row,) = usage({})
    assert tuple(row.as_dict()) == UsageRow.columns()
    assert row.as_dict()["total_tokens"] == row.total_tokens
    with pytest.raises(AttributeError):
        row.output_tokens = 1
