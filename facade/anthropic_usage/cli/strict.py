"""What no option takes: a text without anything in it, or a URL with a slash too few."""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import InvalidQuery

__all__ = ["Finite", "OutputFile", "OutputFolder", "Whole", "WholeRange", "strict"]

_SLIPPED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")


def strict(command: click.Command) -> click.Command:
    """Let the options of a command, and of those below it, refuse texts that say nothing.

    An option that is given an empty text, mostly that of an unset shell variable, is neither given
    nor left out: it must not quietly mean a default.
    """
    for option in command.params:
        if isinstance(option, click.Option) and not isinstance(option.callback, _Stated):
            option.callback = _Stated(option.callback)
    # Commands that are imported later are made strict then.
    if isinstance(command, click.Group) and isinstance(command.commands, dict):
        for below in command.commands.values():
            strict(below)
    return command


class _Stated:
    """A callback that looks at a value before the option's own does."""

    def __init__(self, callback: Callable[..., Any] | None) -> None:
        self._callback = callback

    def __call__(self, context: click.Context, option: click.Parameter, value: Any) -> Any:
        for text in _texts(value):
            if not text.strip():
                raise click.BadParameter(
                    f"{text!r} names nothing; leave the option out instead", context, option
                )
            if _is_place(option) and (slipped := _SLIPPED.match(text)):
                raise click.BadParameter(
                    f"{text!r} is neither a path nor a URL: write {slipped[1]}://...",
                    context,
                    option,
                )
        return value if self._callback is None else self._callback(context, option, value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, tuple | list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _is_place(option: click.Parameter) -> bool:
    """Tell whether an option takes a path or a URL."""
    return isinstance(option.type, click.Path) or option.metavar in ("DIR", "FILE", "ROOT", "URL")


class WholeRange(click.IntRange):
    """A whole number in a range, as people write it in plain digits."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Read the number; commas may only group thousands."""
        from ..documents import whole_number

        written = _written(whole_number, value, functools.partial(self.fail, param=param, ctx=ctx))
        return int(super().convert(written, param, ctx))


class Whole(click.types.IntParamType):
    """A whole number, as people write it in plain digits."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Read the number; commas may only group thousands."""
        from ..documents import whole_number

        return int(
            _written(whole_number, value, functools.partial(self.fail, param=param, ctx=ctx))
        )


class Finite(click.FloatRange):
    """A float in a range, neither nan nor infinite, as people write it in plain digits."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read the number; commas may only group thousands."""
        from ..documents import number

        fail = functools.partial(self.fail, param=param, ctx=ctx)
        amount = float(super().convert(_written(number, value, fail), param, ctx))
        if not math.isfinite(amount):
            fail(f"{value!r} is no number")
        return amount


def _written(read: Callable[[str, Any], Any], value: Any, fail: Callable[[str], Any]) -> Any:
    """Return a number that was given as a text; others are as they should be."""
    if not isinstance(value, str):
        return value
    try:
        return read("it", value)
    except InvalidQuery as error:
        return fail(str(error))


class OutputFile(click.Path):
    """A file to be written, whose folder is looked at before any work; `-` may be stdout."""

    def __init__(self, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, allow_dash=allow_dash)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path."""
        if value != "-" or not self.allow_dash:
            from ..sinks.sink import check_target

            try:
                if os.fspath(value).strip():  # else the option says what it is
                    check_target(value)
            except OSError as error:
                self.fail(f"cannot write {os.fspath(value)}: {error.strerror}", param, ctx)
        return super().convert(value, param, ctx)


class OutputFolder(click.Path):
    """A folder to be made and written into; where it is to be is looked at before any work."""

    def __init__(self) -> None:
        super().__init__(file_okay=False)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path."""
        folder = Path(value).absolute() if os.fspath(value).strip() else None
        while folder is not None and not os.path.lexists(folder):
            folder = folder.parent
        if folder is not None and not folder.is_dir():
            self.fail(f"cannot write into {os.fspath(value)}: {folder} is no folder", param, ctx)
        if folder is not None and not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"cannot write into {os.fspath(value)}: not permitted", param, ctx)
        return super().convert(value, param, ctx)
