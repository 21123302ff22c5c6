"""Every cassette, replayed through both clients."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import warnings
from decimal import Decimal
from typing import Any

import pytest
from anthropic_usage import (
    AnthropicUsageError,
    ApiError,
    AsyncUsageClient,
    Retry,
    UsageClient,
)
from anthropic_usage.simulator import Simulator
from cassettes import FOLDER, exchanges, recorder
from scenarios import Scenario, catalogue, recording

pytestmark = pytest.mark.filterwarnings("ignore::anthropic_usage.NothingMatchedWarning")

AT = recording()
SCENARIOS = catalogue(AT)
ASKED = [scenario for scenario in SCENARIOS if scenario.call]
REPORTS = [scenario for scenario in ASKED if scenario.is_report and scenario.error is None]


def options(scenario: Scenario) -> dict[str, Any]:
    secret = (
        {"oauth_token": Simulator.DEMO_TOKEN} if scenario.oauth else {"api_key": Simulator.DEMO_KEY}
    )
    retry = Retry(attempts=scenario.attempts, base=0.001)
    return {**secret, "concurrency": 1, "retry": retry, "clock": lambda: AT.now}


def play(scenario: Scenario, then: Any = list) -> Any:
    """Ask a scenario's question of its cassette, all of which must be played."""
    with (
        recorder().use_cassette(scenario.name) as cassette,
        UsageClient(**options(scenario)) as client,
    ):
        answer = getattr(client, scenario.call)(**scenario.options)
        result = then(answer) if scenario.is_report else answer
    assert cassette.all_played
    return result


async def play_async(scenario: Scenario) -> Any:
    with recorder().use_cassette(scenario.name) as cassette:
        async with AsyncUsageClient(**options(scenario)) as client:
            answer = getattr(client, scenario.call)(**scenario.options)
            result = [row async for row in answer] if scenario.is_report else await answer
    assert cassette.all_played
    return result


def outcome(ask: Any) -> Any:
    try:
        return ask()
    except AnthropicUsageError as error:
        return type(error).__name__, str(error)


def results(scenario: Scenario) -> list[Any]:
    """Return the results of a cassette's good answers, read without our code."""
    bodies = [
        exchange["response"]["body"]["json"]
        for exchange in exchanges(FOLDER / f"{scenario.name}.json")
        if exchange["response"]["status"]["code"] == 200
    ]
    entries = [entry for body in bodies for entry in body["data"]]
    if scenario.call == "claude_code":
        return entries
    return [result for bucket in entries for result in bucket["results"]]


@pytest.mark.parametrize("scenario", ASKED, ids=lambda scenario: scenario.name)
def test_both_clients_give_the_same(scenario: Scenario) -> None:
    sync = outcome(lambda: play(scenario))
    assert outcome(lambda: asyncio.run(play_async(scenario))) == sync
    assert (isinstance(sync, tuple) and sync[0]) == (scenario.error or False)


@pytest.mark.parametrize("scenario", REPORTS, ids=lambda scenario: scenario.name)
def test_totals_are_the_sum_of_what_was_sent(scenario: Scenario) -> None:
    totals = play(scenario, lambda report: report.totals())
    sent = results(scenario)
    if scenario.call == "cost":
        assert totals.amount_cents == sum((Decimal(line["amount"]) for line in sent), Decimal())
        assert totals.amount_usd == totals.amount_cents / 100
    elif scenario.call == "usage":
        cache = [result["cache_creation"] for result in sent]
        assert (
            totals.as_dict()
            | {
                "uncached_input_tokens": sum(r["uncached_input_tokens"] for r in sent),
                "cache_creation_5m_input_tokens": sum(
                    c["ephemeral_5m_input_tokens"] for c in cache
                ),
                "cache_creation_1h_input_tokens": sum(
                    c["ephemeral_1h_input_tokens"] for c in cache
                ),
                "cache_read_input_tokens": sum(r["cache_read_input_tokens"] for r in sent),
                "output_tokens": sum(r["output_tokens"] for r in sent),
                "web_search_requests": sum(
                    r["server_tool_use"]["web_search_requests"] for r in sent
                ),
            }
            == totals.as_dict()
        )
    else:
        assert totals.num_sessions == sum(r["core_metrics"]["num_sessions"] for r in sent)
        cents = sum(m["estimated_cost"]["amount"] for r in sent for m in r["model_breakdown"])
        assert totals.estimated_cost_usd == Decimal(cents) / 100


@pytest.mark.parametrize("scenario", REPORTS, ids=lambda scenario: scenario.name)
def test_groups_add_up_to_the_totals(scenario: Scenario) -> None:
    report = play(scenario, lambda report: report.collect())
    totals = report.totals()
    for dimension in (*report.query.dimensions, "day", "week", "month"):
        groups = report.by(dimension)
        for measure in report.query.row.MEASURES:
            assert sum(getattr(row, measure) for row in groups) == getattr(totals, measure)


def test_every_width_and_page_was_asked_for() -> None:
    asked = [
        urllib.parse.parse_qs(urllib.parse.urlsplit(exchange["request"]["uri"]).query)
        for path in FOLDER.glob("*.json")
        if path.name != "recording.json"
        for exchange in exchanges(path)
    ]
    assert {query["bucket_width"][0] for query in asked if "bucket_width" in query} == {
        "1d",
        "1h",
        "1m",
    }
    assert sum("page" in query for query in asked) > 5


@pytest.mark.parametrize(
    "scenario",
    [scenario for scenario in ASKED if scenario.name.startswith("error_")],
    ids=lambda scenario: scenario.name,
)
def test_an_error_says_what_the_api_said(scenario: Scenario) -> None:
    (exchange,) = exchanges(FOLDER / f"{scenario.name}.json")
    said = exchange["response"]["body"]["json"]
    with pytest.raises(ApiError) as caught:
        play(scenario)
    error = caught.value
    assert type(error).__name__ == scenario.error
    assert (error.status, error.type) == (
        exchange["response"]["status"]["code"],
        said["error"]["type"],
    )
    assert (error.message, error.request_id) == (said["error"]["message"], said["request_id"])
    assert error.message in str(error)
    assert str(error.request_id) in str(error)


def test_a_request_that_is_not_on_the_cassette_is_refused() -> None:
    scenario = next(s for s in SCENARIOS if s.name == "usage_by_model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with recorder().use_cassette(scenario.name), UsageClient(**options(scenario)) as client:
            grouped = {**scenario.options, "group_by": ["model", "workspace_id"]}
            with pytest.raises(Exception, match="[Cc]assette|overwrite"):
                list(client.usage(**grouped))


def test_the_folder_says_that_it_is_simulated() -> None:
    assert AT.source == "simulator"
    assert "not recordings of the live API" in (FOLDER / "README.md").read_text()


def test_recorded_bodies_are_json() -> None:
    for path in FOLDER.glob("*.json"):
        for exchange in json.loads(path.read_text()).get("interactions", []):
            assert "json" in exchange["response"]["body"], path.name
