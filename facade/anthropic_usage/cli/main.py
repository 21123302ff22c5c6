"""The entry point: commands, one-line errors, exit codes.

0 is good, 1 an error of the API or its data, 2 a wrong question, 3 a check that fired, 130 an
interruption.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from ..errors import AnthropicUsageError, InvalidQuery
from .entry import INTERRUPTED, abrupt
from .streams import note, steady
from .strict import strict

__all__ = ["main", "run_command"]


class _Entry(NamedTuple):
    """A command that is imported when it is run."""

    home: str
    """Its module and its name there."""
    summary: str
    """What the list of commands says of it."""


_COMMANDS = {
    "usage": _Entry("reading.usage", "Tokens used through the Messages API."),
    "cost": _Entry("reading.cost", "Billed dollars, exact; completed UTC days only."),
    "claude-code": _Entry(
        "reading.claude_code", "What Claude Code did: sessions, lines, commits, cost."
    ),
    "report": _Entry("reporting.report_command", "Spend, its change, and what for."),
    "chargeback": _Entry(
        "billing.chargeback_command", "Split the bill so that the parts add up to it, to the cent."
    ),
    "reconcile": _Entry(
        "billing.reconcile_command",
        "Compare usage at list prices with the bill, and name what differs.",
    ),
    "forecast": _Entry(
        "watching.forecast_command", "Project the month's bill to its end, with an interval."
    ),
    "check": _Entry("watching.check_command", "Check budgets, jumps and the cache rate."),
    "prices": _Entry("billing.prices_command", "List prices, dated."),
    "export": _Entry(
        "exporting.export_group", "Write long reports into a folder, a file a window; resumable."
    ),
    "lake": _Entry("lakes.lake_group", "Verify, rebuild, prune a lake; see restatements."),
    "sql": _Entry("lakes.sql_command", "Ask a lake in SQL."),
    "tool": _Entry("agents.tool_command", "Run the tool for agents."),
    "mcp": _Entry("agents.mcp_command", "Serve the reports to agents over MCP."),
    "doctor": _Entry("doctor.doctor", "Check key, network, permissions, clock and versions."),
    "simulate": _Entry("demo.simulate", "Serve a simulated organisation on 127.0.0.1."),
    "demo": _Entry("demo.demo", "A look without a key: a simulated week."),
}


_UTC_DAYS = {
    "cost": "cost",
    "report": "cost",
    "chargeback": "cost",
    "reconcile": "cost",
    "forecast": "cost",
    "check": "cost",
    "claude-code": "claude_code",
}
"""Commands that have UTC days only, and the report that is why."""


def _refuse_timezones(name: str, command: click.Command) -> None:
    """Let a command that has UTC days only say so if it is asked for another zone's."""
    if name not in _UTC_DAYS and name != "export":
        return
    from ..reports import REGISTRY
    from .timezones import refuse_timezone

    if not isinstance(command, click.Group):
        refuse_timezone(command, REGISTRY[_UTC_DAYS[name]].whole_days)
        return
    refuse_timezone(command.commands["cost"], REGISTRY["cost"].whole_days)
    refuse_timezone(command.commands["usage"], "the files of an export are of whole UTC days")


class _Lazy(MutableMapping[str, click.Command]):
    """The commands by name; each is imported when it is asked for."""

    def __init__(self) -> None:
        self._known: dict[str, click.Command] = {}
        self._names = dict.fromkeys(_COMMANDS)

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._known:
            module, _, attribute = _COMMANDS[name].home.rpartition(".")
            with abrupt():
                home = importlib.import_module(f".{module}", __package__)
            command: click.Command = getattr(home, attribute)
            _refuse_timezones(name, command)
            self._known[name] = strict(command)
        return self._known[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._known[name] = strict(command)
        self._names[name] = None

    def __delitem__(self, name: str) -> None:
        del self._names[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Commands(click.Group):
    """Knows which command was meant, and what each is for, without importing them."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name not in self.commands and not name.startswith("-"):
            near = difflib.get_close_matches(name.replace("_", "-"), self.list_commands(ctx), n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, _COMMANDS[name].summary) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=_COMMANDS[name].summary) for name in names]
        return items + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=_Commands,
    commands=_Lazy(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  anthropic-usage demo                                   a look, without a key
  anthropic-usage doctor                                 is everything set up?
  anthropic-usage usage --since mtd --by model           tokens this month
  anthropic-usage cost --since last-month --by model     what they cost
  anthropic-usage claude-code --since 30d --by actor     who did what
  anthropic-usage report --month 2026-10 --html oct.html where the money went
  anthropic-usage chargeback --month 2026-10 --by api_key who pays
  anthropic-usage check --budget budgets.yml             should somebody look?

The key is read from ANTHROPIC_ADMIN_API_KEY (or ANTHROPIC_ADMIN_KEY, or a token from
ANTHROPIC_OAUTH_TOKEN), else from a .env file. Data goes to stdout, all else to stderr.""",
)
@click.version_option(package_name="anthropic-usage", prog_name="anthropic-usage")
def cli() -> None:
    """Usage, cost and Claude Code reports of your organisation, exact and complete."""


def main(args: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    return run_command(cli, args, "anthropic-usage")


def run_command(command: click.Command, args: list[str] | None, name: str) -> int:
    """Run a command such that whatever happens ends in one line and an exit code."""
    warnings.showwarning = _show_warning
    with steady():
        return _run(command, args, name)


def _run(command: click.Command, args: list[str] | None, name: str) -> int:
    try:
        # Outside standalone mode click returns the code of an Exit, and None of a command.
        return strict(command).main(args, prog_name=name, standalone_mode=False) or 0
    except click.exceptions.Abort:
        return _fail("interrupted", INTERRUPTED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        return _fail(f"{error.format_message()} (see {path} --help)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 1)
    except InvalidQuery as error:
        return _fail(str(error), 2)
    except AnthropicUsageError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:
        # Whoever read us has had enough; keep the interpreter from flushing into the closed pipe.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or 'stdout'}", 1)


def _fail(sentence: str, code: int) -> int:
    note(f"anthropic-usage: {sentence}")
    return code


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    note(f"warning: {message}")
