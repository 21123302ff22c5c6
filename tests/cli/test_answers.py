"""`report`, `chargeback`, `reconcile`, `prices`, `forecast`, `check` and `export --csv`."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import UsageClient
from anthropic_usage.simulator import Server, Simulator
from cassettes import run_command

SPAN = ("--since", "2026-11-01", "--until", "2026-11-20")
KEY = "sk-ant-admin01-MARKER-nobody-sees"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(served: tuple[Simulator, Server]) -> Run:
    """Run a command against the simulator; the key is never shown."""

    def with_key(*args: str, **environment: str) -> tuple[int, str, str]:
        where = {"ANTHROPIC_BASE_URL": served[1].url, "ANTHROPIC_ADMIN_API_KEY": KEY}
        done = run_command(args, where | environment)
        assert "MARKER" not in done[1] + done[2]
        return done

    return with_key


@pytest.fixture
def billed(served: tuple[Simulator, Server]) -> Decimal:
    """Give the bill of the span."""
    with UsageClient(KEY, base_url=served[1].url) as client:
        return client.cost(SPAN[1], SPAN[3]).totals().amount_usd


def good(done: tuple[int, str, str]) -> Any:
    """Return the JSON that a command printed."""
    code, stdout, stderr = done
    assert code == 0, stderr
    return json.loads(stdout)


def test_report_in_every_form(run: Run, billed: Decimal, tmp_path: Path) -> None:
    document = good(run("report", *SPAN, "--json"))
    assert Decimal(document["billed"]) == billed
    assert document["by_day"][0]["day"] == "2026-11-01"
    table = run("report", *SPAN)[1]
    markdown = run("report", *SPAN, "--md")[1]
    for text in (table, markdown):
        assert f"${billed:,.2f}" in text
    page, folder = tmp_path / "page.html", tmp_path / "charts"
    code, stdout, stderr = run("report", *SPAN, "--html", str(page), "--png", str(folder))
    assert (code, stdout) == (0, "")
    assert f"wrote {page}" in stderr
    assert f'data-copy="{billed:f}"' in page.read_text()
    assert sorted(path.name for path in folder.iterdir()) == [
        "claude-code.png",
        "daily.png",
        "models.png",
        "workspaces.png",
    ]


def test_names_and_ids(run: Run, served: tuple[Simulator, Server]) -> None:
    named, bare = run("report", *SPAN)[1], run("report", *SPAN, "--ids")[1]
    assert "wrkspc_" not in named
    assert "wrkspc_" in bare
    served[0].faults = ["403@workspaces"]
    code, stdout, stderr = run("chargeback", *SPAN)
    assert code == 0
    assert "wrkspc_" in stdout
    assert "no names for workspaces" in stderr


def test_chargeback_adds_up_in_json_and_csv(run: Run, billed: Decimal) -> None:
    for by in ("workspace", "api_key", "model"):
        document = good(run("chargeback", *SPAN, "--by", by, "--json"))
        parts = [Decimal(line["amount_usd"]) for line in document["lines"]]
        assert sum(parts) == Decimal(document["billed_usd"]) == round(billed, 2)
        rows = list(csv.DictReader(io.StringIO(run("chargeback", *SPAN, "--by", by, "--csv")[1])))
        assert [Decimal(row["amount_usd"]) for row in rows] == parts
        assert {row["kind"] for row in rows} <= {"direct", "allocated"}


def test_chargeback_by_owner(run: Run, tmp_path: Path) -> None:
    teams = tmp_path / "teams.yml"
    teams.write_text("'support-*': {team: Support, cost_center: 4711}\n")
    agents = json.dumps({"*": "rest"})
    code, stdout, _ = run(
        "chargeback",
        *SPAN,
        "--by",
        "api_key",
        "--map",
        str(teams),
        "--json",
        ANTHROPIC_AGENT_MAP_JSON=agents,
    )
    assert code == 0
    lines = {line["name"]: line for line in json.loads(stdout)["lines"]}
    assert set(lines) == {"Support", "rest"}
    assert lines["Support"]["cost_center"] == "4711"


def test_a_month_is_a_range(run: Run) -> None:
    by_month = good(run("chargeback", "--month", "2026-10", "--json"))
    by_range = good(run("chargeback", "--since", "2026-10-01", "--until", "2026-11-01", "--json"))
    assert by_month == by_range
    assert by_month["settled"] is True


@pytest.mark.parametrize("name", ["report", "chargeback"])
def test_a_range_that_cuts_through_days_of_the_bill_says_so(name: str, run: Run) -> None:
    span = ("--since", "2026-10-01T00:00:00+02:00", "--until", "2026-11-01T00:00:00+01:00")
    code, stdout, stderr = run(name, *span)
    assert code == 0, stderr
    words = "The bill has whole UTC days, so this range has all of 2026-09-30 and 2026-10-31"
    assert words in stderr
    assert any(words in note for note in good(run(name, *span, "--json"))["notes"])
    whole = run(name, "--since", "2026-09-30", "--until", "2026-11-01")
    assert "whole UTC days" not in whole[2]
    assert whole[1] == stdout
    # Of a day that is not over there is no bill.
    assert "whole UTC days" not in run(name, "--since", "2026-11-01", "--until", "now")[2]


@pytest.mark.parametrize("name", ["claude-code", "report"])
def test_tags_say_nothing_of_people(name: str, run: Run) -> None:
    code, stdout, stderr = run(name, *SPAN, "--map", "tags:team")
    assert (code, stdout) == (2, "")
    assert "tags are those of workspaces" in stderr


def test_reconcile_leaves_nothing(run: Run, billed: Decimal) -> None:
    document = good(run("reconcile", *SPAN, "--json"))
    assert Decimal(document["unexplained_usd"]) == 0
    parts = [Decimal(item["amount_usd"]) for item in document["residuals"]]
    assert Decimal(document["list_cost_usd"]) + sum(parts) == billed
    assert document["cells"] == []
    table = run("reconcile", *SPAN)[1]
    assert "unexplained" in table
    assert "$0.00" in table
    cells = list(csv.DictReader(io.StringIO(run("reconcile", *SPAN, "--cells", "--csv")[1])))
    assert sum(Decimal(cell["billed_usd"]) for cell in cells) == billed


def test_prices(run: Run) -> None:
    document = good(run("prices", "--date", "2026-02-11", "--json"))
    opus = next(price for price in document["prices"] if price["model"] == "claude-opus-4-6")
    assert opus["uncached_input_tokens_usd_per_mtok"] == "5"
    assert opus["confidence"] == "official"
    (mine,) = good(
        run(
            "prices",
            "--model",
            "mine",
            "--pricing-json",
            '{"mine": {"input_per_million": 0.10, "output_per_million": 1}}',
            "--json",
        )
    )["prices"]
    assert mine["uncached_input_tokens_usd_per_mtok"] == "0.1"
    assert run("prices", "--model", "claude-opus")[0] == 2
    everything = list(csv.DictReader(io.StringIO(run("prices", "--all", "--csv")[1])))
    assert len(everything) > len(document["prices"])


def test_forecast(run: Run) -> None:
    document = good(run("forecast", "--month", "2026-11", "--by", "workspace_id", "--json"))
    first, *groups = document["forecasts"]
    assert first["total"] is True
    assert Decimal(first["low_usd"]) <= Decimal(first["projected_usd"])
    assert groups
    assert "wrkspc_" not in {group["name"][:7] for group in groups}
    assert "at the end" in run("forecast", "--month", "2026-11")[1]


def test_check_exits_with_three_when_something_fires(run: Run, tmp_path: Path) -> None:
    budgets = tmp_path / "budgets.yml"
    budgets.write_text("budgets: [{name: '<!channel> *all*', amount_usd: 1}]\n")
    asked = ("check", "--today", "2026-11-20", "--budget", str(budgets))
    code, stdout, _ = run(*asked)
    assert code == 3
    assert "past 100%" in stdout
    code, stdout, _ = run(*asked, "--json")
    assert code == 3
    assert json.loads(stdout)["fired"] is True
    code, stdout, _ = run(*asked, "--slack")
    assert code == 3
    message = json.loads(stdout)
    assert set(message) == {"text", "blocks"}
    assert "<!channel>" not in stdout
    assert "&lt;!channel&gt;" in stdout
    budgets.write_text("budgets: [{amount_usd: 1000000000}]\njump: off\n")
    code, stdout, _ = run(*asked)
    assert code == 0
    assert "nothing fired" in stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("report", "--month", "2026-13"), "--month takes YYYY-MM"),
        (("report", "--month", "2026-10", "--since", "7d"), "--month, or --since"),
        (("chargeback", "--map", "/nowhere.yml"), "cannot read /nowhere.yml"),
        (("check", "--budget", "/nowhere.yml"), "cannot read /nowhere.yml"),
        (("prices", "--pricing-json", "{"), "no JSON"),
        (("forecast", "--month", "never"), "--month takes YYYY-MM"),
        (("export", "usage", "--csv", "-", "--out", "x"), "--csv FILE or --out DIR"),
        (("export", "usage", "--csv", "-", "--group-by", "model"), "own columns"),
        (("export", "usage", "--csv", "-", "--bucket-width", "1h"), "must be 1d"),
        (("export", "cost"), "say where"),
    ],
)
def test_a_wrong_question_is_one_line(args: tuple[str, ...], says: str, run: Run) -> None:
    code, stdout, stderr = run(*args)
    assert (code, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1
    assert says in stderr


def test_csv_has_the_cookbooks_columns(run: Run, tmp_path: Path, billed: Decimal) -> None:
    usage, cost = tmp_path / "usage.csv", tmp_path / "cost.csv"
    assert run("export", "usage", *SPAN, "--csv", str(usage))[0] == 0
    assert run("export", "cost", *SPAN, "--csv", str(cost))[0] == 0
    assert usage.read_text().splitlines()[0] == (
        "date,model,service_tier,workspace_id,uncached_input_tokens,output_tokens,"
        "cache_creation_tokens,cache_read_tokens,web_search_requests"
    )
    rows = list(csv.DictReader(io.StringIO(cost.read_text())))
    assert list(rows[0]) == ["date", "workspace_id", "description", "currency", "amount_usd"]
    assert sum(Decimal(row["amount_usd"]) for row in rows) == billed


def test_export_says_as_json_what_it_wrote(run: Run, tmp_path: Path) -> None:
    asked = ("export", "cost", *SPAN, "--out", str(tmp_path / "out"), "--format", "csv", "--json")
    first, again = good(run(*asked)), good(run(*asked))
    assert (first["files"], first["kept"]) == (1, 0)
    assert first["rows"] == again["rows"] == 19
    assert again["kept"] == 1


def test_a_failed_report_writes_nothing(
    run: Run, served: tuple[Simulator, Server], tmp_path: Path
) -> None:
    served[0].faults = ["missing-measure"]
    page = tmp_path / "page.html"
    code, stdout, stderr = run("report", *SPAN, "--html", str(page))
    assert (code, stdout) == (1, "")
    assert len(stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_csv_of_nothing_has_a_header(run: Run) -> None:
    nothing = ("--since", "2023-02-01", "--until", "2023-02-03", "--csv")
    code, stdout, _ = run("chargeback", *nothing)
    assert code == 0
    assert stdout.splitlines() == [
        "name,id,team,cost_center,amount_usd,exact_usd,kind,rule,"
        "by,starting_at,ending_at,currency,billed_usd"
    ]


def test_csv_is_safe_to_open(run: Run, tmp_path: Path) -> None:
    teams = tmp_path / "teams.json"
    teams.write_text('{"*": {"team": "=cmd|calc", "cost_center": "-1"}}')
    stdout = run("chargeback", *SPAN, "--map", str(teams), "--csv")[1]
    (row,) = csv.DictReader(io.StringIO(stdout))
    assert row["team"] == "'=cmd|calc"
    assert row["cost_center"] == "-1"


@pytest.mark.parametrize(
    "name", ["report", "chargeback", "reconcile", "prices", "forecast", "check", "export"]
)
def test_help_has_examples(name: str, run: Run) -> None:
    code, stdout, _ = run(name, "--help")
    assert code == 0
    assert "Examples:" in stdout
    assert f"anthropic-usage {name}" in stdout


def test_an_override_that_no_model_bears_is_said(run: Run) -> None:
    terms = {"input_per_million": 1, "output_per_million": 2}
    code, _, stderr = run("prices", "--pricing-json", json.dumps({"claude-opus-4.1": terms}))
    assert code == 0
    assert "'claude-opus-4.1' is no model" in stderr
    assert "claude-opus-4-1" in stderr
    _, _, stderr = run("prices", "--pricing-json", json.dumps({"claude-opus-4-1": terms}))
    assert "is no model" not in stderr


def test_prices_of_a_model_by_any_of_its_names(run: Run) -> None:
    names = ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929")
    answers = [good(run("prices", "--model", name, "--all", "--json"))["prices"] for name in names]
    assert answers[0] == answers[1] != []
    code, _, stderr = run("prices", "--model", "claude-sonnet-4.5")
    assert code == 2
    assert "near are claude-sonnet-4-5" in stderr


def test_a_kind_without_a_price_shows_none(run: Run) -> None:
    asked = ("prices", "--model", "claude-2.1", "--date", "2025-06-01")
    (price,) = good(run(*asked, "--json"))["prices"]
    assert price["cache_read_input_tokens_usd_per_mtok"] is None
    assert "0.00" not in run(*asked)[1]


def test_chargeback_says_its_period_currency_total_and_rules(run: Run) -> None:
    asked = ("chargeback", "--by", "api_key", "--since", "2026-11-02", "--until", "2026-11-05")
    document = good(run(*asked, "--json"))
    assert (document["starting_at"], document["ending_at"]) == (
        "2026-11-02T00:00:00Z",
        "2026-11-05T00:00:00Z",
    )
    assert document["currency"] == "USD"
    assert document["rules"]
    assert not any(";" in rule or rule == "as billed" for rule in document["rules"])
    code, stdout, _ = run(*asked, "--csv")
    assert code == 0
    rows = list(csv.DictReader(stdout.splitlines()))
    assert len(rows) == len(document["lines"])
    for row in rows:
        for name in ("starting_at", "ending_at", "currency", "billed_usd", "by"):
            assert row[name] == document[name]


def test_tags_of_workspaces_say_who_pays(run: Run) -> None:
    span = ("--since", "2026-11-02", "--until", "2026-11-05")
    for by in ("workspace", "api_key"):
        result = run("chargeback", *span, "--by", by, "--map", "tags:team", "--json")
        document = good(result)
        teams = {line["team"] for line in document["lines"]}
        assert len(teams) > 1
        for line in document["lines"]:
            behind = [Decimal(part["exact_usd"]) for part in line["behind"]]
            assert sum(behind) == Decimal(line["exact_usd"])
            assert behind == sorted(behind, reverse=True)
        assert "unmapped: " in result[2]
        assert "matches nothing" not in result[2]
    for wrong, says in (("tags:nobody", "tags are team"), ("tags:", "name the tag")):
        code, _, stderr = run("chargeback", *span, "--map", wrong)
        assert code == 2
        assert says in stderr
    code, _, stderr = run("chargeback", *span, "--by", "model", "--map", "tags:team")
    assert (code, "split by model" in stderr) == (2, True)
