"""Check spec, generated code, decoder and cassettes against each other: `make contract`.

Every recorded exchange must conform to the patched specification, both the request and the answer;
what the answer holds beyond it is reported as growth. The generated models must read and write each
answer without loss, and the bulk decoder must see the same values as they do. Every parameter of
the specification must be used by some cassette, and no file may hold a secret.
"""

from __future__ import annotations

import argparse
import collections
import copy
import datetime as dt
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import attrs
import jsonschema_rs
from anthropic_admin_client.types import Unset
from anthropic_usage.reports import CLAUDE_CODE, COST, USAGE, Query
from cassettes import FOLDER, HOST, exchanges
from overlay import load_yaml
from scenarios import catalogue, recording

ROOT: Final = Path(__file__).resolve().parent.parent
SPEC: Final = load_yaml(ROOT / "openapi" / "anthropic-usage-cost-api.patched.yml")

OPERATIONS: Final = {
    "/v1/organizations/usage_report/messages": "usage.get_messages_usage_report",
    "/v1/organizations/cost_report": "cost.get_cost_report",
    "/v1/organizations/usage_report/claude_code": "claude_code.get_claude_code_usage_report",
    "/v1/organizations/me": "organization.get_organization",
    "/v1/organizations/workspaces": "organization.list_workspaces",
    "/v1/organizations/api_keys": "organization.list_api_keys",
    "/v1/organizations/users": "organization.list_users",
    "/v1/organizations/service_accounts": "organization.list_service_accounts",
}
"""Path -> the generated module of its operation."""

_DAY: Final = ("2023-01-01", "2023-01-02")
QUERIES: Final[dict[str, Query]] = {
    USAGE.path: USAGE.ask(*_DAY),
    COST.path: COST.ask(*_DAY),
    CLAUDE_CODE.path: CLAUDE_CODE.ask(*_DAY),
}

_SECRET: Final = re.compile(r"sk-ant-[a-z]+\d\d-(?!MARKER)[A-Za-z0-9_-]{16,}")
_HINT: Final = re.compile(r"sk-ant-api03-[A-Za-z0-9]{2,4}\.\.\.")
_NO_SECRETS: Final = ("sk-ant-admin01-simulator-demo-key", "sk-ant-oat01-simulator-demo-token")
_EMAIL: Final = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)")
_RESERVED: Final = (".example", "example.com", "emaildomain.com", "company.com")


