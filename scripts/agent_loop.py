"""An agent that answers questions about spend, with Anthropic's SDK and the tool `anthropic_usage`.

    python scripts/agent_loop.py --demo "How much have I spent on the Anthropic API this month?"

Without a key for inference the model is a **scripted stand-in** on 127.0.0.1. It speaks the
Messages API over HTTP, calls the tool as the two example questions do, and reads the answer back.
The loop around it is the real one: with ANTHROPIC_API_KEY and `--live` it talks to Claude.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from anthropic_usage import AsyncUsageClient
from anthropic_usage.agent import NAME, anthropic_usage, definition
from anthropic_usage.agent.tool import settings
from anthropic_usage.simulator import Simulator

QUESTIONS = (
    "How much have I spent on the Anthropic API this month?",
    "Show my token usage for the past week grouped by model",
)
MODEL = "claude-sonnet-5-5"


async def converse(question: str, model: Any, usage: AsyncUsageClient) -> list[dict[str, Any]]:
    """Run the loop until the model has its answer; returns the messages."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    while True:
        reply = await model.messages.create(
            model=MODEL, max_tokens=1024, tools=[definition()], messages=messages
        )
        content = [block.model_dump(exclude_none=True) for block in reply.content]
        messages.append({"role": "assistant", "content": content})
        if reply.stop_reason != "tool_use":
            return messages
        results = [
            {
                "type": "tool_result",
                "tool_use_id": block["id"],
                "content": await anthropic_usage(block["input"], client=usage),
            }
            for block in content
            if block["type"] == "tool_use" and block["name"] == NAME
        ]
        messages.append({"role": "user", "content": results})


class StandIn(BaseHTTPRequestHandler):
    """Speaks the Messages API by a script: first the tool call, then what the tool said."""

    today = dt.datetime.now(dt.UTC).date()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        last = asked["messages"][-1]["content"]
        if isinstance(last, str):
            content: list[Any] = [self._call(last)]
        else:
            content = [{"type": "text", "text": self._answer(last[0]["content"])}]
        body = json.dumps(
            {
                "id": "msg_standin",
                "type": "message",
                "role": "assistant",
                "model": asked["model"],
                "content": content,
                "stop_reason": "tool_use" if content[0]["type"] == "tool_use" else "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _call(self, question: str) -> dict[str, Any]:
        if "spent" in question:
            first = self.today.replace(day=1)
            asked: dict[str, Any] = {"action": "cost", "starting_at": f"{first}T00:00:00Z"}
        else:
            week_ago = self.today - dt.timedelta(days=7)
            asked = {"action": "usage", "starting_at": f"{week_ago}T00:00:00Z"}
            asked["group_by"] = ["model"]
        asked["bucket_width"] = "1d"
        return {"type": "tool_use", "id": "toolu_standin", "name": NAME, "input": asked}

    def _answer(self, told: str) -> str:
        header, _, text = told.partition("\n")
        if header.startswith("Error:"):
            return header
        report = json.loads(text)
        if report["report"] == "cost":
            spent = Decimal(report["totals"]["amount_usd"])
            until = report["settled_until"][:10]
            return f"You were billed ${spent:,.2f} this month, up to {until} (exclusive)."
        models: dict[str, int] = {}
        for record in report["records"]:
            models[record["model"]] = models.get(record["model"], 0) + record["total_tokens"]
        lines = [
            f"{model}: {tokens:,} tokens"
            for model, tokens in sorted(models.items(), key=lambda item: -item[1])
        ]
        return "\n".join([*lines, f"in all: {report['totals']['total_tokens']:,} tokens"])

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def stand_in() -> Iterator[str]:
    """Serve the stand-in; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def ask(question: str, address: str | None, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask one question of the stand-in at an address, or of Claude."""
    import anthropic

    key = {"api_key": "stand-in", "base_url": address} if address else {}
    async with (
        anthropic.AsyncAnthropic(**key) as model,
        AsyncUsageClient(**options) as usage,
    ):
        return await converse(question, model, usage)


def show(messages: list[dict[str, Any]]) -> None:
    """Print a conversation."""
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            print(f"you> {content}")
            continue
        for block in content:
            if block["type"] == "tool_use":
                print(f"claude calls> {block['name']} {json.dumps(block['input'])}")
            elif block["type"] == "tool_result":
                lines = block["content"].splitlines()
                print(f"tool> {lines[0]} ({len(block['content']):,} characters)")
            else:
                print(f"claude> {block['text']}")


def main() -> int:
    """Answer the questions given, or the two of the examples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", nargs="*", default=QUESTIONS)
    parser.add_argument("--demo", action="store_true", help="ask the built-in simulator")
    parser.add_argument("--live", action="store_true", help="let Claude answer, with a real key")
    options = parser.parse_args()
    if options.live and not os.environ.get("ANTHROPIC_API_KEY"):
        parser.error("--live needs ANTHROPIC_API_KEY")
    with contextlib.ExitStack() as stack:
        usage = settings()
        if options.demo:
            server = stack.enter_context(Simulator().serve())
            usage = {"api_key": Simulator.DEMO_KEY, "base_url": server.url}
        address = None if options.live else stack.enter_context(stand_in())
        if address:
            print("(claude is a scripted stand-in of the Messages API)")
        for question in options.questions:
            show(asyncio.run(ask(question, address, usage)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
