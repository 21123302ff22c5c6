"""The contract checks hold for what is committed, and catch what they are for."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

import contract
import msgspec
import pytest
from anthropic_usage.reports import CLAUDE_CODE, COST, REGISTRY, USAGE, Kind
from anthropic_usage.simulator import Simulator
from cassettes import FOLDER, Scrubber, exchanges

ROOT = Path(__file__).parents[2]
CASSETTES = sorted(path for path in FOLDER.glob("*.json") if path.name != "recording.json")


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.stem)
def test_a_cassette_conforms(path: Path) -> None:
    assert list(contract.cassette_problems(path)) == []


def test_every_parameter_is_used_by_some_cassette() -> None:
    used = {
        item
        for path in CASSETTES
        for exchange in exchanges(path)
        for item in contract.used(exchange)
    }
    assert contract.parameters() - used == set()


def test_no_file_holds_a_secret() -> None:
    assert list(contract.secrets()) == []


@pytest.fixture
def exchange() -> dict[str, Any]:
    (found,) = exchanges(FOLDER / "usage_by_model.json")
    return copy.deepcopy(found)


def first_result(exchange: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = exchange["response"]["body"]["json"]["data"][0]["results"][0]
    return result


def test_a_parameter_without_brackets_is_caught(exchange: dict[str, Any]) -> None:
    exchange["request"]["uri"] = exchange["request"]["uri"].replace("group_by%5B%5D", "group_by")
    assert list(contract.request_problems(exchange)) == ["undeclared parameter group_by"]


def test_a_value_out_of_range_is_caught(exchange: dict[str, Any]) -> None:
    exchange["request"]["uri"] += "&speeds%5B%5D=ludicrous"
    assert any("speeds" in problem for problem in contract.request_problems(exchange))


def test_a_missing_header_is_caught(exchange: dict[str, Any]) -> None:
    del exchange["request"]["headers"]["anthropic-version"]
    assert list(contract.request_problems(exchange)) == [
        "missing header parameter anthropic-version"
    ]


def test_a_missing_measure_is_caught(exchange: dict[str, Any]) -> None:
    del first_result(exchange)["output_tokens"]
    assert any("output_tokens" in problem for problem in contract.response_problems(exchange))


def test_growth_is_reported(exchange: dict[str, Any]) -> None:
    first_result(exchange)["thinking_tokens"] = 1
    (problem,) = contract.response_problems(exchange)
    assert problem.startswith("grew at data/0/results/0")
    assert list(contract.response_problems(exchange, may_grow=True)) == []


def test_an_undeclared_status_is_caught(exchange: dict[str, Any]) -> None:
    exchange["response"]["status"]["code"] = 302
    assert list(contract.response_problems(exchange)) == ["undeclared status 302"]


def test_a_disagreement_of_the_decoders_is_caught(
    exchange: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = exchange["response"]["body"]["json"]
    assert list(contract.model_problems(USAGE.path, body)) == []
    other = copy.deepcopy(body)
    other["data"][0]["results"][0]["output_tokens"] += 1
    page = USAGE.decode(json.dumps(other).encode())
    monkeypatch.setattr(contract.Query, "decode", lambda query, _: page)
    (first, second) = contract.model_problems(USAGE.path, body)
    assert "output_tokens" in first
    assert "total_tokens" in second


def test_published_reports_decode_to_the_same_values(sample_path: Path) -> None:
    body = json.loads(sample_path.read_text())
    query = {
        "usage": USAGE.ask("2025-08-01", "2025-08-02"),
        "cost": COST.ask("2025-08-01", "2025-08-02"),
        "claude": CLAUDE_CODE.ask("2025-08-08", "2025-08-09"),
    }.get(sample_path.stem.split("_")[0])
    if query is None:
        assert sample_path.stem.startswith(("error", "lookup"))
        return
    assert list(contract.model_problems(query.kind.path, body)) == []
    entries = body["data"]
    expected = entries if not query.kind.in_buckets else [r for b in entries for r in b["results"]]
    assert len(list(query.rows(query.decode(sample_path.read_bytes())))) == len(expected)


def _leaves(struct: Any, path: str = "") -> dict[str, bool]:
    """Return the fields of a decoder's struct, nested ones by their path: whether required."""
    found: dict[str, bool] = {}
    for field in msgspec.structs.fields(struct):
        kind = field.type
        (inner,) = get_args(kind) if get_origin(kind) is list else (kind,)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found |= _leaves(inner, f"{path}{field.encode_name}.")
        else:
            found[f"{path}{field.encode_name}"] = field.required
    return found


