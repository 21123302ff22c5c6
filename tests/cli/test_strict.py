"""What no option takes, whichever command has it: walked, so that a new option is held to it too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from anthropic_usage.cli.main import cli
from anthropic_usage.cli.main import main as run_main
from anthropic_usage.cli.track import main as run_track
from anthropic_usage.cli.track import track
from cassettes import run_command

NUMERIC = (click.types.IntParamType, click.types.FloatParamType)
SLIPPED = ("s3:/bucket/lake", "gs:/bucket", "https:/host", "file:/tmp/x")


def options() -> Iterator[tuple[tuple[str, ...], click.Command, click.Option]]:
    """Yield every option that takes a value, with the words that lead to its command."""
    waiting: list[tuple[tuple[str, ...], click.Command]] = [((), cli), (("track",), track)]
    while waiting:
        words, command = waiting.pop()
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag:
                yield words, command, option
        if isinstance(command, click.Group):
            waiting += [((*words, name), below) for name, below in command.commands.items()]


CASES = [
    pytest.param(words, command, option, id=f"{' '.join(words)} {option.opts[0]}")
    for words, command, option in options()
    if (not option.is_bool_flag and option.flag_value is None) or option.type.name != "boolean"
]


def refused(words: tuple[str, ...], command: click.Command, *given: str) -> str:
    """Run a command that must refuse what it is given; returns what it says."""
    arguments = ["x" for param in command.params if isinstance(param, click.Argument)]
    main, words = (run_track, ()) if words == ("track",) else (run_main, words)
    code, out, err = run_command((*words, *given, *arguments), {}, main=main)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_the_walk_meets_what_it_should() -> None:
    met = {(words[0], option.opts[0]) for words, _, option in options() if words}
    assert len(met) > 60
    assert met >= {
        ("track", "--datalake-root"), ("track", "--date"), ("report", "--html"), ("export", "--out"),
        ("usage", "--models"), ("sql", "--from-lake"), ("chargeback", "--map"), ("lake", "--since"),
    }  # fmt: skip


@pytest.mark.parametrize(("words", "command", "option"), CASES)
@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_a_blank_text_is_refused(
    words: tuple[str, ...],
    command: click.Command,
    option: click.Option,
    blank: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert option.opts[0] in refused(words, command, f"{option.opts[0]}={blank}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "command", "option"), [case for case in CASES if isinstance(case.values[2].type, NUMERIC)]
)  # fmt: skip
@pytest.mark.parametrize(
    "text", ["40,50", "1,5", "1_0", "nan", "inf", "٤٠", " 5", "5 ", "0x10", "1e", "$5"]
)
def test_what_is_no_number_is_refused(
    words: tuple[str, ...], command: click.Command, option: click.Option, text: str
) -> None:
    assert option.opts[0] in refused(words, command, f"{option.opts[0]}={text}")


@pytest.mark.parametrize(
    ("words", "command", "option"),
    [
        case
        for case in CASES
        if isinstance(case.values[2].type, click.Path)
        or case.values[2].metavar in ("ROOT", "DIR", "FILE")
    ],
)
@pytest.mark.parametrize("place", SLIPPED)
def test_a_url_with_a_slash_too_few_is_refused(
    words: tuple[str, ...],
    command: click.Command,
    option: click.Option,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place in refused(words, command, f"{option.opts[0]}={place}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [("usage", "--output"), ("cost", "-o"), ("prices", "-o"), ("chargeback", "-o"), ("report", "--html"),
     ("report", "-o"), ("forecast", "-o"), ("sql", "--parquet"), ("sql", "-o"), ("export usage", "--csv"),
     ("export cost", "--out"), ("report", "--png")],
)  # fmt: skip
def test_where_a_file_is_to_go_is_looked_at_before_any_work(
    words: tuple[str, str], tmp_path: Path
) -> None:
    command, option = words
    (tmp_path / "file").write_text("mine")
    folders = option in ("--out", "--png")
    for place in ("file/x", "file") if folders else ("nowhere/x", "file/x", "."):
        path = str(tmp_path / place)
        # No key is set: the question of where comes first.
        arguments = ("select 1",) if command == "sql" else ()
        code, out, err = run_command((*command.split(), option, path, *arguments), {})
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert path in err
        assert ".partial" not in err
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("command", ["report", "chargeback", "reconcile", "forecast"])
@pytest.mark.parametrize(
    "month", ["october", "2026-1", "2026-13", "2026-00", "26-10", "2026-10-01", "٢٠٢٦-١٠"]
)
def test_a_month_is_asked_for_in_one_form(command: str, month: str) -> None:
    code, out, err = run_command((command, "--month", month), {})
    assert (code, out) == (2, "")
    assert err == f"anthropic-usage: --month takes YYYY-MM, such as 2026-02, not {month!r}\n"


@pytest.mark.parametrize("command", ["report", "chargeback", "reconcile"])
def test_a_month_to_come_is_named(command: str) -> None:
    code, out, err = run_command((command, "--month", "2126-01"), {})
    assert (code, out) == (2, "")
    assert "--month 2126-01 has not begun" in err


@pytest.mark.parametrize("command", ["usage", "cost", "claude-code"])
def test_a_range_that_begins_in_the_future_says_so(command: str) -> None:
    code, out, err = run_command((command, "--since", "2126-01-01"), {})
    assert (code, out) == (2, "")
    assert "--since 2126-01-01 lies in the future" in err
