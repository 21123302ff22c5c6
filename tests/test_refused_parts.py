"""Whatever part of an answer is refused, keeps failing or is broken, the rest is answered.

What could not be read is named with its reason. Each part is tried with each way to fail, before
`report`, `chargeback`, the tracker and the agent's tool.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import AnthropicUsageError, AsyncUsageClient, Retry, UsageClient
from anthropic_usage.agent.tool import anthropic_usage
from anthropic_usage.analysis.chargeback import chargeback
from anthropic_usage.analysis.spend import spend
from anthropic_usage.cli import track
from anthropic_usage.directory import Directory
from anthropic_usage.simulator import Server, Simulator
from cassettes import run_command
from clock import NOW

KEY = "sk-ant-admin01-MARKER-nobody-sees"
QUICK = Retry(attempts=2, base=0.001)
SPAN = ("2026-11-10", "2026-11-13")
# A 429 that may be tried again at once is given up as a 5xx is, only sooner.
FAILING = ("400", "403", "404", "429=0")
BROKEN = {"claude_code": "not-json", "lookups": "not-json"}
EXHAUSTED = ("500", "529", "drop")
PARTS = ("cost", "usage", "fast_mode", "claude_code", "lookups")


def faults(part: str, fault: str) -> list[str]:
    """Return how a part fails; "broken" is an answer that cannot be proven whole."""
    if fault == "broken":
        fault = BROKEN.get(part, "missing-measure")
    return [f"{fault}@{part}"]


def told(text: str, fault: str) -> bool:
    """Tell whether a failure's reason is named."""
    return fault.partition("=")[0] in text if fault[0].isdigit() else bool(text)


@pytest.fixture(scope="module")
def organisation() -> Iterator[tuple[Simulator, Server]]:
    """Serve an organisation that uses the fast mode."""
    simulator = Simulator(seed=7, size=1.0, days=200, now=NOW)
    with simulator.serve() as server:
        yield simulator, server


@pytest.fixture
def billed(served: tuple[Simulator, Server]) -> Decimal:
    """Give the bill of the span."""
    with UsageClient(KEY, base_url=served[1].url) as client:
        return client.cost(*SPAN).totals().amount_usd


def run(served: tuple[Simulator, Server], *args: str, **options: Any) -> tuple[int, str, str]:
    """Run a command; what it prints is never the key."""
    where = {"ANTHROPIC_BASE_URL": served[1].url, "ANTHROPIC_ADMIN_API_KEY": KEY}
    done = run_command(args, where, **options)
    assert "MARKER" not in done[1] + done[2]
    return done


@pytest.mark.parametrize("fault", [*FAILING, "broken"])
@pytest.mark.parametrize("part", PARTS)
def test_report(part: str, fault: str, served: tuple[Simulator, Server], billed: Decimal) -> None:
    served[0].faults = faults(part, fault)
    asked = ("report", "--since", SPAN[0], "--until", SPAN[1], "--json")
    code, stdout, stderr = run(served, *asked)
    answer = json.loads(stdout)
    assert code == (1 if part == "cost" else 0)
    assert (answer["billed"] is None) == (part == "cost")
    if part != "cost":
        assert Decimal(answer["billed"]) == billed
    assert bool(answer["tokens"]) == (part != "usage")
    assert (answer["coding"] is None) == (part == "claude_code")
    said = [stderr] if part == "lookups" else answer["notes"]
    assert any("read" in note or "names" in note for note in said)
    assert any(told(note, fault) for note in said)


