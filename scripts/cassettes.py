"""Cassettes: vcrpy files whose bodies are real JSON, without keys, compared by every parameter."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import vcr

__all__ = ["FOLDER", "HOST", "TRACK", "Scrubber", "exchanges", "recorder", "run_command"]

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "cassettes"
HOST: Final = "https://api.anthropic.com"
TRACK: Final = "anthropic-usage-track"

_KEPT_REQUEST_HEADERS: Final = ("anthropic-version", "anthropic-beta", "accept", "accept-encoding")
_KEPT_RESPONSE_HEADERS: Final = (
    "content-type",
    "date",
    "request-id",
    "retry-after",
    "x-should-retry",
)
"""Everything else is dropped: a header nobody thought of cannot give anything away."""

_REQUEST_ID: Final = "req_recorded"
"""They are random, and tell Anthropic which request it was."""


class Scrubber:
    """Replaces what is private by pseudonyms, the same each time it comes up in one recording."""

    _IDS: Final = re.compile(
        r"\b(apikey|wrkspc|user|svac|ekey|org)_[A-Za-z0-9]{6,}"
        r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    )
    _EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
    _KEY: Final = re.compile(r"sk-ant-[\w.-]+")
    _NAMES: Final = ("name", "api_key_name", "tags", "partial_key_hint")

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def body(self, value: Any, field: str = "") -> Any:
        """Return a JSON value without anything private."""
        if isinstance(value, dict):
            if field == "tags":
                return {self._as("tag", k): self._as("tag", v) for k, v in value.items()}
            return {name: self.body(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self.body(item, field) for item in value]
        if not isinstance(value, str):
            return value
        if field == "next_page":
            return self._as("page", value)
        if field in self._NAMES:
            return self._as(field, value)
        return self.text(value)

    def text(self, text: str) -> str:
        """Return a text with ids, emails and keys replaced."""
        text = self._KEY.sub("sk-ant-scrubbed", text)
        text = self._EMAIL.sub(lambda match: self._as("email", match[0]), text)
        return self._IDS.sub(lambda match: self._as(match[1] or "uuid", match[0]), text)

    def uri(self, uri: str) -> str:
        """Return an address whose parameters match the scrubbed bodies."""
        parts = urlsplit(uri)
        query = [
            (name, self._as("page", value) if name == "page" else self.text(value))
            for name, value in parse_qsl(parts.query)
        ]
        return urlunsplit(parts._replace(query=urlencode(query)))

    def _as(self, kind: str, value: str) -> str:
        number = sum(known == kind for known, _ in self._known) + 1
        pseudonyms = {
            "email": f"person{number}@example.com",
            "uuid": f"00000000-0000-4000-8000-{number:012}",
        }
        pseudonym = pseudonyms.get(kind, f"{kind}_scrubbed{number:06}")
        return self._known.setdefault((kind, value), pseudonym)


class _JsonBodies:
    """vcrpy's serializer, with bodies as JSON values that a diff can show."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        interactions = []
        for exchange in cassette["interactions"]:
            text = exchange["response"]["body"]["string"]
            text = text.decode() if isinstance(text, bytes) else text
            try:
                body = {"json": json.loads(text)}
            except ValueError:
                body = {"text": text}
            interactions.append({**exchange, "response": {**exchange["response"], "body": body}})
        return json.dumps({"interactions": interactions, "version": 1}, indent=1) + "\n"

    @staticmethod
    def deserialize(text: str) -> dict[str, Any]:
        cassette: dict[str, Any] = json.loads(text)
        for exchange in cassette["interactions"]:
            body = exchange["response"]["body"]
            if "json" in body:
                exchange["response"]["body"] = {"string": json.dumps(body["json"]).encode()}
            else:
                exchange["response"]["body"] = {"string": body["text"].encode()}
        return cassette


def recorder(
    folder: Path = FOLDER, record_mode: str = "none", scrubber: Scrubber | None = None
) -> vcr.VCR:
    """Return the recorder and player of cassettes in `folder`."""
    made = vcr.VCR(
        cassette_library_dir=str(folder),
        path_transformer=vcr.VCR.ensure_suffix(".json"),
        serializer="json-bodies",
        record_mode=vcr.mode(record_mode),
        match_on=["method", "host", "path", "every-parameter"],
        before_record_request=_request_filter(scrubber),
        before_record_response=_response_filter(scrubber),
        decode_compressed_response=True,
    )
    made.register_serializer("json-bodies", _JsonBodies)
    made.register_matcher("every-parameter", _same_parameters)
    return made


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    main: Callable[[list[str]], int] | None = None,
) -> tuple[int, str, str]:
    """Run a command of the CLI in this process; returns its exit code, stdout and stderr."""
    from anthropic_usage.cli.main import main as cli
    from anthropic_usage.cli.track import main as tracker

    root = tempfile.TemporaryDirectory()
    if command[0] == TRACK:
        main, command = tracker, (*command[1:], "--datalake-root", root.name)
    main = main or cli
    before = dict(os.environ)
    os.environ.update(environment)
    stdout, stderr = io.StringIO(), io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            code = main([*command])
    finally:
        os.environ.clear()
        os.environ.update(before)
        root.cleanup()
    return code, stdout.getvalue(), stderr.getvalue()


def exchanges(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a cassette's exchanges as they stand in the file."""
    yield from json.loads(path.read_text(encoding="utf-8"))["interactions"]


def _same_parameters(one: Any, other: Any) -> None:
    """Compare parameters with their repetitions, in any order."""
    left, right = (sorted(parse_qsl(urlsplit(r.uri).query)) for r in (one, other))
    if left != right:
        raise AssertionError(f"{left} != {right}")


def _request_filter(scrubber: Scrubber | None) -> Callable[[Any], Any]:
    def keep(request: Any) -> Any:
        parts = urlsplit(request.uri)
        uri = HOST + urlunsplit(("", "", parts.path, parts.query, ""))
        request.uri = scrubber.uri(uri) if scrubber else uri
        headers = {name.lower(): value for name, value in request.headers.items()}
        request.headers = {name: headers[name] for name in _KEPT_REQUEST_HEADERS if name in headers}
        return request

    return keep


def _response_filter(scrubber: Scrubber | None) -> Callable[[Any], Any]:
    def keep(response: Any) -> Any:
        headers = {name.lower(): value for name, value in response["headers"].items()}
        response["headers"] = {
            name: headers[name] for name in _KEPT_RESPONSE_HEADERS if name in headers
        }
        text = response["body"]["string"]
        if "request-id" in response["headers"]:
            response["headers"]["request-id"] = [_REQUEST_ID]
        try:
            body = json.loads(text)
        except ValueError:
            if scrubber:
                response["body"]["string"] = scrubber.text(text.decode(errors="replace")).encode()
            return response
        body = scrubber.body(body) if scrubber else body
        if "request_id" in body:
            body["request_id"] = _REQUEST_ID
        response["body"]["string"] = json.dumps(body).encode()
        return response

    return keep
