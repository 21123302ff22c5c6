"""What is printed: any stream, any width, any text from outside, any size of number."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import human, outside
from anthropic_usage.cli.columns import Column, footnotes, print_columns
from anthropic_usage.simulator import Server, Simulator
from cassettes import run_command
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support import Answer, Asked, Loopback, bucket, page, usage_result

SPAN = ("--since", "2026-11-10", "--until", "2026-11-13")
KEY = {"ANTHROPIC_ADMIN_API_KEY": "sk-ant-admin01-x"}
TABLES = {
    "usage": ("usage", *SPAN, "--group-by", "model,workspace_id,api_key_id"),
    "cost": ("cost", *SPAN, "--by", "description"),
    "claude-code": ("claude-code", *SPAN),
    "report": ("report", *SPAN),
    "chargeback": ("chargeback", *SPAN, "--by", "api_key"),
    "reconcile": ("reconcile", *SPAN),
    "forecast": ("forecast", "--month", "2026-11", "--by", "model"),
    "prices": ("prices", "--date", "2026-11-10"),
    "weeks": ("usage", *SPAN, "--by", "week,model,workspace_id"),
    "people": ("claude-code", *SPAN, "--people"),
}
FIGURE = re.compile(r"-?<?\$[0-9][0-9,.]*|\b[0-9][0-9,.]*[kMBTP%]?(?![\w-])")


def shell(*args: str, close: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, with streams closed as a shell does it."""
    base = {k: v for k, v in os.environ.items() if not k.startswith("ANTHROPIC_")}
    command = [sys.executable, "-m", "anthropic_usage", *args]
    if close:
        command = ["/bin/sh", "-c", f'exec "$@" {close}', "sh", *command]
    return subprocess.run(
        command, capture_output=True, check=False, env={**base, **KEY, **environment}, timeout=120
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437"])
@pytest.mark.parametrize("name", ["usage", "report", "chargeback", "prices"])
def test_no_encoding_is_a_traceback(
    name: str, encoding: str, served: tuple[Simulator, Server]
) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, "PYTHONIOENCODING": encoding}
    done = shell(*TABLES[name], **where)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert "claude-" in text or "total" in text or "the bill" in text
    assert b"Traceback" not in done.stderr


@pytest.fixture
def accented() -> Iterator[str]:
    """Serve an organisation whose one workspace is called Équipe Ω."""

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("workspaces"):
            found = workspace("Équipe Ω")
            body = {"data": [found], "has_more": False, "first_id": "w", "last_id": "w"}
            return Answer(body=json.dumps(body).encode())
        return everything(asked, {})

    with Loopback(answer) as server:
        yield server.url


def test_a_letter_is_replaced_escaped_or_refused(accented: str, tmp_path: Path) -> None:
    asked = ("chargeback", *SPAN)
    where = {"ANTHROPIC_BASE_URL": accented, "PYTHONIOENCODING": "latin-1"}
    table = shell(*asked, **where)
    assert "Équipe ?" in table.stdout.decode("latin-1")
    assert json.loads(shell(*asked, "--json", **where).stdout.decode("latin-1"))["lines"][0][
        "name"
    ] == ("Équipe Ω")
    refused = shell(*asked, "--csv", **where)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"--output FILE" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    path = tmp_path / "out.csv"
    done = shell(*asked, "--csv", "--bom", "-o", str(path), **where)
    assert f"wrote {path} (".encode() in done.stderr
    assert path.read_bytes().startswith(b"\xef\xbb\xbfname,id,")
    assert "Équipe Ω" in path.read_text("utf-8-sig")


def test_closed_streams(served: tuple[Simulator, Server], tmp_path: Path) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url}
    for args in (("usage", *SPAN), ("report", *SPAN), ("usage", *SPAN, "--csv")):
        silent = shell(*args, close=">&-", **where)
        assert silent.returncode == 2
        assert silent.stderr.splitlines() == [
            b"anthropic-usage: stdout is closed: say where with --output FILE"
        ]
        alone = shell(*args, close="2>&-", **where)
        assert alone.returncode == 0
        assert alone.stdout == shell(*args, **where).stdout
    path = tmp_path / "out.json"
    assert (
        shell("usage", *SPAN, "--json", "-o", str(path), close=">&- 2>&-", **where).returncode == 0
    )
    assert json.loads(path.read_text())["complete"] is True


