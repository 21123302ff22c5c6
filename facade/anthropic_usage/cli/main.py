"""The entry point: commands, one-line errors, exit codes.

0 is good, 1 an error of the API or its data, 2 a wrong question, 3 a check that fired, 130 an
interruption.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import sys
import warnings
from typing import Any

import click

from ..errors import AnthropicUsageError, InvalidQuery
from ..reports import CLAUDE_CODE, COST
from .agents import mcp_command, tool_command
from .billing import chargeback_command, prices_command, reconcile_command
from .demo import demo, simulate
from .doctor import doctor
from .exporting import export_group
from .lakes import lake_group, sql_command
from .reading import claude_code, cost, usage
from .reporting import report_command
from .streams import note, steady
from .strict import strict
from .timezones import refuse_timezone
from .watching import check_command, forecast_command

__all__ = ["main", "run_command"]


class _Commands(click.Group):
    """Knows which command was meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name.replace("_", "-"), self.list_commands(ctx), n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
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
ANTHROPIC_OAUTH_TOKEN). Data goes to stdout, all else to stderr.""",
)
@click.version_option(importlib.metadata.version("anthropic-usage"), prog_name="anthropic-usage")
def cli() -> None:
    """Usage, cost and Claude Code reports of your organisation, exact and complete."""


for command in (
    usage,
    cost,
    claude_code,
    report_command,
    chargeback_command,
    reconcile_command,
    forecast_command,
    check_command,
    prices_command,
    export_group,
    lake_group,
    sql_command,
    tool_command,
    mcp_command,
    doctor,
    simulate,
    demo,
):
    cli.add_command(command)

for command in (
    cost,
    report_command,
    chargeback_command,
    reconcile_command,
    forecast_command,
    check_command,
    export_group.commands["cost"],
):
    refuse_timezone(command, COST.whole_days)
refuse_timezone(claude_code, CLAUDE_CODE.whole_days)
refuse_timezone(export_group.commands["usage"], "the files of an export are of whole UTC days")


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
        return _fail("interrupted", 130)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or 'output'}", 1)


def _fail(sentence: str, code: int) -> int:
    note(f"anthropic-usage: {sentence}")
    return code


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    note(f"warning: {message}")
