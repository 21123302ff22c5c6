"""Bytes to rows: exact, open to growth, closed to nonsense."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import AnthropicUsageError, IncompleteReport
from anthropic_usage.money import dollars, parse_amount, plain, total
from anthropic_usage.reports import (
    CLAUDE_CODE,
    COST,
    USAGE,
    ClaudeCodeRow,
    CostRow,
    Query,
    ToolUse,
    UsageRow,
)
from hypothesis import given
from hypothesis import strategies as st

SAMPLES = Path(__file__).parent / "samples"
QUERIES: dict[str, Query] = {
    "usage_messages_docs": USAGE.ask("2025-08-01", "2025-08-02"),
    "cost_docs": COST.ask("2025-08-01", "2025-08-02"),
    "claude_code_docs": CLAUDE_CODE.ask("2025-08-08", "2025-08-09"),
}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def read(name: str, body: Any) -> list[Any]:
    query = QUERIES[name]
    return list(query.rows(query.decode(json.dumps(body).encode())))


def test_row_fields_are_the_documented_ones() -> None:
    assert " ".join(UsageRow.columns()) == (
        "starting_at ending_at api_key_id workspace_id model service_tier context_window "
        "inference_geo account_id service_account_id speed uncached_input_tokens "
        "cache_creation_5m_input_tokens cache_creation_1h_input_tokens cache_read_input_tokens "
        "output_tokens web_search_requests input_tokens total_tokens"
    )
    assert " ".join(CostRow.columns()) == (
        "starting_at ending_at workspace_id description cost_type model token_type service_tier "
        "context_window inference_geo currency amount_cents amount_usd"
    )
    assert " ".join(ClaudeCodeRow.columns()) == (
        "date actor actor_type organization_id customer_type subscription_type terminal_type "
        "is_remote num_sessions lines_added lines_removed commits_by_claude_code "
        "pull_requests_by_claude_code edit_tool_accepted edit_tool_rejected "
        "multi_edit_tool_accepted multi_edit_tool_rejected write_tool_accepted "
        "write_tool_rejected notebook_edit_tool_accepted notebook_edit_tool_rejected "
        "input_tokens output_tokens cache_read_tokens cache_creation_tokens estimated_cost_usd "
        "models"
    )


def test_the_published_usage() -> None:
    (row,) = read("usage_messages_docs", sample("usage_messages_docs"))
    assert row.starting_at == dt.datetime(2025, 8, 1, tzinfo=dt.UTC)
    assert (row.cache_creation_5m_input_tokens, row.cache_creation_1h_input_tokens) == (500, 1000)
    assert (row.input_tokens, row.total_tokens) == (3200, 3700)
    assert (row.day, row.week, row.month) == (dt.date(2025, 8, 1), dt.date(2025, 7, 28), "2025-08")


def test_the_published_cost_is_cents() -> None:
    (row,) = read("cost_docs", sample("cost_docs"))
    assert (row.amount_cents, row.amount_usd) == (Decimal("123.78912"), Decimal("1.2378912"))


def test_the_published_claude_code() -> None:
    (row,) = read("claude_code_docs", sample("claude_code_docs"))
    assert (row.actor, row.actor_type) == ("user@emaildomain.com", "user_actor")
    assert (row.estimated_cost_usd, len(row.models)) == (Decimal("2.28"), 2)


def test_growth_never_breaks_a_read() -> None:
    usage = sample("usage_messages_docs")
    result = usage["data"][0]["results"][0]
    result |= {"thinking_tokens": {"deep": 1}, "service_tier": "platinum", "speed": "warp"}
    usage["trace"] = 1
    (row,) = read("usage_messages_docs", usage)
    assert (row.service_tier, row.speed) == ("platinum", "warp")

    code = sample("claude_code_docs")
    record = code["data"][0]
    record |= {"actor": {"type": "swarm_actor", "swarm_name": "bees"}}
    record["tool_actions"]["bash_tool"] = {"accepted": 3, "rejected": 1}
    (row,) = read("claude_code_docs", code)
    assert (row.actor, row.actor_type) == ("bees", "swarm_actor")
    assert row.other_tools == (ToolUse(tool="bash_tool", accepted=3, rejected=1),)


MEASURES = {
    "usage_messages_docs": [
        ("uncached_input_tokens",),
        ("cache_creation",),
        ("cache_creation", "ephemeral_5m_input_tokens"),
        ("cache_creation", "ephemeral_1h_input_tokens"),
        ("cache_read_input_tokens",),
        ("output_tokens",),
        ("server_tool_use", "web_search_requests"),
    ],
    "cost_docs": [("amount",), ("currency",)],
    "claude_code_docs": [
        ("core_metrics", "num_sessions"),
        ("core_metrics", "lines_of_code", "added"),
        ("model_breakdown", 0, "tokens", "cache_read"),
        ("model_breakdown", 0, "estimated_cost", "amount"),
        ("tool_actions", "edit_tool", "accepted"),
    ],
}


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, ps in MEASURES.items() for p in ps])
@pytest.mark.parametrize("spoil", ["missing", None, "many", [1], True, {}])
def test_a_measure_that_is_none_is_refused_with_its_place(
    name: str, path: tuple[Any, ...], spoil: Any
) -> None:
    body = sample(name)
    entry = body["data"][0]
    place = entry if name == "claude_code_docs" else entry["results"][0]
    for step in path[:-1]:
        place = place[step]
    if spoil == "missing":
        del place[path[-1]]
    else:
        place[path[-1]] = spoil
    with pytest.raises(IncompleteReport, match=r"(?s)\$"):
        read(name, body)


@pytest.mark.parametrize(
    "amount", ["NaN", "Infinity", "1_000", " 1", "1,5", "0x1", "", "١", "1e99", "1e-99", "--1"]
)
def test_what_is_no_amount_of_money_is_refused(amount: str) -> None:
    body = sample("cost_docs")
    body["data"][0]["results"][0]["amount"] = amount
    with pytest.raises(IncompleteReport, match="amount"):
        read("cost_docs", body)


def test_dollars_only() -> None:
    body = sample("cost_docs")
    body["data"][0]["results"][0]["currency"] = "EUR"
    with pytest.raises(IncompleteReport, match="EUR"):
        read("cost_docs", body)


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        ("141", "141"),
        ("0.1", "0.1"),
        ('"12.345"', "12.345"),
        ("1e2", "100"),
        ("0.30000000000000004", "0.30000000000000004"),
    ],
)
def test_an_estimate_is_read_digit_by_digit(written: str, cents: str) -> None:
    text = json.dumps(sample("claude_code_guide")).replace('"amount": 141', f'"amount": {written}')
    query = QUERIES["claude_code_docs"]
    (row,) = query.rows(query.decode(text.encode()))
    assert row.estimated_cost_usd * 100 == Decimal(cents)  # type: ignore[attr-defined]


AMOUNTS = st.decimals(-(10**12), 10**12, allow_nan=False, places=12) | st.from_regex(
    r"-?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9])?", fullmatch=True
).filter(str.isascii).map(Decimal)


@given(st.lists(AMOUNTS, max_size=30))
def test_money_is_exact(amounts: list[Decimal]) -> None:
    read_back = [parse_amount(str(amount)) for amount in amounts]
    exact = sum((Fraction(amount) for amount in amounts), Fraction())
    assert Fraction(total(read_back)) == exact
    assert Fraction(dollars(total(read_back))) == exact / 100
    assert all(Decimal(plain(amount)) == amount for amount in amounts)
    assert all("e" not in plain(amount).lower() for amount in amounts)


@given(st.data(), st.sampled_from(sorted(QUERIES)))
def test_damaged_bytes_only_ever_raise_our_own_error(data: st.DataObject, name: str) -> None:
    body = bytearray((SAMPLES / f"{name}.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
        at = data.draw(st.integers(0, max(0, len(body) - 1)))
        if kind == "flip" and body:
            body[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del body[at:]
        elif kind == "insert":
            body[at:at] = data.draw(
                st.binary(max_size=6) | st.sampled_from([b"null", b"1e400", b"[[[[", b'"\xff"'])
            )
        else:
            del body[at : at + data.draw(st.integers(1, 9))]
    query = QUERIES[name]
    try:
        for row in query.rows(query.decode(bytes(body))):
            row.as_dict()
    except AnthropicUsageError:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.data(), st.sampled_from(sorted(QUERIES)), JSON)
def test_any_value_anywhere_only_ever_raises_our_own_error(
    data: st.DataObject, name: str, value: Any
) -> None:
    body = sample(name)
    place: Any = body
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = value
            break
        place = place[key]
    try:
        for row in read(name, body):
            row.as_dict()
    except AnthropicUsageError:
        pass