@pytest.mark.parametrize("name", TABLES)
def test_a_file_never_gets_escapes(
    name: str, served: tuple[Simulator, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"):
        monkeypatch.setenv(variable, "1")
    path = tmp_path / "out.txt"
    where = {"ANTHROPIC_BASE_URL": served[1].url, **KEY}
    assert run_command((*TABLES[name], "-o", str(path)), where)[0] == 0
    assert "\x1b" not in path.read_text()
    assert "\x1b" not in run_command(TABLES[name], where)[1]


@pytest.mark.parametrize("width", [40, 41, 47, 60, 80, 100, 132, 200])
@pytest.mark.parametrize("name", TABLES)
def test_a_figure_is_whole_or_its_column_is_left_out(
    name: str, width: int, served: tuple[Simulator, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, **KEY}
    wide = run_command(TABLES[name], where)[1]
    monkeypatch.setenv("COLUMNS", str(width))
    text, said = on_a_terminal(TABLES[name], where)
    known = set(FIGURE.findall(wide))
    for line in text.splitlines():
        assert cell_len(line) <= width, line
        if "…" not in line:
            assert set(FIGURE.findall(line)) <= known, line
        assert not re.search(r"\$[0-9,.]*…|…[0-9,.]*[kMB%]?$", line), line
    assert "Traceback" not in said


def on_a_terminal(command: tuple[str, ...], where: dict[str, str]) -> tuple[str, str]:
    """Run a command as if stdout were a terminal, and take the terminal's own codes away."""
    import contextlib

    from anthropic_usage.cli.main import main

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stdout, stderr, before = Terminal(), io.StringIO(), dict(os.environ)
    os.environ.update(where)
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            assert main([*command, "--no-progress"] if command[0] != "prices" else [*command]) == 0
    finally:
        os.environ.clear()
        os.environ.update(before)
    return re.sub(r"\x1b\[[0-9;]*m", "", stdout.getvalue()), stderr.getvalue()


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


_TEXT = st.text(st.characters(exclude_characters="$"), min_size=0, max_size=60)


@given(
    names=st.lists(_TEXT, min_size=1, max_size=4),
    amounts=st.lists(st.integers(0, 10**34), min_size=4, max_size=4),
    width=st.integers(40, 130),
)
def test_tables_of_any_width(names: list[str], amounts: list[int], width: int) -> None:
    figures = [human.dollars(Decimal(amount)) for amount in amounts]
    columns = [
        Column("name", names, "total"),
        Column("other name", names[::-1]),
        *(
            Column(f"a{n} figure", [text] * len(names), text, True)
            for n, text in enumerate(figures)
        ),
        Column("note", ["words and words " * 4] * len(names), prose=True),
    ]
    out = Terminal()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        print_columns(columns, out, "a title", below=["a rule", "a rule"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in out.getvalue().split("\n")]
    assert [line for line in lines if cell_len(line) > width] == []
    assert set(re.findall(r"\$[0-9,.]+", "\n".join(lines))) <= set(figures)
    assert lines.count("a rule") == 1


def test_words_that_repeat_stand_below_once() -> None:
    cells, below = footnotes(["direct", "shared", "shared"], ["as billed", "by use", "by number"])
    assert cells == ["direct", "shared 1", "shared 2"]
    assert below == ["direct: as billed", "shared 1: by use", "shared 2: by number"]


def test_charts_of_nothing_leave_no_folder(
    served: tuple[Simulator, Server], tmp_path: Path
) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, **KEY}
    folder = tmp_path / "charts"
    span = ("--since", "2023-02-01", "--until", "2023-02-03")
    code, _, stderr = run_command(("report", *span, "--no-compare", "--png", str(folder)), where)
    assert code == 0, stderr
    assert folder.exists() is ("nothing to draw" not in stderr)


def test_two_formats_are_refused(served: tuple[Simulator, Server]) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, **KEY}
    for command in (
        "usage",
        "cost",
        "claude-code",
        "chargeback",
        "reconcile",
        "forecast",
        "prices",
    ):
        code, stdout, stderr = run_command((command, "--json", "--csv"), where)
        assert (code, stdout) == (2, "")
        assert "give one format" in stderr
        assert run_command((command, "--json", "--bom"), where)[0] == 2


LETTERS = [
    "Équipe\u00a0IA",
    "می\u200cخواهم",
    "क्\u200dष",
    "so\u00adft",
    "日本",
    "e\u0301",
    "👩\u200d💻",
]


@pytest.mark.parametrize("text", LETTERS)
def test_letters_of_every_script_stay_whole(text: str) -> None:
    assert outside.clean(text) == text


@given(st.text(st.characters(), max_size=40))
def test_no_text_drives_a_terminal(text: str) -> None:
    made = outside.clean(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", made)
    made.encode()


@pytest.mark.parametrize("sign", [*"=+-@\t\r\n＝＋－＠"])
def test_no_cell_is_a_formula(sign: str) -> None:
    assert outside.disarm(f"{sign}1+1") == f"'{sign}1+1"
    assert outside.disarm(f" {sign}1+1").startswith("'") or sign.isspace()
    assert outside.disarm("-12.5") == "-12.5"


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/x",
        "www.evil.example",
        "a@evil.example",
        "@here",
        "<!channel>",
        "[x](y)",
    ],
)
def test_no_text_is_a_link_or_a_mention_in_a_chat(text: str) -> None:
    for way in (outside.markdown, outside.mrkdwn):
        made = way(text)
        assert not re.search(
            r"://|www\.\w|\w@\w|(?<![\u200b\\])@\w|<!|(?<!\\)\]\(",
            made.replace("](", "") if way is outside.mrkdwn else made,
        )


def workspace(name: object, id_: str = "wrkspc_1") -> dict[str, Any]:
    """Return a workspace as the API lists it."""
    return {
        "id": id_,
        "type": "workspace",
        "name": name,
        "created_at": "2024-01-01T00:00:00Z",
        "archived_at": None,
        "display_color": "#000000",
        "data_residency": {
            "workspace_geo": "us",
            "allowed_inference_geos": "unrestricted",
            "default_inference_geo": "global",
        },
    }


def everything(asked: Asked, said: dict[str, Any]) -> Answer:
    """Answer any question: each day one result, in which `said` stands."""
    name = said.get("name", "x")
    lists = {
        "workspaces": [workspace(name)],
        "api_keys": [
            {"id": "apikey_1", "type": "api_key", "name": name, "workspace_id": "wrkspc_1",
             "created_at": "2024-01-01T00:00:00Z", "created_by": {"id": "user_1", "type": "user"},
             "expires_at": None, "partial_key_hint": "sk-...x", "status": "active"}
        ],
        "users": [{"id": "user_1", "type": "user", "name": name, "email": "a@b.example", "role": "user", "added_at": "2024-01-01T00:00:00Z"}],
    }  # fmt: skip
    last = asked.path.rpartition("/")[2]
    if last == "me":
        return Answer(body=json.dumps({"id": "org", "type": "organization", "name": name}).encode())
    if last in lists:
        found = lists[last]
        body = {"data": found, "has_more": False, "first_id": "a", "last_id": "a"}
        return Answer(body=json.dumps(body).encode())
    params = asked.params
    start = dt.datetime.fromisoformat(params["starting_at"].replace("Z", "+00:00"))
    if last == "claude_code":
        return Answer(body=page([]))
    end = dt.datetime.fromisoformat(params["ending_at"].replace("Z", "+00:00"))
    grouped = {value for key, value in parameters(asked) if key == "group_by[]"}
    model = said.get("model", "claude-opus-4-6")
    keys = {"model": model, "workspace_id": "wrkspc_1", "api_key_id": "apikey_1",
            "service_tier": "standard", "context_window": "0-200k", "inference_geo": "global"}  # fmt: skip
    if last == "cost_report":
        about = {
            "workspace_id": "wrkspc_1" if "workspace_id" in grouped else None,
            **dict.fromkeys(("service_tier", "context_window", "inference_geo", "cost_type", "token_type")),
            "model": None, "description": None,
        }  # fmt: skip
        if "description" in grouped:
            about |= {"description": said.get("description", "Tokens"), "model": model, "cost_type": "tokens", "token_type": "output_tokens"}  # fmt: skip
        result = {"currency": "USD", "amount": said.get("amount", "1200.5"), **about}
    else:
        result = usage_result(output_tokens=said.get("tokens", 50_000), **{k: v for k, v in keys.items() if k in grouped})  # fmt: skip
        if "speeds[]" in asked.query.replace("%5B%5D", "[]"):
            result = None
    days = [
        bucket(start + n * dt.timedelta(days=1), [result] if result else [])
        for n in range((end - start).days)
    ]
    return Answer(body=page(days))


def parameters(asked: Asked) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(asked.query, keep_blank_values=True)


FORMS = {
    "usage": (("usage", *SPAN, "--by", "model"), ("table", "json", "csv", "ndjson")),
    "usage rows": (("usage", *SPAN, "--group-by", "model"), ("table", "json", "csv", "ndjson")),
    "cost": (("cost", *SPAN, "--by", "description"), ("table", "json", "csv", "ndjson")),
    "report": (("report", *SPAN, "--no-compare"), ("table", "json", "md")),
    "chargeback": (("chargeback", *SPAN), ("table", "json", "csv")),
    "chargeback keys": (("chargeback", *SPAN, "--by", "api_key"), ("table", "json", "csv")),
    "reconcile": (("reconcile", *SPAN, "--cells"), ("table", "json", "csv")),
    "check": (("check", "--today", "2026-11-13"), ("table", "json")),
    "export usage": (("export", "usage", *SPAN, "--csv", "-"), ("",)),
    "export cost": (("export", "cost", *SPAN, "--csv", "-"), ("",)),
}
CASES = [(name, form) for name, (_, forms) in FORMS.items() for form in forms]
HOSTILE = [
    "=cmd|' /C calc'!A0", "\r=1", "\n=1", "\x1b]0;owned\x07\x1b[2J", "[/bold][link=x]", "\u202eevil",
    "a\ud800b", "nul\x00", "<script>alert(1)</script>", "https://evil.example/", "x" * 5000, "", "\u0085\u2028", "＝1+1",
]  # fmt: skip
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e]")


