"""`tool` and `mcp`: the reports for programs that talk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator
from typing import Any

import click

from ..agent.tool import (
    DEFAULT_MAX_CHARS,
    LEAST_MAX_CHARS,
    anthropic_usage,
    definition,
    settings,
)
from ..client import AsyncUsageClient
from ..credentials import Credentials
from ..documents import text_of
from ..engine.transport import Settings
from ..errors import AnthropicUsageError, InvalidQuery
from ..sinks.columns import require
from .session import demo_server, environment_file, note, note_address
from .strict import WholeRange

__all__ = ["mcp_command", "tool_command"]

TOKEN = "ANTHROPIC_USAGE_MCP_TOKEN"  # noqa: S105 - the variable's name

_max_chars = click.option(
    "--max-chars",
    type=WholeRange(LEAST_MAX_CHARS, 10_000_000),
    default=DEFAULT_MAX_CHARS,
    show_default=True,
    help="How long an answer may be; past it, records are summed up.",
)
_demo = click.option("--demo", is_flag=True, help="Ask the built-in simulator; needs no key.")


@click.command(
    "tool",
    short_help="Run the tool for agents.",
    epilog="""\b
Examples:
  anthropic-usage tool '{"action": "cost", "starting_at": "2026-02-01T00:00:00Z"}'
  echo '{"action": "claude_code", "starting_at": "2026-02-01"}' | anthropic-usage tool -
  anthropic-usage tool --definition          what to give the Messages API as a tool
  anthropic-usage tool --demo '{"action": "usage", "starting_at": "2026-11-14T00:00:00Z"}'

Exit code 1 says that the answer begins with "Error:".""",
)
@click.argument("arguments", required=False)
@click.option("--definition", "show", is_flag=True, help="Print the tool's definition and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON object without its header.")
@_max_chars
@_demo
@click.pass_context
def tool_command(
    context: click.Context,
    arguments: str | None,
    show: bool,
    as_json: bool,
    max_chars: int,
    demo: bool,
) -> None:
    """Run the tool anthropic_usage as an agent would: JSON in, a bounded report out."""
    if show:
        click.echo(json.dumps(definition(), indent=2))
        return
    if arguments is None:
        raise InvalidQuery('give the input, such as \'{"action": "cost", "starting_at": ...}\'')
    text = _stdin() if arguments == "-" else arguments
    try:
        asked = json.loads(text)
    except ValueError as error:
        raise InvalidQuery(f"the input is no JSON: {error}") from None
    except RecursionError:
        raise InvalidQuery("the input is nested too deeply") from None
    with _options(demo) as options:
        answer = asyncio.run(_run(asked, max_chars, options))
    failed = answer.startswith("Error:")
    if as_json and not failed:
        answer = answer.partition("\n")[2]
    click.echo(answer)
    context.exit(1 if failed else 0)


def _stdin() -> str:
    """Return what comes in; raises InvalidQuery if that is no text."""
    stdin = sys.stdin
    if stdin is None or stdin.closed:
        raise InvalidQuery("stdin is closed: give the input as an argument")
    raw = getattr(stdin, "buffer", stdin)
    return text_of(raw.read(), "the input")


async def _run(asked: Any, max_chars: int, options: dict[str, Any]) -> str:
    try:
        client = AsyncUsageClient(**{**settings(), **options})
    except AnthropicUsageError as error:
        return f"Error: {error}"
    note_address(client.settings)
    async with client:
        return await anthropic_usage(asked, client=client, max_chars=max_chars)


@contextlib.contextmanager
def _options(demo: bool) -> Iterator[dict[str, Any]]:
    """Give what a client needs: what is set, or the simulator."""
    if not demo:
        with environment_file():
            yield {}
        return
    with demo_server() as (key, url):
        yield {"api_key": key, "oauth_token": None, "base_url": url}


@click.command(
    "mcp",
    short_help="Serve the reports to agents over MCP.",
    epilog="""\b
Examples:
  anthropic-usage mcp                        over stdin and stdout, for a client that starts it
  anthropic-usage mcp --http 8790            on http://127.0.0.1:8790/mcp, with a token
  claude mcp add anthropic-usage -- anthropic-usage mcp
  anthropic-usage mcp --demo

Needs the extra 'mcp'. Over HTTP every request must bring the token of ANTHROPIC_USAGE_MCP_TOKEN as
"Authorization: Bearer ..."; without one, a token is made and printed.""",
)
@click.option("--http", "port", type=WholeRange(0, 65535), metavar="PORT", help="Serve HTTP.")
@_max_chars
@_demo
def mcp_command(port: int | None, max_chars: int, demo: bool) -> None:
    """Serve the reports over the Model Context Protocol; read-only."""
    require("mcp.server.mcpserver", "mcp")
    from ..agent.server import build

    with _options(demo) as options:
        # Without a key there is nothing to offer; better said now than at each call.
        credentials = Credentials.find(options.get("api_key"))
        note_address(Settings(credentials=credentials, base_url=options.get("base_url")))

        def made(kind: type[Any], **more: Any) -> Any:
            return kind(**{**settings(), **options, **more})

        server = build(made, max_chars=max_chars)
        if port is None:
            server.run("stdio")
        else:
            _serve(server, port)


def _serve(server: Any, port: int) -> None:
    """Serve on 127.0.0.1 until interrupted."""
    import socket

    uvicorn: Any = require("uvicorn", "mcp")
    security: Any = require("mcp.server.transport_security", "mcp")
    from ..agent.server import protect

    given = os.environ.get(TOKEN, "")
    token = given or secrets.token_urlsafe(32)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise InvalidQuery(
                f"port {port} cannot be used ({error.strerror}): use --http 0"
            ) from None
        listening.listen()  # from now on nobody is refused, should the rest take a moment
        port = listening.getsockname()[1]
        hosts = [f"127.0.0.1:{port}", f"localhost:{port}"]
        app = server.streamable_http_app(
            host="127.0.0.1",
            transport_security=security.TransportSecuritySettings(
                enable_dns_rebinding_protection=True,
                allowed_hosts=hosts,
                allowed_origins=[f"http://{host}" for host in hosts],
            ),
        )
        note(f"serving http://127.0.0.1:{port}/mcp until interrupted")
        note(f"token: {'that of ' + TOKEN if given else token}")
        config = uvicorn.Config(protect(app, token), log_level="warning", lifespan="on")
        uvicorn.Server(config).run(sockets=[listening])
