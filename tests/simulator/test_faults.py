"""Every fault does what it says, when it says."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from anthropic_usage.simulator import FAULTS, Fault, Simulator, parse_fault

from .conftest import HEADERS, Api

USAGE = "/usage_report/messages"
CLAUDE_CODE = "/usage_report/claude_code"
QUERY = (("starting_at", "2026-11-01T00:00:00Z"), ("group_by[]", "service_tier"))
Own = tuple[Simulator, Api]

STATUSES = {
    "400": "invalid_request_error",
    "401": "authentication_error",
    "403": "permission_error",
    "408": "timeout_error",
    "409": "conflict_error",
    "413": "request_too_large",
    "429": "rate_limit_error",
    "429-bare": "rate_limit_error",
    "429-reset": "rate_limit_error",
    "500": "api_error",
    "504": "timeout_error",
    "529": "overloaded_error",
}


def spoiled(own: Own, fault: str, path: str = USAGE, *query: tuple[str, str]) -> dict[str, Any]:
    simulator, api = own
    simulator.faults = [fault]
    answer = api.get(path, *(query or QUERY))
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.parametrize(("kind", "error"), STATUSES.items())
def test_statuses(own: Own, kind: str, error: str) -> None:
    simulator, api = own
    simulator.faults = [f"{kind}x1"]
    answer = api.get(USAGE, *QUERY)
    assert answer.status_code == int(kind[:3])
    assert answer.json()["error"]["type"] == error
    assert answer.json()["request_id"] == answer.headers["request-id"]
    assert api.get(USAGE, *QUERY).status_code == 200


def test_the_three_ways_of_429(own: Own) -> None:
    simulator, api = own
    reset = "anthropic-ratelimit-requests-reset"
    seen = []
    for fault in ("429", "429=0", "429-bare", "429-reset=90", "429-reset=-90"):
        simulator.faults = [fault]
        headers = api.get("/me").headers
        seen.append((headers.get("retry-after"), headers.get(reset)))
    assert seen == [
        ("1", None),
        ("0", None),
        (None, None),
        (None, "2026-11-20T15:09:00Z"),
        (None, "2026-11-20T15:06:00Z"),
    ]
    simulator.faults = []
    assert api.get("/me").headers["anthropic-ratelimit-requests-limit"] == "100000"


def test_pages_that_are_not_the_apis(own: Own) -> None:
    simulator, api = own
    for kind, status in (("html", 502), ("not-json", 200)):
        simulator.faults = [kind]
        answer = api.get("/me")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "text/html"
        assert answer.text.startswith("<html>")
    simulator.faults = ["empty-body"]
    assert (api.get("/me").status_code, api.get("/me").content) == (200, b"")
    simulator.faults = ["bad-gzip"]
    with pytest.raises(httpx.DecodingError):
        api.get("/me")


@pytest.mark.parametrize("kind", ["drop", "truncate", "truncate-chunked"])
def test_broken_connections(own: Own, kind: str) -> None:
    simulator, api = own
    simulator.faults = [f"{kind}#1"]
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        api.get(USAGE, *QUERY)
    assert ("incomplete" in str(caught.value)) == (kind == "truncate-chunked")
    assert api.get(USAGE, *QUERY).status_code == 200
    assert [request.status for request in api.server.requests] == [
        0 if kind == "drop" else 200,
        200,
    ]


def test_slow(own: Own) -> None:
    simulator, api = own
    simulator.faults = ["slow=0.2"]
    start = time.monotonic()
    assert api.get("/me").status_code == 200
    assert time.monotonic() - start >= 0.2


def test_redirect_leads_to_another_host_name(own: Own) -> None:
    simulator, api = own
    simulator.faults = ["redirect#1"]
    answer = api.get("/me", ("limit", "2"))
    assert answer.status_code == 302
    target = httpx.URL(answer.headers["location"])
    assert (target.host, target.port) == ("localhost", api.server.port)
    assert target.raw_path == b"/v1/organizations/me?limit=2"


def test_broken_paging(own: Own) -> None:
    for path, query in ((USAGE, QUERY), (CLAUDE_CODE, (("starting_at", "2026-11-18"),))):
        page = spoiled(own, "has-more-without-next-page", path, *query)
        assert (page["has_more"], page["next_page"]) == (True, None)
        first = spoiled(own, "repeat-cursor", path, *query)
        second = spoiled(own, "repeat-cursor", path, *query, ("page", first["next_page"]))
        assert second == first


def test_broken_order_of_buckets(own: Own) -> None:
    starts = [
        [bucket["starting_at"] for bucket in spoiled(own, fault)["data"]]
        for fault in ("slow=0", "missing-bucket", "duplicate-bucket", "out-of-order")
    ]
    good, missing, duplicate, disorder = starts
    assert missing == good[:3] + good[4:]
    assert duplicate == good[:1] + good
    assert disorder == [good[1], good[0], *good[2:]]


def test_unknown_things(own: Own) -> None:
    page = spoiled(own, "unknown-field")
    assert "novelty" in page
    assert "novelty" in page["data"][0]
    assert "novelty" in page["data"][0]["results"][0]
    tier = spoiled(own, "unknown-enum")["data"][0]["results"][0]["service_tier"]
    assert tier == "something_new"
    day = ("starting_at", "2026-11-18")
    record = spoiled(own, "unknown-enum", CLAUDE_CODE, day)["data"][0]
    assert record["customer_type"] == "something_new"
    actor = spoiled(own, "unknown-actor", CLAUDE_CODE, day)["data"][0]["actor"]
    assert actor["type"] == "robot_actor"


@pytest.mark.parametrize(
    ("path", "query", "measure"),
    [
        (USAGE, QUERY, "output_tokens"),
        ("/cost_report", QUERY[:1], "amount"),
        (CLAUDE_CODE, (("starting_at", "2026-11-18"),), "num_sessions"),
    ],
)
def test_broken_measures(
    own: Own, path: str, query: tuple[tuple[str, str], ...], measure: str
) -> None:
    def row(fault: str) -> dict[str, Any]:
        item = spoiled(own, fault, path, *query)["data"][0]
        found = item["results"][0] if "results" in item else item["core_metrics"]
        return dict(found)

    assert measure not in row("missing-measure")
    assert row("null-measure")[measure] is None
    assert isinstance(row("wrong-type")[measure], dict)


def test_data_faults_leave_lookups_and_errors_alone(own: Own) -> None:
    simulator, api = own
    simulator.faults = ["unknown-field"]
    assert "novelty" not in api.get("/me").json()
    assert "novelty" not in api.get(USAGE).json()
    assert "novelty" in api.get(USAGE, *QUERY).json()


def test_a_fault_can_be_bound_to_an_endpoint_a_number_and_a_count(own: Own) -> None:
    simulator, api = own
    simulator.faults = ["500@users#2", "529@lookupsx1"]
    paths = ("/users", "/users", "/users", "/me")
    assert [api.get(path).status_code for path in paths] == [529, 500, 200, 200]
    assert api.get(USAGE, *QUERY).status_code == 200


def test_probability_is_drawn_from_the_seed(own: Own) -> None:
    simulator, api = own
    runs = []
    for _ in range(2):
        simulator.faults = ["500:0.3"]
        runs.append([api.get("/me").status_code for _ in range(60)])
    assert runs[0] == runs[1]
    assert 5 < runs[0].count(500) < 35


def test_the_grammar() -> None:
    whole = parse_fault("429=2.5:0.25@claude-code#3x4")
    assert whole == Fault("429", 2.5, 0.25, "claude_code", 3, 4)
    assert parse_fault("truncate-chunkedx2") == Fault("truncate-chunked", times=2)
    assert all(parse_fault(kind).kind == kind for kind in FAULTS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "truncate-chunked"),
        ("teapot", "truncate-chunked"),
        ("429:", "PROBABILITY"),
        ("500:1.5", "between 0 and 1"),
        ("500=3", "takes no seconds"),
        ("slow=-1", "negative"),
        ("500@nowhere", "service_accounts"),
        ("missing-bucket@users", "only happens to"),
        ("500#0", "counted from 1"),
    ],
)
def test_a_bad_fault_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


def test_requests_per_minute() -> None:
    with Simulator(size=0.1, days=3, requests_per_minute=3).serve() as server:
        url = f"{server.url}/v1/organizations/me"
        answers = [httpx.get(url, headers=HEADERS) for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    # A minute may turn in between, which allows for three more.
    assert 2 <= len(refused) <= 5
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
