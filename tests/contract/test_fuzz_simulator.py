"""schemathesis asks the simulator whatever the patched specification allows, and more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from anthropic_usage.simulator import Server, Simulator
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

SPEC = Path(__file__).parents[2] / "openapi" / "anthropic-usage-cost-api.patched.yml"

NOW = dt.datetime(2026, 11, 20, 15, tzinfo=dt.UTC)

schema = schemathesis.openapi.from_path(SPEC)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Server]:
    with Simulator(seed=3, size=0.2, days=60, now=NOW).serve() as server:
        yield server


@schema.parametrize()
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_simulator_keeps_to_the_specification(
    case: schemathesis.Case, stand_in: Server
) -> None:
    service_accounts = case.path.endswith("service_accounts")
    credentials = (
        {"authorization": f"Bearer {Simulator.DEMO_TOKEN}"}
        if service_accounts
        else {"x-api-key": Simulator.DEMO_KEY}
    )
    case.call_and_validate(
        base_url=stand_in.url,
        headers={"anthropic-version": "2023-06-01", **credentials},
        # Random cursors and ids are refused, as they must be; and where the specification names
        # two ways to authenticate, dropping one of them is not asking without.
        excluded_checks=[_check("positive_data_acceptance"), _check("ignored_auth")],
    )


def _check(name: str) -> Any:
    load_all_checks()
    return CHECKS.get_one(name)