@pytest.mark.parametrize("by", ["workspace", "api_key", "model"])
@pytest.mark.parametrize("fault", [*FAILING, "broken"])
@pytest.mark.parametrize("part", PARTS)
def test_chargeback(
    part: str, fault: str, by: str, served: tuple[Simulator, Server], billed: Decimal
) -> None:
    served[0].faults = faults(part, fault)
    asked = ("chargeback", "--by", by, "--since", SPAN[0], "--until", SPAN[1], "--json")
    code, stdout, stderr = run(served, *asked)
    if part == "cost":
        # Without the bill there is nothing to split.
        assert (code, stdout) == (1, "")
        assert told(stderr, fault)
        return
    answer = json.loads(stdout)
    assert Decimal(answer["exact_usd"]) == billed
    assert sum(Decimal(line["exact_usd"]) for line in answer["lines"]) == billed
    blind = part == "usage" and by == "api_key"
    assert code == int(blind)
    if blind:
        assert not any(line["id"] for line in answer["lines"])
    if by == "api_key" and part in ("usage", "fast_mode"):
        (note,) = answer["notes"]
        assert "read" in note
        assert told(note, fault)
    else:
        assert answer["notes"] == []
    if part == "lookups" and by != "model":
        assert told(stderr, fault)


@pytest.mark.parametrize("fault", EXHAUSTED)
@pytest.mark.parametrize("part", PARTS)
def test_what_keeps_failing_is_given_up_for_itself_alone(
    part: str, fault: str, served: tuple[Simulator, Server], billed: Decimal
) -> None:
    served[0].faults = faults(part, fault)
    with UsageClient(KEY, base_url=served[1].url, retry=QUICK) as client:
        answer = spend(client, *SPAN)
        assert answer.billed == (None if part == "cost" else billed)
        assert part == "lookups" or any("could not be read" in note for note in answer.notes)
        names = Directory.read(client)
        kinds = ("workspaces", "API keys", "users") if part == "lookups" else ()
        assert bool(names.missing) == bool(kinds)
        assert all(kind in " ".join(names.missing) for kind in kinds)
        if part == "cost":
            with pytest.raises(AnthropicUsageError):
                chargeback(client, *SPAN, by="api_key")
            return
        split = chargeback(client, *SPAN, by="api_key", directory=names)
    assert split.exact_usd == billed
    assert split.undivided == (part == "usage")
    assert bool(split.notes) == (part in ("usage", "fast_mode"))


@pytest.mark.parametrize("fault", [*FAILING, "broken"])
@pytest.mark.parametrize("part", PARTS)
def test_track(part: str, fault: str, served: tuple[Simulator, Server], tmp_path: Path) -> None:
    served[0].faults = faults(part, fault)
    asked = ("--date", SPAN[0], "--datalake-root", str(tmp_path / "lake"), "--json")
    code, stdout, stderr = run(served, *asked, main=track.main)
    assert told(stderr, fault)
    if part == "usage":
        # The tracker's estimates are of nothing else, so there is no day without it.
        assert code == 1
        return
    answer = json.loads(stdout)
    assert set(answer["missing"]) == ({part.removesuffix("_mode")} - {"lookups"})
    # What is refused for good is no failure, but for the bill; what may come another time is one.
    for_good = fault in ("400", "403", "404") and part != "cost"
    assert code == int(part != "lookups" and not for_good)
    assert answer["totals"]["usage_daily"]["output_tokens"] > 0


@pytest.mark.parametrize("fault", ["400", "403", "404", "500", "drop", "broken"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("action", ["usage", "cost", "claude_code"])
async def test_the_tool(
    action: str, part: str, fault: str, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = faults(part, fault)
    grouping = {"usage": ["api_key_id"], "cost": ["workspace_id"]}.get(action)
    asked = {"action": action, "starting_at": SPAN[0], "ending_at": SPAN[1]}
    if grouping:
        asked |= {"group_by": grouping}  # type: ignore[dict-item]
    url = served[1].url
    async with AsyncUsageClient(KEY, base_url=url, retry=QUICK) as client:
        text = await anthropic_usage(asked, client=client)
    assert "MARKER" not in text
    if part == action:
        assert text.startswith("Error: ")
        assert len(text.splitlines()) == 1
        assert told(text, fault)
        return
    assert not text.startswith("Error: "), text
    document = json.loads(text.partition("\n")[2])
    if part == "lookups" and action != "claude_code":
        assert any("No names" in note and told(note, fault) for note in document["notes"]), (
            document["notes"]
        )