def request_problems(exchange: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a request: operation, parameters, their values, headers."""
    request = exchange["request"]
    url = urlsplit(request["uri"])
    if f"{url.scheme}://{url.netloc}" != HOST:
        yield f"the host is {url.netloc}"
    operation = SPEC["paths"].get(url.path, {}).get(request["method"].lower())
    if operation is None:
        yield f"undeclared operation {request['method']} {url.path}"
        return
    declared = {(p["in"], p["name"].lower()): p for p in map(resolve, operation["parameters"])}
    sent: dict[str, list[str]] = collections.defaultdict(list)
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        sent[name].append(value)
    for name, values in sent.items():
        parameter = declared.get(("query", name))
        if parameter is None:
            yield f"undeclared parameter {name}"
            continue
        schema = resolve(parameter["schema"])
        for error in validator(json.dumps(schema)).iter_errors(_typed(schema, values)):
            yield f"parameter {name}: {error.message}"
    headers = {name.lower() for name in request["headers"]}
    for (place, name), parameter in declared.items():
        if parameter.get("required") and name not in (sent if place == "query" else headers):
            yield f"missing {place} parameter {name}"


def response_problems(exchange: dict[str, Any], may_grow: bool = False) -> Iterator[str]:
    """Yield where an answer is not what the specification says, or is more."""
    schema = response_schema(exchange)
    status = exchange["response"]["status"]["code"]
    if schema is None:
        yield f"undeclared status {status}"
        return
    body = exchange["response"]["body"].get("json")
    if body is None:
        yield f"the answer with status {status} is not JSON"
        return
    for error in validator(json.dumps(schema)).iter_errors(body):
        yield f"{_place(error)}: {error.message}"
    if not may_grow:
        yield from growth(schema, body)


def growth(schema: dict[str, Any], body: Any) -> Iterator[str]:
    """Yield the fields of an answer that the specification does not know."""
    for error in validator(json.dumps(schema), closed=True).iter_errors(body):
        if "dditional properties" in error.message or "valid under any" in error.message:
            yield f"grew at {_place(error)}: {error.message}"


def model_problems(path: str, body: dict[str, Any]) -> Iterator[str]:
    """Yield where generated models lose something of an answer, or see it otherwise than `wire`."""
    module = importlib.import_module(f"anthropic_admin_client.api.{OPERATIONS[path]}")
    model = module.parse(body)
    if model.to_dict() != body:
        yield "the generated model does not write back what it read"
    query = QUERIES.get(path)
    if query is None:
        return
    decoded = [row.as_dict() for row in query.rows(query.decode(json.dumps(body).encode()))]
    expected = list(_flat(query, model))
    if len(decoded) != len(expected):
        yield f"the decoder sees {len(decoded)} rows, the generated model {len(expected)}"
    for number, (row, other) in enumerate(zip(decoded, expected, strict=False)):
        for name, value in other.items():
            if row[name] != value:
                yield f"row {number}: {name} is {row[name]!r} decoded, {value!r} in the model"


def parameters() -> set[tuple[str, str]]:
    """Return every parameter that the specification declares, with its path."""
    return {
        (path, resolve(parameter)["name"])
        for path, item in SPEC["paths"].items()
        for parameter in item["get"]["parameters"]
    }


def used(exchange: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the parameters that an exchange uses, with its path."""
    url = urlsplit(exchange["request"]["uri"])
    names = {name for name, _ in parse_qsl(url.query)} | set(exchange["request"]["headers"])
    return {(url.path, name) for name in names}


def secrets() -> Iterator[str]:
    """Yield the files that git tracks and that hold a key, or a cassette's real email address."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for known in _NO_SECRETS:
            text = text.replace(known, "")
        if _SECRET.search(_HINT.sub("", text)):
            yield f"{name} holds what looks like a key"
        if name.startswith("tests/cassettes/"):
            for match in _EMAIL.finditer(text):
                if not match[1].endswith(_RESERVED):
                    yield f"{name} holds the address {match[0]}"


def cassette_problems(path: Path) -> Iterator[str]:
    """Yield all that is wrong with a cassette."""
    grows = {scenario.name for scenario in catalogue(recording()) if scenario.grows}
    for number, exchange in enumerate(exchanges(path)):
        problems = [
            *request_problems(exchange),
            *response_problems(exchange, may_grow=path.stem in grows),
        ]
        body = exchange["response"]["body"].get("json")
        if exchange["response"]["status"]["code"] == 200 and not problems:
            problems += model_problems(urlsplit(exchange["request"]["uri"]).path, body)
        yield from (f"{path.name}[{number}]: {problem}" for problem in problems)


def resolve(node: Any) -> Any:
    """Follow references."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def response_schema(exchange: dict[str, Any]) -> Any:
    """Return the schema of an exchange's answer, None if its status is not declared."""
    path = urlsplit(exchange["request"]["uri"]).path
    responses = SPEC["paths"][path]["get"]["responses"]
    status = exchange["response"]["status"]["code"]
    found = responses.get(str(status)) or responses.get(f"{status // 100}XX")
    return None if found is None else resolve(found)["content"]["application/json"]["schema"]


@cache
def validator(schema: str, closed: bool = False) -> Any:
    """Return a validator; a `closed` one refuses fields that no schema names."""
    components = copy.deepcopy(SPEC["components"])
    if closed:
        for name, component in components["schemas"].items():
            if "properties" in component and name != "UnknownActor":
                component.setdefault("additionalProperties", False)
    document = {**json.loads(schema), "components": components}
    return jsonschema_rs.Draft202012Validator(document, validate_formats=True)


def _typed(schema: dict[str, Any], values: list[str]) -> Any:
    """Return a parameter's value as its schema types it."""
    if schema["type"] == "array":
        return values
    if schema["type"] == "integer":
        return int(values[0]) if values[0].isdecimal() else values[0]
    if schema["type"] == "boolean":
        return {"true": True, "false": False}.get(values[0], values[0])
    return values[0] if len(values) == 1 else values


def _place(error: Any) -> str:
    return "/".join(map(str, error.instance_path)) or "the top"


def _flat(query: Query, report: Any) -> Iterator[dict[str, Any]]:
    """Flatten a generated model into rows; written apart from the decoder, to disagree with it."""
    for entry in report.data:
        if query.report == "claude_code":
            yield _flat_record(entry)
            continue
        for result in entry.results:
            row = {
                name: None if isinstance(value, Unset) else value
                for name, value in fields_of(result).items()
                if name in query.row.DIMENSIONS
            }
            row |= {"starting_at": entry.starting_at, "ending_at": entry.ending_at}
            if query.report == "cost":
                cents = Decimal(result.amount)
                row |= {"amount_cents": cents, "amount_usd": cents / 100}
            else:
                short = result.cache_creation.ephemeral_5m_input_tokens
                long = result.cache_creation.ephemeral_1h_input_tokens
                uncached, read = result.uncached_input_tokens, result.cache_read_input_tokens
                row |= {
                    "uncached_input_tokens": uncached,
                    "cache_creation_5m_input_tokens": short,
                    "cache_creation_1h_input_tokens": long,
                    "cache_read_input_tokens": read,
                    "output_tokens": result.output_tokens,
                    "web_search_requests": result.server_tool_use.web_search_requests,
                    "input_tokens": uncached + short + long + read,
                    "total_tokens": uncached + short + long + read + result.output_tokens,
                }
            yield row


def _flat_record(record: Any) -> dict[str, Any]:
    actor = record.actor.to_dict()
    kind = actor.pop("type")
    name = actor.get("email_address") or actor.get("api_key_name") or min(actor.values())
    core, tools = record.core_metrics, record.tool_actions.additional_properties
    tokens = [use.tokens for use in record.model_breakdown]
    cents = sum(Decimal(str(use.estimated_cost.amount)) for use in record.model_breakdown)
    row: dict[str, Any] = {
        "date": record.date.astimezone(dt.UTC).date(),
        "actor": name,
        "actor_type": kind,
        "num_sessions": core.num_sessions,
        "lines_added": core.lines_of_code.added,
        "lines_removed": core.lines_of_code.removed,
        "commits_by_claude_code": core.commits_by_claude_code,
        "pull_requests_by_claude_code": core.pull_requests_by_claude_code,
        "input_tokens": sum(use.input_ for use in tokens),
        "output_tokens": sum(use.output for use in tokens),
        "cache_read_tokens": sum(use.cache_read for use in tokens),
        "cache_creation_tokens": sum(use.cache_creation for use in tokens),
        "estimated_cost_usd": cents / 100,
    }
    for field in (
        "organization_id",
        "customer_type",
        "subscription_type",
        "terminal_type",
        "is_remote",
    ):
        value = getattr(record, field)
        row[field] = None if isinstance(value, Unset) else value
    for tool in ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool"):
        row[f"{tool}_accepted"] = tools[tool].accepted if tool in tools else 0
        row[f"{tool}_rejected"] = tools[tool].rejected if tool in tools else 0
    return row


def fields_of(model: Any) -> dict[str, Any]:
    """Return a generated model's own fields."""
    return attrs.asdict(model, recurse=False)


def main() -> int:
    """Check everything and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cassettes", nargs="*", type=Path, help="these only")
    chosen = parser.parse_args().cassettes
    paths = chosen or sorted(p for p in FOLDER.glob("*.json") if p.name != "recording.json")
    problems = [problem for path in paths for problem in cassette_problems(path)]
    count = sum(1 for path in paths for _ in exchanges(path))
    if not chosen:
        seen = {parameter for path in paths for item in exchanges(path) for parameter in used(item)}
        problems += [f"no cassette uses {name} of {path}" for path, name in parameters() - seen]
        problems += secrets()
    print("\n".join(problems) or f"{len(paths)} cassettes, {count} exchanges: all as the spec says")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
