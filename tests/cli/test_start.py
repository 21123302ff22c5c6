"""How a command begins and ends: what it imports, interruptions, streams that are not there."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import anthropic_usage
import click
import pytest
from anthropic_usage.cli.main import cli
from anthropic_usage.simulator import Server, Simulator
from cassettes import run_command

SPAN = ("--since", "2026-11-10", "--until", "2026-11-12")
KEY = {"ANTHROPIC_ADMIN_API_KEY": "sk-ant-admin01-x"}


def python(
    code: str, *args: str, shell: str = "", **more: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run Python in a process of its own, with streams as `shell` redirects them."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANTHROPIC_")}
    environment |= more.pop("environment", {})
    command = [sys.executable, "-c", textwrap.dedent(code), *args]
    if shell:
        command = ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *command]
    return subprocess.run(
        command, capture_output=True, check=False, timeout=120, env=environment, **more
    )


RUN = """
    import runpy, sys
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
USAGE, TRACK = "anthropic_usage", "anthropic_usage.cli.track"


@pytest.mark.parametrize(
    "asked", [("--help",), ("--version",), ("-h",), ("nonsense",), ("complete", "")]
)
def test_what_needs_no_report_imports_none(asked: tuple[str, ...]) -> None:
    environment = {}
    if asked[0] == "complete":
        asked = ()
        environment = {
            "_ANTHROPIC_USAGE_COMPLETE": "bash_complete",
            "COMP_WORDS": "anthropic-usage c",
            "COMP_CWORD": "1",
        }
    code = """
        import atexit, sys
        heavy = {"httpx", "attrs", "msgspec", "rich", "asyncio", "anthropic_admin_client"}
        atexit.register(lambda: print(*sorted(heavy & set(sys.modules)), file=sys.stderr))
        from anthropic_usage.cli.entry import usage
        sys.argv[0] = "anthropic-usage"
        sys.exit(usage())
    """
    done = python(code, *asked, environment=environment)
    assert done.stderr.splitlines()[-1] == b""
    if not asked:
        assert done.stdout.decode().split() == [
            "plain,chargeback", "plain,check", "plain,claude-code", "plain,cost",
        ]  # fmt: skip


@pytest.mark.parametrize("command", ["usage", "cost", "claude-code"])
def test_the_help_of_a_command_needs_no_client(command: str) -> None:
    code = f"""
        import sys
        from anthropic_usage.cli.main import main
        code = main([{command!r}, "--help"])
        assert "httpx" not in sys.modules
        sys.exit(code)
    """
    done = python(code)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_list_of_commands_says_what_they_say_themselves() -> None:
    listed = " ".join(run_command(("--help",), {})[1].split())
    assert len(cli.commands) == 17
    for name, command in cli.commands.items():
        assert isinstance(command, click.Command)
        assert f"{name} {command.get_short_help_str(200)}" in listed


def test_every_public_name_is_there() -> None:
    assert set(anthropic_usage.__all__) <= set(dir(anthropic_usage))
    for name in anthropic_usage.__all__:
        assert getattr(anthropic_usage, name) is getattr(anthropic_usage, name)
    with pytest.raises(AttributeError, match="nonsense"):
        anthropic_usage.nonsense  # noqa: B018


@pytest.mark.parametrize("module", [USAGE, TRACK])
@pytest.mark.parametrize(
    "imported",
    ["click", "click.core", "anthropic_usage.cli.main", "anthropic_usage.cli.streams",
     "anthropic_usage.cli.reading", "anthropic_usage.lake.tracker", "anthropic_admin_client",
     "msgspec", "anthropic_usage.client", "httpx", "asyncio", "anthropic_usage.engine.transport"],
)  # fmt: skip
def test_an_interruption_of_an_import_is_one_word(
    module: str, imported: str, served: tuple[Simulator, Server], tmp_path: Path
) -> None:
    code = """
        import os, runpy, signal, sys
        module, imported = sys.argv.pop(1), sys.argv.pop(1)

        class Interrupter:
            def find_spec(self, name, path=None, target=None):
                if name == imported:
                    os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.meta_path.insert(0, Interrupter())
        from anthropic_usage.cli import entry
        sys.argv[0] = "anthropic-usage"
        sys.exit(entry.usage() if module == "anthropic_usage" else entry.track())
    """
    arguments = {
        USAGE: ("usage", *SPAN),
        TRACK: ("--date", "2026-11-10", "--datalake-root", str(tmp_path / "lake")),
    }[module]
    if (module, imported) in {
        (USAGE, "anthropic_usage.lake.tracker"), (TRACK, "anthropic_usage.cli.reading"),
    }:  # fmt: skip
        pytest.skip("this command does not import it")
    where = {"ANTHROPIC_BASE_URL": served[1].url, **KEY}
    done = python(code, module, imported, *arguments, environment=where)
    # click ends the line that a terminal has shown ^C in.
    assert done.stderr.decode().strip("\n") == "anthropic-usage: interrupted"
    assert (done.returncode, done.stdout) == (130, b"")