@pytest.mark.parametrize(("name", "form"), CASES)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_from_outside_is_text_in_every_form(name: str, form: str, text: str) -> None:
    invariants(name, form, {"name": text, "model": text, "description": text})


def invariants(
    name: str, form: str, said: dict[str, Any], codes: tuple[int, ...] = (0, 1, 3)
) -> str:
    """Run a command on an organisation that says `said`, and check what must hold of any."""
    with Loopback(lambda asked: everything(asked, said)) as server:
        command = (*FORMS[name][0], *(["--format", form] if form else []))
        code, stdout, stderr = run_command(command, {"ANTHROPIC_BASE_URL": server.url, **KEY})
    assert code in codes, stderr
    assert "Traceback" not in stderr
    assert not CONTROL.search(stderr)
    (stdout + stderr).encode()
    if code == 1:
        assert stdout == ""
        assert len(stderr.splitlines()) >= 1
        return stderr
    if form == "json":
        json.loads(stdout)
    elif form == "ndjson":
        for line in stdout.splitlines():
            json.loads(line)
    elif form in ("csv", ""):
        rows = list(csv.reader(io.StringIO(stdout, newline="")))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            assert not re.match(r"[=+@\t\r\n＝＋－＠]|-(?![0-9.]+$)", cell), cell
    else:
        assert not CONTROL.search(stdout)
    return stdout


