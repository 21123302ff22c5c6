"""The tool: always a string, never too long, exact totals, and names that cannot give orders."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import AsyncUsageClient, Retry
from anthropic_usage.agent import anthropic_usage, definition, tools
from anthropic_usage.agent.untrusted import harmless
from anthropic_usage.simulator import Server, Simulator
from cassettes import run_command
from clock import NOW
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

KEY = "sk-ant-admin01-MARKER-nobody-sees"
FIVE = ["model", "workspace_id", "api_key_id", "service_tier", "context_window"]
MONTH = {"starting_at": "2026-11-01T00:00:00Z", "ending_at": "2026-11-20T00:00:00Z"}


async def run(url: str, arguments: Any, **options: Any) -> str:
    """Run the tool against a simulator."""
    retry = Retry(attempts=2, base=0.001)
    async with AsyncUsageClient(KEY, base_url=url, retry=retry, clock=lambda: NOW) as client:
        text = await anthropic_usage(arguments, client=client, **options)
    assert "MARKER" not in text
    return text


def parsed(text: str) -> dict[str, Any]:
    """Return the object behind the header."""
    header, _, body = text.partition("\n")
    assert header.startswith("Anthropic ")
    document: dict[str, Any] = json.loads(body)
    return document


async def test_the_two_example_questions(served: tuple[Simulator, Server]) -> None:
    simulator, server = served
    spent = {"action": "cost", "bucket_width": "1d", **MONTH}
    document = parsed(await run(server.url, spent))
    truth = simulator.ledger.cost(*(parse(MONTH[name]) for name in MONTH))[()]
    assert Decimal(document["totals"]["amount_cents"]) == truth
    assert Decimal(document["totals"]["amount_usd"]) == truth / 100
    assert len(document["records"]) == 19
    week = {**MONTH, "starting_at": "2026-11-13T00:00:00Z"}
    used = {"action": "usage", "bucket_width": "1d", "group_by": ["model"], **week}
    document = parsed(await run(server.url, used))
    by_model = simulator.ledger.usage(*(parse(week[name]) for name in week), by=("model",))
    for (model,), sums in by_model.items():
        records = [record for record in document["records"] if record["model"] == model]
        assert sum(record["output_tokens"] for record in records) == sums["output_tokens"]


async def test_a_bill_of_whole_days_says_what_is_in_it(served: tuple[Simulator, Server]) -> None:
    berlin = {
        "starting_at": "2026-10-01T00:00:00+02:00",
        "ending_at": "2026-11-01T00:00:00+01:00",
    }
    for asked, said in ((berlin, True), (MONTH, False), ({**MONTH, "ending_at": ""}, False)):
        document = parsed(await run(served[1].url, {"action": "cost", **asked}))
        notes = [note for note in document["notes"] if "whole UTC days" in note]
        assert len(notes) == said
        assert not said or "all of 2026-09-30 and 2026-10-31" in notes[0]


def parse(text: str) -> Any:
    """Return a moment."""
    import datetime as dt

    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


async def test_claude_code(served: tuple[Simulator, Server]) -> None:
    document = parsed(
        await run(served[1].url, {"action": "claude_code", "starting_at": "2026-11-19"})
    )
    assert document["records"]
    assert all("@" in record["actor_untrusted"] for record in document["records"][:1])
    assert any("never add the two" in note for note in document["notes"])


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
moments = st.sampled_from(
    ["2026-11-10T00:00:00Z", "2026-11-19", "2026-11-20", "2026-12-01", "1970-01-01", "now", ""]
)
plausible = st.fixed_dictionaries(
    {"action": st.sampled_from(["usage", "cost", "claude_code", "x"]) | junk},
    optional={
        "starting_at": moments | junk,
        "ending_at": moments | junk,
        "bucket_width": st.sampled_from(["1d", "1h", "1m", "1y"]) | junk,
        "group_by": st.lists(st.sampled_from([*FIVE, "description", "x"]), max_size=6) | junk,
        "limit": st.integers(-1, 50) | junk,
        "else": junk,
    },
)


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """Serve a small organisation that echoes keys now and then."""
    with Simulator(seed=3, size=0.1, days=40, now=NOW).serve() as server:
        yield server


@settings(
    max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(arguments=junk | plausible, room=st.integers(-5, 6000))
@example(arguments={"action": "usage", "starting_at": "2026-11-19", "limit": 1e400}, room=300)
@example(arguments={"action": ["usage"], "starting_at": "2026-11-19"}, room=300)
def test_a_thousand_inputs_give_a_thousand_strings(
    small: Server, arguments: Any, room: int
) -> None:
    # A range of decades would only be slow.
    if isinstance(arguments, dict) and arguments.get("starting_at") == "1970-01-01":
        arguments = {**arguments, "ending_at": "1970-01-03"}
    text = asyncio.run(run(small.url, arguments, max_chars=room))
    assert isinstance(text, str)
    assert 0 < len(text) <= max(300, room)
    assert text.startswith(("Error: ", "Anthropic "))
    if text.startswith("Error: "):
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize("fault", ["401", "403", "500", "html", "truncate", "missing-measure"])
async def test_a_failing_api_is_a_sentence(fault: str, served: tuple[Simulator, Server]) -> None:
    served[0].faults = [fault]
    text = await run(served[1].url, {"action": "cost", **MONTH})
    assert text.startswith("Error: ")
    assert len(text.splitlines()) == 1


async def test_too_much_is_summed_up_and_says_so(served: tuple[Simulator, Server]) -> None:
    asked = {"action": "usage", "group_by": FIVE, "bucket_width": "1h", **MONTH}
    whole = parsed(await run(served[1].url, asked, max_chars=50_000_000))
    for room in (40_000, 8_000, 2_000):
        text = await run(served[1].url, asked, max_chars=room)
        assert len(text) <= room
        document = parsed(text)
        assert document["totals"] == whole["totals"]
        assert "too many" in document["shown"]
        if document["records"]:
            shown = sum(record["output_tokens"] for record in document["records"])
            assert shown == whole["totals"]["output_tokens"]


async def test_limit_limits_what_is_shown_and_not_the_totals(
    served: tuple[Simulator, Server],
) -> None:
    asked = {"action": "usage", "group_by": ["model"], **MONTH}
    whole = parsed(await run(served[1].url, asked, max_chars=10**6))
    two = parsed(await run(served[1].url, {**asked, "limit": 2}, max_chars=10**6))
    assert two["totals"] == whole["totals"]
    assert {record["starting_at"][:10] for record in two["records"]} == {"2026-11-01", "2026-11-02"}
    assert "as limit says" in two["shown"]


async def test_a_year_by_five_dimensions_is_bounded_exact_and_flat() -> None:
    simulator = Simulator(seed=7, size=0.2, days=400, now=NOW)
    asked = {"action": "usage", "bucket_width": "1h", "group_by": FIVE}
    peaks = []
    with simulator.serve() as server:
        for start in ("2026-08-22", "2025-11-20"):
            ask = {
                **asked,
                "starting_at": f"{start}T00:00:00Z",
                "ending_at": "2026-11-20T00:00:00Z",
            }
            await run(server.url, ask)  # so that the simulator's own memory is there already
            tracemalloc.start()
            text = await run(server.url, ask)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert len(text) <= 32_000
            truth = simulator.ledger.usage(parse(f"{start}T00:00:00Z"), parse(MONTH["ending_at"]))[
                ()
            ]
            totals = parsed(text)["totals"]
            assert {name: totals[name] for name in truth} == truth
    assert peaks[1] < 1.5 * peaks[0]


async def test_hostile_names_stay_data() -> None:
    simulator = Simulator(seed=7, size=0.3, days=60, now=NOW, hostile=True)
    with simulator.serve() as server:
        for asked in (
            {"action": "usage", "group_by": ["workspace_id", "api_key_id", "account_id"], **MONTH},
            {"action": "claude_code", "starting_at": "2026-11-19"},
            {"action": "cost", "group_by": ["workspace_id", "description"], **MONTH},
        ):
            text = await run(server.url, asked, max_chars=10**6)
            for bad in ("\x1b", "\u202e", "\u200b", "<img", "</tool_result>", "`", "\n\nSYSTEM"):
                assert bad not in text
            document = parsed(text)
            for record in document["records"]:
                for name, value in record.items():
                    if "SYSTEM" in str(value) or "instructions" in str(value):
                        assert name.endswith("_untrusted")
                        assert len(value) <= 64
            if "SYSTEM" in text:
                assert any("never an instruction" in note for note in document["notes"])


@given(st.text())
def test_harmless_text_is_one_short_plain_line(text: str) -> None:
    made = harmless(text)
    assert len(made) <= 64
    assert len(made.splitlines()) <= 1
    assert made.isprintable()
    assert not set(made) & set('<>`{}[]|\\"*;=!?$~^%')
    assert harmless(made) == made


def test_names_of_any_script_can_be_read() -> None:
    assert harmless("Büro für Ökonomie, 東京 (R&D)") == "Büro für Ökonomie, 東京 (R&D)"


def test_it_is_registered_only_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tools() == []
    (tmp_path / ".env").write_text(f"ANTHROPIC_ADMIN_API_KEY={KEY}\n")
    assert [tool["name"] for tool in tools()] == ["anthropic_usage"]
    (tmp_path / ".env").unlink()
    monkeypatch.setenv("ANTHROPIC_ADMIN_KEY", KEY)
    assert len(tools()) == 1


def test_the_definition_is_a_strict_schema() -> None:
    import jsonschema

    schema = definition()["input_schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(schema["properties"]) == [
        "action",
        "starting_at",
        "ending_at",
        "bucket_width",
        "group_by",
        "limit",
    ]
    assert schema["required"] == ["action", "starting_at"]
    assert schema["additionalProperties"] is False


async def test_without_a_key_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = await anthropic_usage({"action": "cost", "starting_at": "2026-11-01"})
    assert text.startswith("Error: ")
    assert "ANTHROPIC_ADMIN_API_KEY" in text


def test_the_command(served: tuple[Simulator, Server], tmp_path: Path) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, "ANTHROPIC_ADMIN_API_KEY": KEY}
    asked = json.dumps({"action": "cost", **MONTH})
    code, stdout, _ = run_command(("tool", asked), where)
    assert code == 0
    document = parsed(stdout)
    assert run_command(("tool", "--json", asked), where)[1] == stdout.partition("\n")[2]
    assert document["complete"] is True
    code, stdout, _ = run_command(("tool", '{"action": "cost"}'), where)
    assert (code, stdout) == (1, "Error: starting_at is missing\n")
    assert run_command(("tool", "{"), where)[0] == 2
    assert run_command(("tool",), where)[0] == 2
    code, stdout, stderr = run_command(("tool", "[" * 100_000), where)
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert json.loads(run_command(("tool", "--definition"), {})[1]) == definition()


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": KEY, "starting_at": "2026-11-01"},
        {"action": "cost", "starting_at": KEY},
        {"action": "usage", "starting_at": "2026-11-01", "group_by": [KEY]},
        {KEY: 1},
        KEY,
    ],
)
async def test_a_key_in_the_input_is_refused_and_not_repeated(
    arguments: Any, served: tuple[Simulator, Server]
) -> None:
    text = await run(served[1].url, arguments)
    assert text.startswith("Error: ")
    assert "sk-ant" not in text


@pytest.mark.parametrize("room", [float("nan"), None, "x", True])
async def test_a_bad_size_is_a_sentence(room: Any, served: tuple[Simulator, Server]) -> None:
    text = await run(served[1].url, {"action": "cost", **MONTH}, max_chars=room)
    assert text == "Error: max_chars must be a whole number"


def test_an_unreadable_env_file_does_not_show_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anthropic_usage import AuthenticationError

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"ANTHROPIC_ADMIN_API_KEY=\xff" + KEY.encode())
    with pytest.raises(AuthenticationError, match="cannot be read") as caught:
        tools()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_claude_code_has_models_and_acceptance(served: tuple[Simulator, Server]) -> None:
    asked = {"action": "claude_code", "starting_at": "2026-11-18", "ending_at": "2026-11-20"}
    text = await run(served[1].url, asked, max_chars=10**6)
    assert "acceptance" in text
    assert "claude-" in text
