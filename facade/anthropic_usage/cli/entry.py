"""Where the commands begin: quick to import, and an interruption of what follows is one word."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
from collections.abc import Iterator
from typing import Any

__all__ = ["INTERRUPTED", "abrupt", "track", "usage"]

INTERRUPTED = 130
"""The exit code of an interruption."""

_process = False
"""Whether this process is a command's, rather than a program that calls one."""


def usage() -> int:
    """Run `anthropic-usage` with the arguments of this process; returns its exit code."""
    return _begin("anthropic_usage.cli.main")


def track() -> int:
    """Run `anthropic-usage-track` with the arguments of this process; returns its exit code."""
    return _begin("anthropic_usage.cli.track")


def _begin(module: str) -> int:
    global _process
    _process = True
    with abrupt():
        main = importlib.import_module(module).main
    code: int = main()
    if code == INTERRUPTED:
        # Who asks a second time, while threads and files are put away, is not told how far that is.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


@contextlib.contextmanager
def abrupt() -> Iterator[None]:
    """End a command's process at once if it is interrupted meanwhile.

    For imports: a KeyboardInterrupt in the midst of one may be swallowed, or taken for a module
    that is not there. Nothing is begun then that would have to be put away.
    """
    before = signal.getsignal(signal.SIGINT)
    if not _process or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(*_: Any) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"anthropic-usage: interrupted\n")
    os._exit(INTERRUPTED)
