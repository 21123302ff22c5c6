"""Every command, replayed from its cassette, says what it says to the simulator it came from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest
from anthropic_usage.simulator import Server, Simulator
from cassettes import recorder, run_command
from scenarios import Scenario, catalogue, recording

AT = recording()
COMMANDS = [scenario for scenario in catalogue(AT) if scenario.command]
KEY = {"ANTHROPIC_ADMIN_API_KEY": Simulator.DEMO_KEY}


@pytest.fixture(scope="module")
def recorded() -> Iterator[Server]:
    """Serve the organisation that was recorded."""
    with Simulator(seed=1, size=0.3, days=120, now=AT.now).serve() as server:
        yield server


@pytest.mark.parametrize("scenario", COMMANDS, ids=lambda scenario: scenario.name)
def test_a_command_replays(scenario: Scenario, recorded: Server) -> None:
    with recorder().use_cassette(scenario.name) as cassette:
        code, stdout, stderr = run_command(scenario.command, KEY)
    assert code in (0, 3), stderr
    assert cassette.all_played
    if "--json" in scenario.command:
        assert json.loads(stdout)
    else:
        header, *rows = csv.reader(io.StringIO(stdout))
        assert rows
        assert all(len(row) == len(header) for row in rows)
    if AT.source == "simulator":
        where = {"ANTHROPIC_BASE_URL": recorded.url}
        assert run_command(scenario.command, KEY | where)[:2] == (code, stdout)
