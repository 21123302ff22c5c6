"""`doctor`: is everything there that a report needs, and if not, what to do."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import re
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import attrs
import click

from ..client import UsageClient
from ..directory import named
from ..engine.flow import Retry
from ..errors import AnthropicUsageError, ApiError, AuthenticationError, InvalidQuery
from ..human import clean
from ..moments import DAY, utc_now
from ..reports import Part
from .options import connection_options
from .session import Connection

__all__ = ["doctor"]

MOST_SKEW = dt.timedelta(minutes=1)


@attrs.frozen
class Finding:
    """One line: what was looked at, whether it is well, and what was seen or is to be done."""

    what: str
    ok: bool | None
    says: str

    @property
    def mark(self) -> str:
        return {True: "ok", False: "FAILED", None: "skipped"}[self.ok]


@click.command(
    short_help="Check key, network, permissions, clock and versions.",
    epilog="""\b
Examples:
  anthropic-usage doctor
  anthropic-usage doctor --json
  anthropic-usage doctor --demo""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@connection_options
def doctor(connection: Connection, as_json: bool) -> None:
    """Check the key, the way to the API, permissions, the clock and versions, line by line."""
    findings = []
    for finding in _told_once(_findings(connection)):
        findings.append(finding)
        if not as_json:
            click.echo(f"{_coloured(finding)}{finding.what:20}{clean(finding.says)}")
    if as_json:
        lines = [{"check": f.what, "ok": f.ok, "says": f.says} for f in findings]
        whole = {"ok": all(f.ok is not False for f in findings), "checks": lines}
        click.echo(json.dumps(whole, indent=2))
    if any(finding.ok is False for finding in findings):
        raise click.exceptions.Exit(1)


def _told_once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings such that what went wrong for one reason says that once."""
    told: dict[str, str] = {}
    for finding in findings:
        reason = re.sub(r" \(request \S+\)", "", finding.says)
        first = told.setdefault(reason, finding.what) if finding.ok is False else ""
        again = first not in ("", finding.what)
        yield attrs.evolve(finding, says=f"the same as of the {first}") if again else finding


def _coloured(finding: Finding) -> str:
    text = f"{finding.mark:8}"
    if os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg={True: "green", False: "red", None: "yellow"}[finding.ok])


def _findings(connection: Connection) -> Iterator[Finding]:
    package = importlib.metadata.version("anthropic-usage")
    versions = f"anthropic-usage {package}, Python {platform.python_version()}"
    yield Finding("versions", True, f"{versions}, anthropic-version {connection.anthropic_version}")
    clocks: list[tuple[dt.datetime, dt.datetime]] = []

    def listen(event: Any) -> None:
        if isinstance(event, Part):
            clocks.append((event.now, utc_now()))

    with contextlib.ExitStack() as stack:
        try:
            with warnings.catch_warnings():  # the line about the key says it
                warnings.simplefilter("ignore")
                client = stack.enter_context(connection.client(listen, Retry(attempts=2)))
        except AuthenticationError as error:
            yield Finding("key", False, str(error))
            return
        except InvalidQuery as error:
            yield Finding("connection", False, str(error))
            return
        settings = client.settings
        source = "the simulator" if connection.demo else settings.credentials.source
        reached, refused = yield from _reach(client, f"{settings.credentials.kind} from {source}")
        today = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
        yesterday = today - DAY
        reports: dict[str, Callable[[], Any]] = {
            "usage report": lambda: client.usage(yesterday, today),
            "cost report": lambda: client.cost(yesterday, today),
            "claude code report": lambda: client.claude_code(yesterday, today),
        }
        for name, ask in reports.items():
            skipped = "the key is refused" if refused else "the API was not reached"
            yield _report(name, ask) if reached and not refused else Finding(name, None, skipped)
        yield _clock(clocks)


def _reach(client: UsageClient, key: str) -> Generator[Finding, None, tuple[bool, bool]]:
    """Look up the organization; returns whether anybody answered, and refused the key."""
    url = client.settings.base_url
    try:
        organization = client.organization()
    except AuthenticationError as error:
        yield Finding("key", False, f"{key}: {error}")
        yield Finding("reach", True, url)
        return True, True
    except ApiError as error:
        yield Finding("key", True, key)
        yield Finding("reach", True, url)
        yield Finding("permission", False, str(error))
    except AnthropicUsageError as error:
        admin = "no Admin key" not in client.settings.credentials.kind
        yield Finding("key", admin, f"{key}; not tried")
        yield Finding("reach", False, str(error))
        return False, False
    else:
        yield Finding("key", True, key)
        yield Finding("reach", True, url)
        yield Finding("permission", True, f"reads the organization {named(organization)!r}")
    return True, False


def _report(name: str, ask: Callable[[], Any]) -> Finding:
    try:
        rows = sum(1 for _ in ask())
    except AnthropicUsageError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, f"yesterday has {rows} row{'' if rows == 1 else 's'}")


def _clock(clocks: list[tuple[dt.datetime, dt.datetime]]) -> Finding:
    if not clocks:
        return Finding("clock", None, "no answer said what time it is")
    theirs, ours = clocks[-1]
    skew = abs(ours - theirs)
    if skew > MOST_SKEW:
        return Finding(
            "clock",
            False,
            f"this machine is {skew.total_seconds():.0f} s away from the API's clock; set its time",
        )
    return Finding("clock", True, f"within {max(1, round(skew.total_seconds()))} s of the API's")