def _declared(spec: dict[str, Any], schema: dict[str, Any], path: str = "") -> dict[str, bool]:
    """Return the same of the spec's schema."""
    while "$ref" in schema or "items" in schema:
        schema = schema.get("items") or spec["components"]["schemas"][schema["$ref"].split("/")[-1]]
    found: dict[str, bool] = {}
    for name, inner in schema.get("properties", {}).items():
        deeper = _declared(spec, inner, f"{path}{name}.")
        found |= deeper or {f"{path}{name}": name in schema.get("required", ())}
    return found


@pytest.mark.parametrize("kind", REGISTRY.values(), ids=list(REGISTRY))
def test_the_decoder_requires_what_the_spec_requires(spec: dict[str, Any], kind: Kind[Any]) -> None:
    """Fields, and which of them may be missing, are the same in the rows and in the spec."""
    answer = spec["paths"][kind.path]["get"]["responses"]["200"]["content"]["application/json"]
    declared = _declared(spec, answer["schema"])
    around = {"has_more", "next_page", "data.starting_at", "data.ending_at", "data.date"}
    inside = "data.results." if kind.in_buckets else "data."
    expected = {n.removeprefix(inside): must for n, must in declared.items() if n not in around}
    found = _leaves(kind.fields.answer)
    # What is open in the answer (an actor of any kind, any tool) stands for all that is in it.
    opened = {name for name in found if name not in expected}
    assert opened == {n.split(".")[0] for n in expected if n not in found}
    assert {n: must for n, must in found.items() if n not in opened} == {
        n: must for n, must in expected.items() if n in found
    }
    assert len(found) > 9


def test_recording_again_changes_nothing() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "record.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout) == (0, "nothing would change\n")


def test_a_live_recording_is_scrubbed(tmp_path: Path) -> None:
    """Record as if live, with the simulator in the live API's place, and look for what it knows."""
    simulator = Simulator(seed=5, size=0.7, days=90)
    with simulator.serve() as server:
        done = subprocess.run(
            [
                sys.executable,
                str(ROOT / "scripts" / "record.py"),
                "--live",
                "--into",
                str(tmp_path / "made"),
            ],
            env={
                "ANTHROPIC_ADMIN_API_KEY": Simulator.DEMO_KEY,
                "ANTHROPIC_OAUTH_TOKEN": Simulator.DEMO_TOKEN,
                "ANTHROPIC_BASE_URL": server.url,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    organisation = simulator.organisation
    private = [Simulator.DEMO_KEY, Simulator.DEMO_TOKEN, organisation.id]
    names = {json.dumps(organisation.name)}
    for things in (
        organisation.people,
        organisation.workspaces,
        organisation.api_keys,
        organisation.service_accounts,
    ):
        for thing in things:
            private.append(thing.id)
            names.add(json.dumps(thing.name))
    private += [person.email for person in organisation.people]
    made = sorted((tmp_path / "made").iterdir())
    assert len(made) > 50
    for path in made:
        text = path.read_text()
        # A name may be a common word of a description; as a value of its own it is private.
        private_here = [secret for secret in [*private, *names] if secret and secret in text]
        assert private_here == [], path.name
    assert "Recorded from the live API" in (tmp_path / "made" / "README.md").read_text()


def test_pseudonyms_are_the_same_each_time() -> None:
    scrubber = Scrubber()
    body = {"name": "Ada", "id": "user_01ABCDEFG", "by": ["user_01ABCDEFG", "ada@corp.io"]}
    scrubbed = scrubber.body(body)
    assert scrubbed == {
        "name": "name_scrubbed000001",
        "id": "user_scrubbed000001",
        "by": ["user_scrubbed000001", "person1@example.com"],
    }
    assert (
        scrubber.uri("https://h/p?user_ids=user_01ABCDEFG")
        == "https://h/p?user_ids=user_scrubbed000001"
    )