@pytest.mark.parametrize(("name", "form"), CASES)
@pytest.mark.parametrize(
    "said",
    [
        {"amount": "123456789012345678901234567890"},
        {"amount": "1e30"},
        {"amount": "-99999999999999999999999999999.123456789"},
        {"tokens": 10**25},
    ],
    ids=["30 digits", "1e30", "credit", "tokens"],
)
def test_any_size_of_number(name: str, form: str, said: dict[str, Any]) -> None:
    invariants(name, form, said)


@pytest.mark.parametrize("name", [None, "", "  ", "\u202e"])
def test_a_name_that_is_none_shows_the_id(name: object) -> None:
    with Loopback(lambda asked: everything(asked, {"name": name})) as server:
        where = {"ANTHROPIC_BASE_URL": server.url, **KEY}
        code, stdout, stderr = run_command(("chargeback", *SPAN), where)
    assert code == 0, stderr
    assert "None" not in stdout
    if name is None or not name.strip():
        assert "wrkspc_1" in stdout


def test_a_name_in_place_of_an_id_is_refused_with_the_id() -> None:
    with Loopback(lambda asked: everything(asked, {"name": "Support"})) as server:
        where = {"ANTHROPIC_BASE_URL": server.url, **KEY}
        for command in (("usage", *SPAN), ("export", "usage", *SPAN, "--csv", "-")):
            code, stdout, stderr = run_command((*command, "--workspace-ids", "support"), where)
            assert (code, stdout) == (2, "")
            assert "'support' is a name: it is wrkspc_1" in stderr


@pytest.mark.parametrize("form", ["table", "json", "csv", "ndjson"])
def test_an_empty_filtered_answer_names_what_there_is(
    form: str, served: tuple[Simulator, Server]
) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, **KEY}
    asked = ("usage", *SPAN, "--models", "claude-opus", "--format", form)
    code, _, stderr = run_command(asked, where)
    assert code == 0
    assert re.search(r"no model 'claude-opus'; in this range were claude-opus-\S+", stderr)
    assert "real zero" not in stderr


def test_figures_do_not_hang_on_the_callers_decimal_context() -> None:
    import decimal

    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True
        assert human.dollars(Decimal("1234567.891")) == "$1,234,567.89"
        assert human.change(Decimal("1234567"), Decimal("1000000")) == "+23.5%"
        assert human.sparkline([Decimal("1.0001"), Decimal("1234567.8")]) == "▁█"


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [(75, -23, "-"), (-15, -23, "-"), (-5, 10, "-"), (10, 0, "new"), (0, 0, "-"), (99_999, 100_000, "0.0%"), (3, 2, "+50.0%")],
)  # fmt: skip
def test_no_percentage_across_zero(now: int, before: int, said: str) -> None:
    assert human.change(Decimal(now), Decimal(before)) == said
