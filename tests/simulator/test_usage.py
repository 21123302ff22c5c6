"""The usage report: windows, paging, grouping and filters, against the ledger."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from anthropic_usage.simulator import Simulator

from .conftest import NOW, Api

USAGE = "/usage_report/messages"
BETA = "fast-mode-2026-02-01"
DIMENSIONS = (
    "api_key_id",
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
    "account_id",
    "service_account_id",
)
Totals = dict[tuple[Any, ...], Counter[str]]


def measures(row: dict[str, Any]) -> Counter[str]:
    cache = row["cache_creation"]
    return Counter(
        uncached_input_tokens=row["uncached_input_tokens"],
        cache_creation_5m_input_tokens=cache["ephemeral_5m_input_tokens"],
        cache_creation_1h_input_tokens=cache["ephemeral_1h_input_tokens"],
        cache_read_input_tokens=row["cache_read_input_tokens"],
        output_tokens=row["output_tokens"],
        web_search_requests=row["server_tool_use"]["web_search_requests"],
    )


def totals(buckets: list[dict[str, Any]], *by: str) -> Totals:
    sums: Totals = {}
    for bucket in buckets:
        for row in bucket["results"]:
            key = tuple(row[name] for name in by)
            sums.setdefault(key, Counter()).update(measures(row))
    return sums


def group_by(*names: str) -> list[tuple[str, str]]:
    return [("group_by[]", name) for name in names]


def window(start: str, end: str) -> list[tuple[str, str]]:
    return [("starting_at", start), ("ending_at", end)]


@pytest.mark.parametrize("width", ["1d", "1h", "1m"])
@pytest.mark.parametrize("by", [(), ("model",), DIMENSIONS[:5], DIMENSIONS[3:]])
def test_pages_add_up_to_the_ledger(
    api: Api, simulator: Simulator, width: str, by: tuple[str, ...]
) -> None:
    query = window("2026-11-16T00:00:00Z", "2026-11-18T00:00:00Z")
    query += [("bucket_width", width), ("limit", {"1d": "1", "1h": "17", "1m": "1000"}[width])]
    found = totals(api.data(USAGE, *query, *group_by(*by)), *by)
    assert found == simulator.ledger.usage(date(2026, 11, 16), date(2026, 11, 18), by=by)


def test_every_width_tells_the_same_story_up_to_this_minute(api: Api) -> None:
    by = ("model", "workspace_id", "service_tier")
    query = [("starting_at", "2026-11-19T00:00:00Z"), *group_by(*by)]
    future = ("ending_at", "2026-11-21T00:00:00Z")
    stories = [
        totals(api.data(USAGE, *query, future, ("bucket_width", width)), *by)
        for width in ("1m", "1h", "1d")
    ]
    assert stories[0] == stories[1] == stories[2]


def test_a_row_has_the_published_shape(api: Api, pytestconfig: pytest.Config) -> None:
    sample = msgspec.json.decode(
        (pytestconfig.rootpath / "tests/samples/usage_messages_docs.json").read_bytes()
    )
    answer = api.get(USAGE, ("starting_at", "2026-11-16T00:00:00Z"), *group_by("model")).json()
    assert set(answer) == set(sample)
    assert set(answer["data"][0]) == set(sample["data"][0])
    for row in answer["data"][0]["results"]:
        assert set(row) == set(sample["data"][0]["results"][0])
        assert row["model"] is not None
        assert all(row[name] is None for name in DIMENSIONS if name != "model")


def test_the_start_snaps_down_and_the_end_is_exclusive(api: Api) -> None:
    start = ("starting_at", "2026-11-16T13:59:59.5+01:00")
    hours = api.data(USAGE, start, ("ending_at", "2026-11-16T14:59:59Z"), ("bucket_width", "1h"))
    assert [(hour["starting_at"], hour["ending_at"]) for hour in hours] == [
        ("2026-11-16T12:00:00Z", "2026-11-16T13:00:00Z"),
        ("2026-11-16T13:00:00Z", "2026-11-16T14:00:00Z"),
    ]
    exact = api.data(USAGE, start, ("ending_at", "2026-11-16T15:00:00Z"), ("bucket_width", "1h"))
    assert exact[-1]["ending_at"] == "2026-11-16T15:00:00Z"
    day = window("2026-11-16T00:00:00Z", "2026-11-16T23:59:59Z")
    assert api.data(USAGE, *day) == []


@pytest.mark.parametrize(
    ("width", "default", "maximum"), [("1d", 7, 31), ("1h", 24, 168), ("1m", 60, 1440)]
)
def test_limits_of_each_width(api: Api, width: str, default: int, maximum: int) -> None:
    query = [("starting_at", "2026-10-01T00:00:00Z"), ("bucket_width", width)]
    assert len(api.get(USAGE, *query).json()["data"]) == default
    assert len(api.get(USAGE, *query, ("limit", str(maximum))).json()["data"]) == maximum
    assert "limit" in api.message(USAGE, *query, ("limit", str(maximum + 1)))
    assert "limit" in api.message(USAGE, *query, ("limit", "0"))
    assert "limit" in api.message(USAGE, *query, ("limit", "many"))


def test_without_an_end_the_report_stops_with_the_last_full_bucket(api: Api) -> None:
    days = api.data(USAGE, ("starting_at", "2026-11-18T00:00:00Z"))
    assert days[-1]["ending_at"] == "2026-11-20T00:00:00Z"


def test_an_end_in_the_future_adds_the_running_bucket_and_no_more(api: Api) -> None:
    days = api.data(USAGE, *window("2026-11-19T00:00:00Z", "2026-12-31T00:00:00Z"))
    assert [day["starting_at"][:10] for day in days] == ["2026-11-19", "2026-11-20"]
    assert days[-1]["results"]
    assert api.data(USAGE, *window("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z")) == []


def test_buckets_without_use_are_empty(api: Api) -> None:
    days = api.data(USAGE, *window("2024-01-30T00:00:00Z", "2024-02-02T00:00:00Z"))
    assert [day["results"] for day in days] == [[], [], []]


@pytest.mark.parametrize(
    ("parameter", "dimension"),
    [
        ("api_key_ids", "api_key_id"),
        ("workspace_ids", "workspace_id"),
        ("models", "model"),
        ("service_tiers", "service_tier"),
        ("context_window", "context_window"),
        ("inference_geos", "inference_geo"),
        ("account_ids", "account_id"),
        ("service_account_ids", "service_account_id"),
    ],
)
def test_a_filter_keeps_exactly_its_values(
    api: Api, simulator: Simulator, parameter: str, dimension: str
) -> None:
    query = window("2026-10-21T00:00:00Z", "2026-11-20T00:00:00Z")
    everything = totals(api.data(USAGE, *query, *group_by(dimension)), dimension)
    values = sorted(key[0] for key in everything if key[0] is not None)[:2]
    chosen = [(f"{parameter}[]", value) for value in values]
    kept = totals(api.data(USAGE, *query, *chosen, *group_by(dimension)), dimension)
    assert kept == {(value,): everything[value,] for value in values}
    start, end = date(2026, 10, 21), date(2026, 11, 20)
    assert kept == simulator.ledger.usage(start, end, by=[dimension], **{parameter: values})


def test_the_default_workspace_is_null_and_answers_to_its_own_id(api: Api) -> None:
    query = window("2026-11-01T00:00:00Z", "2026-11-08T00:00:00Z")
    spaces = api.get("/workspaces", ("include_default", "true")).json()["data"]
    default = next(space["id"] for space in spaces if space["name"] == "Default")
    chosen = api.data(USAGE, *query, ("workspace_ids[]", default), *group_by("workspace_id"))
    everything = api.data(USAGE, *query, *group_by("workspace_id"))
    found = totals(chosen, "workspace_id")
    assert set(found) == {(None,)}
    assert found[None,] == totals(everything, "workspace_id")[None,]


def test_an_unknown_id_selects_nothing(api: Api) -> None:
    query = window("2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z")
    assert api.data(USAGE, *query, ("models[]", "claude-none"))[0]["results"] == []


def test_speed_needs_the_beta_header(api: Api, simulator: Simulator) -> None:
    query = window("2026-11-01T00:00:00Z", "2026-11-20T00:00:00Z")
    assert "speed" in api.message(USAGE, *query, *group_by("speed"))
    assert "speeds[]" in api.message(USAGE, *query, ("speeds[]", "fast"))
    found = totals(
        api.data(USAGE, *query, *group_by("speed"), anthropic_beta=f"other-1, {BETA}"), "speed"
    )
    assert found == simulator.ledger.usage(date(2026, 11, 1), date(2026, 11, 20), by=["speed"])
    only = api.data(USAGE, *query, ("speeds[]", "standard"), anthropic_beta=BETA)
    assert totals(only)[()] == found["standard",]
    assert "speed" not in only[0]["results"][0]


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (("group_by", "model"), "group_by"),
        (("models", "claude-opus-5"), "models"),
        (("nonsense", "1"), "nonsense"),
        (("group_by[]", "colour"), "group_by[]"),
        (("group_by[]", ""), "group_by[]"),
        (("bucket_width", "1w"), "bucket_width"),
        (("service_tiers[]", "gold"), "service_tiers[]"),
        (("context_window[]", "1M"), "context_window[]"),
        (("inference_geos[]", "moon"), "inference_geos[]"),
        (("starting_at", "2026-11-02T00:00:00Z"), "starting_at"),
        (("ending_at", "2026-11-31T00:00:00Z"), "ending_at"),
        (("ending_at", "2026-11-05"), "ending_at"),
        (("ending_at", "2026-11-05T00:00:00"), "ending_at"),
        (("ending_at", "2026-11-05T00:00:00 00:00"), "ending_at"),
        (("page", "page_nothing"), "page"),
    ],
)
def test_refusals_name_the_parameter(api: Api, extra: tuple[str, str], named: str) -> None:
    message = api.message(USAGE, ("starting_at", "2026-11-01T00:00:00Z"), extra)
    assert message.startswith(f"{named}:")


def test_the_start_is_required(api: Api) -> None:
    assert api.message(USAGE).startswith("starting_at:")


def test_an_end_before_the_start_is_refused(api: Api) -> None:
    answer = api.get(USAGE, *window("2026-11-02T00:00:00Z", "2026-11-02T00:00:00Z"))
    assert answer.headers["x-should-retry"] == "false"
    assert "ending date must be after starting date" in answer.json()["error"]["message"]


def test_at_most_five_dimensions(api: Api) -> None:
    query = [("starting_at", "2026-11-01T00:00:00Z"), *group_by(*DIMENSIONS[:6])]
    assert api.message(USAGE, *query) == "Cannot specify more than 5 group_by[] dimensions."


def test_a_page_token_is_good_for_its_own_query_only(api: Api) -> None:
    query = [("starting_at", "2026-11-01T00:00:00Z"), *group_by("model")]
    page = ("page", api.get(USAGE, *query).json()["next_page"])
    assert api.get(USAGE, *reversed(query), page).status_code == 200
    assert api.message(USAGE, *query, ("limit", "3"), page).startswith("page:")
    assert api.message(USAGE, query[0], page).startswith("page:")
    assert api.message("/cost_report", query[0], page).startswith("page:")


def test_late_data_only_adds_until_it_settles(own: tuple[Simulator, Api]) -> None:
    simulator, api = own
    hour = ("starting_at", "2026-11-20T14:00:00Z"), ("ending_at", "2026-11-20T15:00:00Z")
    seen = []
    for minutes in (-40, -7, 0, 2, 5, 30, 61, 600):
        simulator.now = datetime(2026, 11, 20, 15, tzinfo=UTC) + timedelta(minutes=minutes)
        query = [*hour, ("bucket_width", "1h")]
        seen.append(totals(api.data(USAGE, *query)).get((), Counter())["uncached_input_tokens"])
    assert seen == sorted(seen)
    assert seen[0] < seen[2] < seen[-2] == seen[-1]


def test_a_restated_day_changes_and_its_neighbours_do_not(own: tuple[Simulator, Api]) -> None:
    simulator, api = own
    query = window("2026-11-10T00:00:00Z", "2026-11-13T00:00:00Z")
    before = api.data(USAGE, *query)
    cost = simulator.ledger.cost(date(2026, 11, 11), date(2026, 11, 12))[()]
    simulator.restate("2026-11-11", factor=1.5)
    after = api.data(USAGE, *query)
    assert [before[0], before[2]] == [after[0], after[2]]
    old, new = (totals([days[1]])[()]["output_tokens"] for days in (before, after))
    assert old * 149 // 100 < new <= old * 3 // 2
    assert simulator.ledger.cost(date(2026, 11, 11), date(2026, 11, 12))[()] > cost
    hourly = api.data(USAGE, *query, ("bucket_width", "1h"))
    assert totals(hourly) == totals(after)


def test_models_are_used_only_while_they_are_sold(api: Api) -> None:
    query = window("2026-02-01T00:00:00Z", "2026-11-20T00:00:00Z")
    released = {"claude-opus-5-5": "2026-09-22", "claude-sonnet-5": "2026-06-30"}
    seen: dict[str, str] = {}
    for day in api.data(USAGE, *query, ("limit", "31"), *group_by("model")):
        for row in day["results"]:
            seen.setdefault(row["model"], day["starting_at"][:10])
    assert len(seen) > 8
    for model, first in released.items():
        assert seen.get(model, first) >= first


def test_the_clock_is_the_simulated_one(api: Api) -> None:
    assert api.get("/me").headers["date"] == NOW.strftime("%a, %d %b %Y %H:%M:%S GMT")
