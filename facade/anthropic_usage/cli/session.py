"""What every reading command needs around it: a client, a demo server, progress on a terminal."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import click

from ..errors import InvalidQuery
from ..human import clean, several
from .streams import is_terminal, note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..analysis.source import Source
    from ..client import UsageClient
    from ..engine.flow import Retry, Wait
    from ..engine.transport import Listener, Settings
    from ..reports import Part, Query

__all__ = ["Connection", "Meter", "demo_server", "environment_file", "note", "note_of_names"]

_of_names: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("names", default=None)

_WORTH_SAYING = 10.0
"""Waits longer than this many seconds are said even where no progress bar runs."""

_FIRST = 1.0
"""The first wait is said, too, once so many seconds have gone."""


@attrs.frozen(kw_only=True)
class Connection:
    """How to reach the API, as the options say it."""

    demo: bool
    base_url: str | None
    anthropic_version: str
    timeout: float
    concurrency: int
    max_in_flight_mb: float
    progress: bool
    from_lake: str | None = None

    @contextlib.contextmanager
    def client(
        self, listener: Listener | None = None, retry: Retry | None = None
    ) -> Iterator[UsageClient]:
        """Open a client, on the simulator if it is a demonstration."""
        if self.demo and self.base_url is not None:
            raise InvalidQuery("--demo asks the built-in simulator: leave out --base-url")
        from ..client import UsageClient

        with contextlib.ExitStack() as stack:
            key, url = None, self.base_url
            if self.demo:
                key, url = stack.enter_context(demo_server())
            else:
                stack.enter_context(environment_file())
            client = stack.enter_context(
                UsageClient(
                    key,
                    base_url=url,
                    anthropic_version=self.anthropic_version,
                    timeout=self.timeout,
                    concurrency=self.concurrency,
                    max_in_flight_mb=self.max_in_flight_mb,
                    retry=retry,
                    listener=listener,
                )
            )
            note_address(client.settings)
            yield client

    @contextlib.contextmanager
    def source(self) -> Iterator[Source]:
        """Open what analyses read their reports from; says on a terminal how far it is.

        What names could not be looked up is said once the rest could be read: else the same reason
        would stand there again and again.
        """
        sentences: list[str] = []
        before = _of_names.set(sentences)
        try:
            with self._source() as source:
                yield source
        finally:
            _of_names.reset(before)
        for sentence in sentences:
            note(sentence)

    @contextlib.contextmanager
    def _source(self) -> Iterator[Source]:
        if self.from_lake is not None:
            if self.demo:
                raise InvalidQuery("--from-lake asks a lake: leave out --demo")
            from ..lake.source import LakeSource

            yield LakeSource(self.from_lake)
            return
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(self.client(listener := _Pages()))
            if self.progress and is_terminal(sys.stderr):
                from rich.console import Console

                listener.status = stack.enter_context(Console(stderr=True).status("reading"))
            yield client

    @contextlib.contextmanager
    def meter(self) -> Iterator[Meter]:
        """Show how far a report is read, on a terminal only."""
        meter = Meter(show=self.progress and is_terminal(sys.stderr))
        try:
            yield meter
        finally:
            meter.stop()


class Meter:
    """Listens to a client: a bar on a terminal, a line for long waits elsewhere."""

    def __init__(self, show: bool) -> None:
        self._show = show
        self._silence = _Silence()
        self._query: Query | None = None
        self._bar: tuple[Progress, TaskID] | None = None
        self.reached: dt.datetime | None = None
        """Up to where the report was read."""

    def start(self, query: Query) -> None:
        """Begin with a report."""
        self._query = query
        if not self._show:
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        task = progress.add_task(f"reading {query.report}", total=1.0)
        progress.start()
        self._bar = progress, task

    def __call__(self, event: Wait | Part) -> None:
        from ..engine.flow import Wait

        if isinstance(event, Wait):
            self._waits(event)
            return
        self.reached = event.ends
        if self._bar is not None and self._query is not None:
            progress, task = self._bar
            span = self._query.ending_at - self._query.starting_at
            done = (event.ends - self._query.starting_at) / span
            progress.update(task, completed=done, description=f"reading {self._query.report}")

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def _waits(self, wait: Wait) -> None:
        sentence = clean(_said(wait))
        if self._bar is not None:
            self._bar[0].update(self._bar[1], description=sentence)
        elif self._silence.ends_with(wait):
            note(sentence)


class _Silence:
    """Waits that no bar shows: the long ones are said, and of the short ones the first."""

    def __init__(self) -> None:
        self._waited, self._broken = 0.0, False

    def ends_with(self, wait: Wait) -> bool:
        """Count a wait; tells whether it is worth a line."""
        self._waited += wait.seconds
        first = self._waited >= _FIRST and not self._broken
        says = wait.seconds >= _WORTH_SAYING or first
        self._broken = self._broken or says
        return says


def _said(wait: Wait) -> str:
    return f"{wait.why}: next try in {wait.seconds:.0f} s"


class _Pages:
    """Counts the pages of several reports in a row."""

    def __init__(self) -> None:
        self.status: Any = None
        self.count = 0
        self._silence = _Silence()

    def __call__(self, event: Wait | Part) -> None:
        from ..reports import Part

        if isinstance(event, Part):
            self.count += 1
            sentence = f"reading, {several(self.count, 'page')}"
        else:
            sentence = _said(event)
            if self.status is None and self._silence.ends_with(event):
                note(sentence)
        if self.status is not None:
            from rich.text import Text

            self.status.update(Text(clean(sentence)))


@contextlib.contextmanager
def demo_server(**options: Any) -> Iterator[tuple[str, str]]:
    """Run the simulator in this process; gives its key and address."""
    try:
        from ..simulator import Simulator

        simulator = Simulator(**options)
        server = simulator.serve()
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    with server as running:
        note(f"demo: a simulated organisation on {running.url}; none of this is real use")
        yield Simulator.DEMO_KEY, running.url


def note_of_names(sentence: str) -> None:
    """Say which names are missing, as soon as the rest is there."""
    sentences = _of_names.get()
    if sentences is None:
        note(sentence)
    else:
        sentences.append(sentence)


@contextlib.contextmanager
def environment_file() -> Iterator[None]:
    """Let a `.env` file say the key and the address, if the environment has no key.

    Every command that sends a key reads it, `tool` and `mcp` as well.
    """
    from ..agent.tool import environment

    said = {name: text for name, text in environment().items() if not os.environ.get(name)}
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    try:
        yield
    finally:
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text


def note_address(settings: Settings) -> None:
    """Say that the key goes to another machine than Anthropic's, where the environment says so."""
    from ..engine.transport import API_HOST, BASE_URL_VARIABLE

    elsewhere = settings.host != API_HOST and not settings.is_loopback
    if elsewhere and settings.base_url_source == BASE_URL_VARIABLE:
        note(f"{BASE_URL_VARIABLE} is set: the key goes to {settings.host}")
