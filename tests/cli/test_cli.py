"""The commands, as a shell runs them: what they print, where, and how they exit."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import human
from anthropic_usage.cli.main import main
from anthropic_usage.cli.when import resolve
from anthropic_usage.errors import InvalidQuery
from anthropic_usage.simulator import Server, Simulator
from support import Answer, Asked, Loopback, page

MARKER = "MARKER-nobody-sees"
SPAN = ("--since", "2026-11-10", "--until", "2026-11-15")
START, END = dt.datetime(2026, 11, 10, tzinfo=dt.UTC), dt.datetime(2026, 11, 15, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 11, 20, 15, 7, 30, tzinfo=dt.UTC)

Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    base = {k: v for k, v in os.environ.items() if not k.startswith("ANTHROPIC_")}
    return subprocess.run(
        [sys.executable, "-m", "anthropic_usage", *args],
        capture_output=True,
        text=True,
        check=False,
        env={**base, **environment},
        timeout=60,
    )


@pytest.fixture
def run(served: tuple[Simulator, Server], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, against the simulator; the key is never shown."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", served[1].url)
    monkeypatch.setenv("ANTHROPIC_ADMIN_API_KEY", f"sk-ant-admin01-{MARKER}")
    # The command replaces it for good.
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def with_key(*args: str) -> subprocess.CompletedProcess[str]:
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            code = main([*args])
        done = subprocess.CompletedProcess(args, code, stdout.getvalue(), stderr.getvalue())
        assert MARKER not in done.stdout + done.stderr
        return done

    return with_key


@pytest.fixture
def shell(served: tuple[Simulator, Server]) -> Run:
    """Run a command against the simulator in a process of its own."""

    def with_key(*args: str) -> subprocess.CompletedProcess[str]:
        done = command(
            *args,
            ANTHROPIC_BASE_URL=served[1].url,
            ANTHROPIC_ADMIN_API_KEY=f"sk-ant-admin01-{MARKER}",
        )
        assert MARKER not in done.stdout + done.stderr
        return done

    return with_key


@pytest.mark.parametrize(
    ("args", "fault", "code"),
    [
        (("usage", *SPAN, "--json"), None, 0),
        (("usage", *SPAN, "--json"), "missing-measure#1", 1),
        (("usage", *SPAN, "--frobnicate"), None, 2),
    ],
)
def test_a_process_exits_with_what_happened(
    args: tuple[str, ...],
    fault: str | None,
    code: int,
    shell: Run,
    served: tuple[Simulator, Server],
) -> None:
    served[0].faults = [fault] if fault else []
    done = shell(*args)
    assert done.returncode == code
    assert bool(done.stdout) is (code == 0)
    assert len(done.stderr.splitlines()) == (0 if code == 0 else 1)


def test_json_is_exact(run: Run, served: tuple[Simulator, Server]) -> None:
    ledger = served[0].ledger
    usage = json.loads(run("usage", *SPAN, "--by", "model", "--json").stdout)
    assert set(usage) == {"query", "rows", "totals", "complete", "settled_until"}
    assert usage["query"]["group_by"] == ["model"]
    assert (usage["complete"], usage["settled_until"]) == (True, "2026-11-15T00:00:00Z")
    truth = ledger.usage(START, END, by=("model",))
    assert {row["model"]: row["output_tokens"] for row in usage["rows"]} == {
        model: sums["output_tokens"] for (model,), sums in truth.items()
    }
    cost = json.loads(run("cost", *SPAN, "--json").stdout)
    cents = ledger.cost(START, END)[()]
    assert isinstance(cost["totals"]["amount_usd"], str)
    assert Decimal(cost["totals"]["amount_usd"]) * 100 == cents
    assert sum(Decimal(row["amount_cents"]) for row in cost["rows"]) == cents
    code = json.loads(run("claude-code", *SPAN, "--json").stdout)
    (sums,) = ledger.claude_code(START.date(), END.date()).values()
    assert code["totals"]["num_sessions"] == sums["num_sessions"]
    assert Decimal(code["totals"]["estimated_cost_usd"]) * 100 == sums["estimated_cost_cents"]


@pytest.mark.parametrize("name", ["usage", "cost", "claude-code"])
def test_every_format_has_the_same_rows(name: str, run: Run) -> None:
    rows = json.loads(run(name, *SPAN, "--json").stdout)["rows"]
    lines = [json.loads(line) for line in run(name, *SPAN, "--ndjson").stdout.splitlines()]
    assert lines == rows
    table = list(csv.DictReader(run(name, *SPAN, "--csv").stdout.splitlines()))
    assert len(table) == len(rows)
    for cells, row in zip(table, rows, strict=True):
        assert list(cells) == list(row)
        for field, value in row.items():
            if isinstance(value, str | int) and not isinstance(value, bool):
                assert cells[field] == str(value)


def test_a_table_is_aligned_and_its_notes_are_beside_it(run: Run) -> None:
    done = run("usage", *SPAN, "--group-by", "workspace_id,api_key_id")
    heading, *lines = [line for line in done.stdout.splitlines() if line.strip()]
    words = "date api key workspace input cache write cache read output total tokens searches"
    assert heading.split() == words.split()
    assert not [line for line in done.stdout.splitlines() if line != line.rstrip()]
    assert any("default workspace" in line for line in lines)
    assert any("no key (Console)" in line for line in lines)
    assert any("wrkspc_" in line and "apikey_" in line for line in lines), "ids are whole in a pipe"
    assert lines[-1].split()[0] == "total"
    assert "2026-11-10T00:00:00Z to 2026-11-15T00:00:00Z" in done.stderr
    assert done.returncode == 0


def test_claude_code_has_a_line_an_actor(run: Run, served: tuple[Simulator, Server]) -> None:
    done = run("claude-code", *SPAN)
    actors = {
        actor for (actor,) in served[0].ledger.claude_code(START.date(), END.date(), by=("actor",))
    }
    assert {line.split()[0] for line in done.stdout.splitlines()[2:-2]} == actors


def test_claude_code_by_model_doubles_no_session(run: Run) -> None:
    document = json.loads(run("claude-code", *SPAN, "--by", "model", "--json").stdout)
    assert {row["num_sessions"] for row in document["rows"]} == {None}
    assert document["totals"]["num_sessions"] > 0
    costs = sum(Decimal(row["estimated_cost_usd"]) for row in document["rows"])
    assert costs == Decimal(document["totals"]["estimated_cost_usd"]) > 0
    table = run("claude-code", *SPAN, "--by", "model").stdout.splitlines()
    assert table[2].split()[1:6] == ["-"] * 5


@pytest.mark.parametrize("name", ["usage", "cost", "claude-code"])
def test_a_part_of_a_week_or_month_says_so(name: str, run: Run) -> None:
    span = ("--since", "2026-10-15", "--until", "2026-12-05")
    bill = 19 if name == "cost" else 20  # of November; the newest day has no bill yet

    def read(*by: str) -> list[tuple[int, int]]:
        rows = json.loads(run(name, *span, "--by", *by, "--json").stdout)["rows"]
        return [(row["days"], row["days_in_period"]) for row in rows]

    assert read("month") == [(17, 31), (bill, 30)]
    weeks = read("week")
    assert (weeks[0], weeks[1]) == ((4, 7), (7, 7))
    assert weeks[-1] == (bill - 15, 7)
    assert sum(days for days, _ in weeks) == 17 + bill
    assert {(6, 6), (1, 1)} <= set(read("week,month"))  # the week of 26 October
    table = run(name, *span, "--by", "month").stdout
    assert "17 of 31" in table
    assert f"{bill} of 30" in table
    whole = run(name, "--since", "2026-10-01", "--until", "2026-11-01", "--by", "month")
    assert " of 31" not in whole.stdout
    (line,) = csv.DictReader(
        run(name, *span[:2], "--until", "2026-11-01", "--by", "month", "--csv").stdout.splitlines()
    )
    assert (line["days"], line["days_in_period"]) == ("17", "31")


@pytest.mark.parametrize("here", ["", "Pacific/Kiritimati", "America/New_York"])
def test_days_of_a_zone_are_the_sums_of_its_hours(
    here: str, run: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(time.tzset)  # once the variable is gone again
    monkeypatch.setenv("TZ", here)
    time.tzset()
    span = ("--since", "2026-10-24", "--until", "2026-10-27", "--timezone", "Europe/Berlin")
    days = json.loads(run("usage", *span, "--json").stdout)
    assert days["query"]["timezone"] == "Europe/Berlin"
    assert [row["starting_at"] for row in days["rows"]] == [
        "2026-10-24T00:00:00+02:00",
        "2026-10-25T00:00:00+02:00",
        "2026-10-26T00:00:00+01:00",
    ]
    utc = ("--since", "2026-10-23T22:00:00Z", "--until", "2026-10-26T23:00:00Z")
    hours = json.loads(run("usage", *utc, "--bucket-width", "1h", "--json").stdout)
    assert days["totals"] == hours["totals"]
    groups = json.loads(run("usage", *span, "--by", "week", "--json").stdout)["rows"]
    assert [(row["week"], row["days"]) for row in groups] == [("2026-10-19", 2), ("2026-10-26", 1)]
    table = run("usage", *span[:2], "--until", "2026-10-26", *span[4:], "--bucket-width", "1h")
    assert "2026-10-25 02:00+0200" in table.stdout
    assert "2026-10-25 02:00+0100" in table.stdout
    assert "from (Europe/Berlin)" in table.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("cost",),
        ("claude-code",),
        ("report",),
        ("chargeback",),
        ("reconcile",),
        ("forecast",),
        ("check",),
        ("export", "cost"),
        ("export", "usage"),
    ],
    ids=" ".join,
)
def test_what_has_utc_days_only_says_so(command: tuple[str, ...], run: Run) -> None:
    done = run(*command, "--timezone", "Europe/Berlin")
    assert done.returncode == 2
    assert "whole UTC days" in done.stderr
    assert "did you mean Europe/Berlin" in run(*command, "--timezone", "berlin").stderr


def test_a_range_that_cuts_through_days_says_which_are_whole(run: Run) -> None:
    span = ("--since", "2026-10-01T00:00:00+02:00", "--until", "2026-11-01T00:00:00+01:00")
    for name, words in (
        ("cost", "the bill has whole UTC days"),
        ("usage", "--timezone"),
        ("claude-code", "say no hour"),
    ):
        done = run(name, *span, "--by", "month", "--json")
        assert words in done.stderr
        assert "all of 2026-09-30, though the range begins 2026-09-30T22:00:00Z" in done.stderr
        assert "all of 2026-10-31, though the range ends 2026-10-31T23:00:00Z" in done.stderr
        assert [row["month"] for row in json.loads(done.stdout)["rows"]] == ["2026-09", "2026-10"]
    assert "all of" not in run("usage", *span, "--bucket-width", "1h", "--by", "month").stderr
    assert "all of" not in run("cost", "--since", "2026-10-01").stderr
    # Of a day that is not over there is no bill, so nothing of it is in the answer.
    assert "all of" not in run("cost", "--since", "2026-11-10", "--until", "now").stderr


@pytest.mark.parametrize(("width", "read"), [("1d", "5 days"), ("1h", "120 hours")])
def test_nothing_used_is_said(width: str, read: str, run: Run) -> None:
    done = run("usage", *SPAN, "--models", "claude-nobody-uses-this", "--bucket-width", width)
    assert f"{read} read" in done.stderr
    assert "a real zero" not in done.stderr
    assert "no model 'claude-nobody-uses-this'; in this range were " in done.stderr
    assert done.returncode == 0
    empty = run("usage", "--since", "2023-11-10", "--until", "2023-11-15")
    assert "a real zero, 5 days read" in empty.stderr


def test_what_has_not_happened_is_no_zero(run: Run) -> None:
    done = run("usage", "--since", "2027-01-01", "--until", "2027-02-01")
    assert "not one day of it exists yet" in done.stderr
    assert "real zero" not in done.stderr


def test_holes_are_no_zero(run: Run, served: tuple[Simulator, Server]) -> None:
    served[0].faults = ["missing-bucket"]
    done = run("usage", *SPAN, "--models", "claude-nobody-uses-this", "--allow-gaps")
    assert "which has holes" in done.stderr
    assert "real zero" not in done.stderr


@pytest.mark.parametrize("format_", ["json", "ndjson", "csv"])
def test_the_order_can_be_turned_around(format_: str, run: Run) -> None:
    def read(*args: str) -> list[dict[str, Any]]:
        text = run("usage", *SPAN, *args, "--format", format_).stdout
        if format_ == "csv":
            return list(csv.DictReader(text.splitlines()))
        if format_ == "ndjson":
            return [json.loads(line) for line in text.splitlines()]
        rows: list[dict[str, Any]] = json.loads(text)["rows"]
        return rows

    days = read("--group-by", "model")
    newest = read("--group-by", "model", "--order", "desc")
    assert newest == sorted(days, key=lambda row: row["starting_at"], reverse=True) != days
    assert read("--group-by", "model", "--order", "asc") == days
    models = read("--by", "model")
    assert read("--by", "model", "--order", "desc") == models
    assert read("--by", "model", "--order", "asc") == models[::-1]
    assert read("--by", "day", "--order", "desc") == read("--by", "day")[::-1]


def test_what_is_not_settled_is_said(run: Run) -> None:
    done = run("usage", "--since", "2026-11-19", "--until", "2026-11-21")
    assert "settled until 2026-11-20T14:07:30Z; what is later can still grow" in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("usage", "--since", "2026-03-01", "--until", "2026-02-01"), "reversed"),
        (("usage", "--since", "soon"), "--since does not understand 'soon'"),
        (("usage", "--group-by", "modle"), "did you mean 'model'"),
        (("usage", "--by", "workspace"), "did you mean 'workspace_id'"),
        (("usage", "--limit", "99"), "1 to 31"),
        (("usage", "--bucket-width", "5m"), "1d"),
        (("usage", "--frobnicate"), "--frobnicate"),
        (("usage", "--api-key", "x"), "--api-key"),
        (("usgae",), "did you mean 'usage'"),
        (("cost", "--since", "2026-11-20", "--until", "2026-11-21"), "has closed yet"),
        (("simulate", "--fault", "gremlins"), "gremlins"),
        (("usage", "--output", "/no/such/folder/x"), "/no/such/folder/x"),
        (("usage", "--models", ""), "names nothing"),
        (("usage", "--by", ","), "names nothing"),
        (("cost", "--group-by", " "), "names nothing"),
        (("usage", "--demo", "--base-url", "http://127.0.0.1:1"), "leave out --base-url"),
        (("usage", "--timeout", "nan"), "nan"),
        (("usage", "--timeout", "inf"), "--timeout"),
        (("usage", "--anthropic-version", "2023-06-01\n"), "no version"),
        (("usage", "--order", "up"), "asc"),
        (("simulate", "--size", "nan"), "nan"),
        (("simulate", "--days", "999999999"), "--days"),
    ],
)
def test_a_wrong_question_is_one_line_and_exit_2(
    args: tuple[str, ...], says: str, run: Run
) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("anthropic-usage: ")
    assert says in line


@pytest.mark.parametrize("format_", ["table", "json", "csv", "ndjson"])
@pytest.mark.parametrize("fault", ["401", "missing-bucket#2", "missing-measure#2", "not-json#2"])
def test_an_error_is_one_line_and_nothing_is_printed(
    fault: str, format_: str, run: Run, served: tuple[Simulator, Server], tmp_path: Path
) -> None:
    served[0].faults = [fault]
    for more in ((), ("--output", str(tmp_path / "out"))):
        served[0].faults = [fault]
        done = run("usage", *SPAN, "--limit", "3", "--format", format_, *more)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_gaps_can_be_let_pass(run: Run, served: tuple[Simulator, Server]) -> None:
    served[0].faults = ["missing-bucket"]
    done = run("usage", *SPAN, "--allow-gaps", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["complete"] is False
    assert "warning: the usage report has a hole: no bucket from" in done.stderr


def test_output_goes_to_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    done = run("usage", *SPAN, "--csv", "-o", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    assert path.read_text() == run("usage", *SPAN, "--csv").stdout
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    run("usage", *SPAN, "--csv", "--order", "desc", "-o", str(link))
    assert link.is_symlink()
    assert path.read_text() == run("usage", *SPAN, "--csv", "--order", "desc").stdout


def test_output_to_stdout_can_be_said(run: Run) -> None:
    assert run("usage", *SPAN, "--csv", "-o", "-").stdout == run("usage", *SPAN, "--csv").stdout
    assert not Path("-").exists()


def test_output_to_a_pipe_leaves_the_pipe_there(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    done = run("usage", *SPAN, "--csv", "-o", str(pipe))
    text, _ = reader.communicate(timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    assert text == run("usage", *SPAN, "--csv").stdout
    assert pipe.is_fifo()


def test_output_to_a_descriptor(shell: Run) -> None:
    assert shell("usage", *SPAN, "--csv", "-o", "/dev/stdout").stdout.startswith("starting_at,")


def test_an_interruption_is_quiet(served: tuple[Simulator, Server]) -> None:
    served[0].latency_ms = 20_000
    running = subprocess.Popen(
        [sys.executable, "-m", "anthropic_usage", "usage", *SPAN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "ANTHROPIC_BASE_URL": served[1].url,
            "ANTHROPIC_ADMIN_API_KEY": Simulator.DEMO_KEY,
        },
    )
    deadline = time.monotonic() + 20
    while not served[1].requests and time.monotonic() < deadline:
        time.sleep(0.02)
    assert served[1].requests, "the command asked"
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert stdout == ""
    assert stderr.strip() == "anthropic-usage: interrupted"


def test_a_reader_that_leaves_is_no_error(served: tuple[Simulator, Server]) -> None:
    shell = (
        f"{sys.executable} -m anthropic_usage usage --since 2026-09-01 --until 2026-11-01 "
        "--bucket-width 1h --group-by model --ndjson | head -1"
    )
    environment = {
        "ANTHROPIC_BASE_URL": served[1].url,
        "ANTHROPIC_ADMIN_API_KEY": Simulator.DEMO_KEY,
    }
    done = subprocess.run(
        shell,
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_escapes_in_names_do_not_reach_the_terminal() -> None:
    assert human.clean("a\x1b[31mb\nc\x07") == "a�[31mb�c�"


def test_no_key_says_what_to_do() -> None:
    done = command("cost")
    assert done.returncode == 1
    assert "set ANTHROPIC_ADMIN_API_KEY" in done.stderr
    assert "--demo" in done.stderr


def test_demo_needs_no_key() -> None:
    done = command("demo")
    assert done.returncode == 0
    for title in ("Tokens by model", "Billed dollars by day", "Claude Code by actor", "Next:"):
        assert title in done.stdout
    assert "simulated" in done.stdout
    assert "demo: a simulated organisation on http://127.0.0.1" in done.stderr
    for name in ("usage", "cost", "claude-code"):
        assert command(name, "--demo", "--json").returncode == 0


def test_doctor(run: Run, served: tuple[Simulator, Server]) -> None:
    # The simulator's clock stands still, which is what the clock check is for.
    done = run("doctor", "--json")
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert not checks["clock"]["ok"]
    assert "set its time" in checks["clock"]["says"]
    assert checks["permission"]["ok"]
    assert checks["key"]["says"] == "Admin API key from ANTHROPIC_ADMIN_API_KEY"

    served[0].faults = ["403"]
    done = run("doctor")
    assert done.returncode == 1
    assert "FAILED  permission" in done.stdout
    assert done.stdout.count("needs an Admin API key") == 1
    assert done.stdout.count("the same as of the permission") == 3

    demo = command("doctor", "--demo")
    assert demo.returncode == 0
    assert "Admin API key from the simulator" in demo.stdout
    assert "FAILED  key" in command("doctor").stdout
    nobody = command(
        "doctor",
        ANTHROPIC_BASE_URL="http://127.0.0.1:1",
        ANTHROPIC_ADMIN_API_KEY=f"sk-ant-admin01-{MARKER}",
    )
    assert nobody.returncode == 1
    assert MARKER not in nobody.stdout + nobody.stderr
    assert nobody.stdout.count("could not be reached") == 1
    assert "skipped usage report" in nobody.stdout
    nowhere = command(
        "doctor", ANTHROPIC_BASE_URL="https://x y", ANTHROPIC_ADMIN_API_KEY="sk-ant-admin01-x"
    )
    assert nowhere.returncode == 1


def test_an_organization_without_a_name_goes_by_its_id() -> None:
    body = b'{"id": "org-1", "type": "organization", "name": null}'

    def answer(asked: Asked) -> Answer:
        return Answer(body=body if asked.path.endswith("/me") else page([]))

    with Loopback(answer) as server:
        done = command(
            "doctor", ANTHROPIC_BASE_URL=server.url, ANTHROPIC_ADMIN_API_KEY="sk-ant-admin01-x"
        )
    assert "reads the organization 'org-1'" in done.stdout


@pytest.mark.parametrize("status", [403, 404, 500])
@pytest.mark.parametrize("name", ["report", "chargeback", "check"])
def test_what_is_refused_for_one_reason_is_said_once(
    name: str, status: int, tmp_path: Path
) -> None:
    kind = {403: "permission_error", 404: "not_found_error", 500: "api_error"}[status]
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "REASON"}}).encode()
    budgets = tmp_path / "budgets.yml"
    budgets.write_text("budgets:\n- {name: all, amount_usd: 10}\n")
    more = ("--budget", str(budgets)) if name == "check" else SPAN
    headers = {"retry-after": "0"}
    with Loopback(lambda asked: Answer(status=status, body=body, headers=headers)) as server:
        done = command(
            name, *more, ANTHROPIC_BASE_URL=server.url, ANTHROPIC_ADMIN_API_KEY="sk-ant-admin01-x"
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("REASON") == 1, done.stderr


@pytest.mark.parametrize("name", ["", "usage", "cost", "claude-code", "doctor", "simulate", "demo"])
def test_help_has_examples(name: str) -> None:
    done = command(*filter(None, [name]), "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"anthropic-usage {name}".strip() in done.stdout


def test_no_command_is_help() -> None:
    done = command()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Examples:" in done.stderr
    assert "anthropic-usage: " not in done.stderr


def test_simulate_serves_until_it_is_interrupted() -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "anthropic_usage", "simulate", "--port", "0", "--size", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    match = re.search(r"http://127\.0\.0\.1:\d+", running.stderr.readline())
    assert match
    done = command(
        "usage",
        "--since",
        "2d",
        "--json",
        ANTHROPIC_BASE_URL=match[0],
        ANTHROPIC_ADMIN_API_KEY=Simulator.DEMO_KEY,
    )
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert json.loads(done.stdout)["complete"] is True
    assert running.returncode == 0


def test_the_version() -> None:
    assert command("--version").stdout.startswith("anthropic-usage, version 0.")


def test_list_faults() -> None:
    assert "429-bare" in command("simulate", "--list-faults").stdout


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("since", "until", "start", "end"),
    [
        ("7d", None, utc(2026, 11, 13), NOW),
        ("2w", None, utc(2026, 11, 6), NOW),
        ("24h", None, NOW - dt.timedelta(days=1), NOW),
        ("90m", "30m", NOW - dt.timedelta(minutes=90), NOW - dt.timedelta(minutes=30)),
        ("mtd", None, utc(2026, 11, 1), NOW),
        ("last-month", None, utc(2026, 10, 1), utc(2026, 11, 1)),
        ("LAST-MONTH", "mtd", utc(2026, 10, 1), utc(2026, 11, 1)),
        ("yesterday", None, utc(2026, 11, 19), utc(2026, 11, 20)),
        ("today", None, utc(2026, 11, 20), NOW),
        ("2026-02-01", "2026-03-01", utc(2026, 2, 1), utc(2026, 3, 1)),
        ("2026-02-01T05:00:00+02:00", "now", utc(2026, 2, 1, 3), NOW),
    ],
)
def test_moments_as_people_say_them(since: str, until: str | None, start: Any, end: Any) -> None:
    assert resolve(since, until, NOW) == (start, end)


@pytest.mark.parametrize("since", ["", "7", "d", "7y", "-7d", "tomorrowish", "999999w"])
def test_moments_nobody_understands(since: str) -> None:
    with pytest.raises(InvalidQuery, match="--since"):
        resolve(since, None, NOW)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (99_999, "99,999"),
        (100_000, "100k"),
        (1_234_567, "1.23M"),
        (12_345_678, "12.3M"),
        (999_499_999, "999M"),
        (999_600_000, "1.00B"),
        (-5_000_000, "-5.00M"),
        (2_500_000_000, "2.50B"),
        (10**21, "1,000,000P"),
    ],
)
def test_counts_for_people(number: int, text: str) -> None:
    assert human.count(number) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.004", "<$0.01"),
        ("-0.004", "-<$0.01"),
        ("0.005", "<$0.01"),
        ("1234.565", "$1,234.56"),
        ("-3.1", "-$3.10"),
        ("1234567", "$1,234,567.00"),
    ],
)
def test_dollars_for_people(amount: str, text: str) -> None:
    assert human.dollars(Decimal(amount)) == text