COMMANDS = {
    "usage": (USAGE, "usage", *SPAN),
    "doctor": (USAGE, "doctor", "--demo"),
    "doctor --json": (USAGE, "doctor", "--demo", "--json"),
    "demo": (USAGE, "demo"),
    "prices": (USAGE, "prices"),
    "--help": (USAGE, "--help"),
    "--version": (USAGE, "--version"),
    "simulate": (USAGE, "simulate", "--list-faults"),
    "tool": (
        USAGE,
        "tool",
        "--demo",
        '{"action": "cost", "starting_at": "2023-02-01", "ending_at": "2023-02-02"}',
    ),
    "tool --definition": (USAGE, "tool", "--definition"),
    "track": (TRACK, "--date", "2026-11-10", "--datalake-root"),
    "track --json": (TRACK, "--json", "--date", "2026-11-10", "--datalake-root"),
    "track --version": (TRACK, "--version"),
}

PRINTED = {"usage", "demo", "prices", "track --json"}
"""What is of no use if nothing can be printed."""


def commanded(name: str, tmp_path: Path) -> tuple[str, ...]:
    """Return a command; if it wants a lake, that is in the folder."""
    command = COMMANDS[name]
    return (*command, str(tmp_path / "lake")) if command[-1] == "--datalake-root" else command


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- 2>&- <&-", "2>&-", "<&-"])
def test_any_stream_may_be_closed(
    name: str, closed: str, served: tuple[Simulator, Server], tmp_path: Path
) -> None:
    where = {"ANTHROPIC_BASE_URL": served[1].url, **KEY}
    done = python(RUN, *commanded(name, tmp_path), shell=closed, environment=where)
    assert b"Traceback" not in done.stderr
    lost = name in PRINTED and closed.startswith(">&-")
    assert done.returncode == (2 if lost else 0)
    if lost and "2>&-" not in closed:
        assert b"stdout is closed" in done.stderr.splitlines()[-1]
    if name == "track":
        assert list((tmp_path / "lake" / "manifests").rglob("*.json"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stdout_that_takes_no_more_is_named(
    name: str, served: tuple[Simulator, Server], tmp_path: Path
) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    if name.startswith("track") and name != "track --version":
        pytest.skip("nor could it write its lake")
    where = {"ANTHROPIC_BASE_URL": served[1].url, **KEY}
    with (tmp_path / "out").open("wb") as out:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ANTHROPIC_")}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(RUN), *commanded(name, tmp_path)],
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
            env={**environment, **where},
            preexec_fn=full,
            timeout=120,
        )
    lines = done.stderr.decode().splitlines()
    assert lines[-1] == "anthropic-usage: File too large: stdout"
    assert done.returncode == 1
    assert "Traceback" not in done.stderr.decode()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff\xfe{\x00}\x00", "UTF-16"),
        (b'{"action": "\xe9"}', "no UTF-8"),
        (b"", "no JSON"),
        (b"nonsense", "no JSON"),
    ],
)
def test_what_comes_in_is_text(raw: bytes, said: str) -> None:
    done = python(RUN, USAGE, "tool", "-", input=raw, environment=KEY)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("anthropic-usage: the input is no") or said in line
    assert said in line


def test_a_byte_order_mark_in_front_of_what_comes_in(served: tuple[Simulator, Server]) -> None:
    asked = json.dumps({"action": "cost", "starting_at": "2026-11-10", "ending_at": "2026-11-12"})
    where = {"ANTHROPIC_BASE_URL": served[1].url, "PYTHONIOENCODING": "ascii", **KEY}
    done = python(
        RUN, USAGE, "tool", "-", input=b"\xef\xbb\xbf" + asked.encode(), environment=where
    )
    assert done.returncode == 0, done.stdout
    assert b'"totals"' in done.stdout


@pytest.mark.parametrize(
    "asked",
    [("--date", "zz"), ("--since", "zz"), ("--since", "2026-11-10", "--until", "zz"),
     ("--date", "2126-01-01"), ("--since", "2126-01-01"), ("--catch-up", "3", "--since", "2126-01-01"),
     ("--since", "2026-11-10", "--until", "2126-01-01"), ("--since", "2026-11-10", "--until", "2026-11-10"),
     ("--since", "2026-11-10", "--until", "2026-11-01"), ("--catch-up", "3", "--since", "zz"),
     ("--date", "2026-11-10", "--since", "2026-11-10"), ("--until", "2026-11-10")],
)  # fmt: skip
def test_a_wrong_question_is_no_lake_yet(asked: tuple[str, ...], tmp_path: Path) -> None:
    from anthropic_usage.cli.track import main

    # No key is set: the question comes first.
    root = str(tmp_path / "lake")
    code, out, err = run_command((*asked, "--datalake-root", root), {}, main=main)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert os.listdir(tmp_path) == []
