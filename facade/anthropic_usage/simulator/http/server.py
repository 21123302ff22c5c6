"""A server in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from .app import Application

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ..simulator import Simulator
    from .requests import Request

HOST = "127.0.0.1"

_LONGEST_URL = 64 * 1024


class Server:
    """Serves a simulator on 127.0.0.1 from `with` to the end of its block.

    The thread is a daemon: a program that forgets to close the server still ends.
    """

    def __init__(self, simulator: Simulator, port: int = 0) -> None:
        self.requests: list[Request] = []
        """Every request so far, in order of arrival."""
        self.port = port
        self._simulator = simulator
        self._stop: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Return the base URL."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Begin to serve; returns when the port is open, or raises OSError."""
        opened = threading.Event()
        failure: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(opened))
            except BaseException as error:
                failure.append(error)
            finally:
                opened.set()

        self._thread = threading.Thread(target=run, name="anthropic-simulator", daemon=True)
        self._thread.start()
        opened.wait()
        if failure:
            self._thread.join()
            raise failure[0]

    def close(self) -> None:
        """Stop serving and wait until the port is free again."""
        if self._stop is not None and self._thread is not None:
            self._stop()
            self._thread.join()
            self._stop = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def _serve(self, opened: threading.Event) -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        runner = web.AppRunner(
            Application(self._simulator, self.requests).build(),
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=0.1,
            max_line_size=_LONGEST_URL,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
            opened.set()
            await stopped.wait()
        finally:
            await runner.cleanup()
