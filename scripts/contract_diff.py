"""Say what a change of the patched specification means for users: `make contract-diff BASE=<rev>`.

Compares the specification at a git revision with the one in the tree. What breaks users comes first
and makes the exit status 1; what they need not notice follows. Variance decides which is which: a
request may accept more, an answer may promise more, and the reverse of either breaks somebody.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overlay import load_yaml
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
SPEC = "openapi/anthropic-usage-cost-api.patched.yml"

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
UNIONS = ("oneOf", "anyOf", "allOf")
COMPARED = {"$ref", "type", "enum", "const", "default", "properties", "required", "items"}
COMPARED |= {"additionalProperties", *LOWER_LIMITS, *UPPER_LIMITS, *UNIONS}
PROSE = {"title", "description", "summary", "example", "examples", "externalDocs", "$comment"}


class ContractDiffError(Exception):
    """Why there is nothing to compare."""


class Side(Enum):
    """Who sends the value: requests are written by users, answers are read by them."""

    REQUEST = "request"
    ANSWER = "answer"


@dataclass(frozen=True)
class Change:
    """One sentence about one place, and whether it breaks somebody."""

    breaking: bool
    text: str


def main(argv: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Print the changes; 1 when something breaks, 2 when nothing can be compared."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", required=True, metavar="REV", help="the git revision to compare")
    base = parser.parse_args(argv).base
    try:
        old, new = spec_at(base, root), load_yaml(root / SPEC)
    except (ContractDiffError, FileNotFoundError) as error:
        print(f"contract-diff: {error}", file=sys.stderr)
        return 2

    changes = compare(old, new)
    breaking = [change.text for change in changes if change.breaking]
    compatible = [change.text for change in changes if not change.breaking]
    if old == new:
        print(f"No change since {base}.")
    elif not changes:
        print(f"No change for users since {base}: only descriptions differ.")
    for title, texts in (("Breaking", breaking), ("Compatible", compatible)):
        if texts:
            print(f"{title} since {base}:", *texts, sep="\n  ")
    return 1 if breaking else 0


def spec_at(revision: str, root: Path) -> Any:
    """The patched specification as it was at a revision."""
    commit = _git(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    if commit.returncode:
        raise ContractDiffError(f"{revision!r} is not a revision that git knows")
    text = _git(root, "show", f"{commit.stdout.strip()}:./{SPEC}")
    if text.returncode:
        raise ContractDiffError(f"{revision} has no {SPEC}")
    return YAML(typ="safe", pure=True).load(text.stdout)


def compare(old: Any, new: Any) -> list[Change]:
    """Everything that differs for users between two specifications, each thing once."""
    comparison = _Comparison(old, new)
    comparison.run()
    return list(dict.fromkeys(comparison.changes))


@dataclass
class _Comparison:
    """Walks two specifications side by side and collects what differs."""

    old: Any
    new: Any
    changes: list[Change] = field(default_factory=list)
    # Named schemas are compared once for each side, however many places use them.
    _seen: set[tuple[str, Side]] = field(default_factory=set)

    def run(self) -> None:
        if self.old.get("servers") != self.new.get("servers"):
            self._breaks("servers: the address of the API changes")
        self._operations()
        self._class_names()

    def _operations(self) -> None:
        old, new = dict(_operations(self.old)), dict(_operations(self.new))
        for name in _without(old, new):
            self._breaks(f"{name}: removed")
        for name in _without(new, old):
            self._adds(f"{name}: new")
        for name in old:
            if name in new:
                self._operation(name, old[name], new[name])

    def _operation(self, name: str, old: Any, new: Any) -> None:
        if old.get("operationId") != new.get("operationId") or old.get("tags") != new.get("tags"):
            self._breaks(f"{name}: the generated module moves (operationId or tag changes)")
        self._security(name, old, new)
        self._parameters(name, old, new)
        self._responses(name, old, new)

    def _security(self, name: str, old: Any, new: Any) -> None:
        before = old.get("security", self.old.get("security", []))
        after = new.get("security", self.new.get("security", []))
        for scheme in _without(before, after):
            self._breaks(f"{name}: no longer accepts {' and '.join(scheme) or 'no credentials'}")
        for scheme in _without(after, before):
            self._adds(f"{name}: also accepts {' and '.join(scheme) or 'no credentials'}")

    def _parameters(self, operation: str, old: Any, new: Any) -> None:
        before = {_key(item): item for item in _resolved_all(old.get("parameters", []), self.old)}
        after = {_key(item): item for item in _resolved_all(new.get("parameters", []), self.new)}
        for key, parameter in before.items():
            where = f"{operation}: {key}"
            if key not in after:
                self._breaks(f"{where}: removed")
                continue
            was, now = parameter.get("required", False), after[key].get("required", False)
            if now and not was:
                self._breaks(f"{where}: is now required")
            elif was and not now:
                self._adds(f"{where}: is now optional")
            for option in ("style", "explode", "allowReserved"):
                if parameter.get(option) != after[key].get(option):
                    self._breaks(f"{where}: is written differently ({option} changes)")
            self._schema(where, parameter.get("schema"), after[key].get("schema"), Side.REQUEST)
        for key, parameter in after.items():
            if key not in before:
                if parameter.get("required", False):
                    self._breaks(f"{operation}: {key}: new and required")
                else:
                    self._adds(f"{operation}: {key}: new")

    def _responses(self, operation: str, old: Any, new: Any) -> None:
        before, after = old.get("responses", {}), new.get("responses", {})
        for status in before:
            if status not in after:
                self._breaks(f"{operation}: answer {status}: no longer described")
                continue
            self._schema(
                f"{operation}: answer {status}",
                _json_schema(before[status], self.old),
                _json_schema(after[status], self.new),
                Side.ANSWER,
            )
        for status in after:
            if status not in before:
                self._adds(f"{operation}: answer {status}: newly described")

    def _class_names(self) -> None:
        """The names of schemas are the names of generated classes."""
        old = self.old.get("components", {}).get("schemas", {})
        new = self.new.get("components", {}).get("schemas", {})
        for name in old:
            if name not in new:
                self._breaks(f"{name}: the generated class is gone")
        for name in new:
            if name not in old:
                self._adds(f"{name}: new generated class")

    def _schema(self, where: str, old: Any, new: Any, side: Side) -> None:
        old, new = old or {}, new or {}
        reference = old.get("$ref")
        if reference and reference == new.get("$ref"):
            where = reference.rpartition("/")[2]
            if (where, side) in self._seen:
                return
            self._seen.add((where, side))
        old, new = _resolved(old, self.old), _resolved(new, self.new)
        self._types(where, old, new, side)
        self._values(where, old, new, side)
        self._limits(where, old, new, side)
        self._unions(where, old, new, side)
        self._properties(where, old, new, side)
        if "items" in old or "items" in new:
            self._schema(f"{where}[]", old.get("items"), new.get("items"), side)
        was, now = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if isinstance(was, dict) and isinstance(now, dict):
            self._schema(f"{where}.*", was, now, side)
        elif was != now:
            self._breaks(f"{where}: what other fields may be changes")
        if side is Side.REQUEST and old.get("default") != new.get("default"):
            was, now = old.get("default", "nothing"), new.get("default", "nothing")
            self._breaks(f"{where}: the default changes from {was} to {now}")
        for keyword in sorted((old.keys() | new.keys()) - COMPARED - PROSE):
            if not keyword.startswith("x-") and old.get(keyword) != new.get(keyword):
                self._breaks(f"{where}: {keyword} changes")

    def _types(self, where: str, old: Any, new: Any, side: Side) -> None:
        before, after = _types(old), _types(new)
        if before == after or not (before or after):
            return
        if before and after and not before & after:
            self._breaks(f"{where}: changes from {_listed(before)} to {_listed(after)}")
            return
        if not after or (before and after - before):
            self._widened(where, f"may be {_listed(after - before) or 'anything'}", side)
        if not before or (after and before - after):
            self._narrowed(where, f"can be {_listed(before - after) or 'anything'}", side)

    def _values(self, where: str, old: Any, new: Any, side: Side) -> None:
        before, after = _enumerated(old), _enumerated(new)
        if before == after:
            return
        if before is None:
            self._narrowed(where, f"can be other than {_listed(after or [])}", side)
        elif after is None:
            self._widened(where, f"may be other than {_listed(before)}", side)
        else:
            for value in _without(after, before):
                self._widened(where, f"may be {value}", side)
            for value in _without(before, after):
                self._narrowed(where, f"can be {value}", side)

    def _limits(self, where: str, old: Any, new: Any, side: Side) -> None:
        for keywords, sign in ((LOWER_LIMITS, -1), (UPPER_LIMITS, 1)):
            for keyword in keywords:
                was, now = old.get(keyword), new.get(keyword)
                if was == now:
                    continue
                text = f"{where}: {keyword} changes from {_limit(was)} to {_limit(now)}"
                looser = now is None or (was is not None and sign * (now - was) > 0)
                self._record(text, breaking=looser is (side is Side.ANSWER))

    def _unions(self, where: str, old: Any, new: Any, side: Side) -> None:
        for keyword in UNIONS:
            before = {_member(item): item for item in old.get(keyword, [])}
            after = {_member(item): item for item in new.get(keyword, [])}
            for name in _without(after, before):
                self._widened(where, f"may be a {name}", side)
            for name in _without(before, after):
                self._narrowed(where, f"can be a {name}", side)
            for name, member in before.items():
                if name in after:
                    self._schema(f"{where} as {name}", member, after[name], side)

    def _properties(self, where: str, old: Any, new: Any, side: Side) -> None:
        before, after = old.get("properties", {}), new.get("properties", {})
        was, now = set(old.get("required", [])), set(new.get("required", []))
        for name, schema in before.items():
            place = f"{where}.{name}"
            if name not in after:
                self._breaks(f"{place}: removed")
                continue
            if name in was - now:
                self._record(f"{place}: may now be missing", breaking=side is Side.ANSWER)
            elif name in now - was:
                self._record(f"{place}: is now required", breaking=side is Side.REQUEST)
            self._schema(place, schema, after[name], side)
        for name in _without(after, before):
            breaking = side is Side.REQUEST and name in now
            self._record(f"{where}.{name}: new", breaking=breaking)

    def _widened(self, where: str, what: str, side: Side) -> None:
        self._record(f"{where}: now {what}", breaking=side is Side.ANSWER)

    def _narrowed(self, where: str, what: str, side: Side) -> None:
        self._record(f"{where}: no longer {what}", breaking=side is Side.REQUEST)

    def _breaks(self, text: str) -> None:
        self._record(text, breaking=True)

    def _adds(self, text: str) -> None:
        self._record(text, breaking=False)

    def _record(self, text: str, *, breaking: bool) -> None:
        self.changes.append(Change(breaking, text))


def _operations(spec: Any) -> Iterator[tuple[str, Any]]:
    for path, item in spec.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def _resolved(node: Any, spec: Any) -> Any:
    """Follow a local reference; fields beside it win, as OpenAPI 3.1 has it."""
    if "$ref" not in node:
        return node
    target = spec
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part.replace("~1", "/").replace("~0", "~")]
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return {**_resolved(target, spec), **beside}


def _resolved_all(nodes: Iterable[Any], spec: Any) -> list[Any]:
    return [_resolved(node, spec) for node in nodes]


def _json_schema(response: Any, spec: Any) -> Any:
    content = _resolved(response, spec).get("content", {})
    return content.get("application/json", {}).get("schema", {})


def _key(parameter: Any) -> str:
    return f"{parameter['in']} parameter {parameter['name']}"


def _member(schema: Any) -> str:
    """A name for a member of a union: its own, or what it looks like."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    return str(schema.get("type", "schema"))


def _types(schema: Any) -> set[str]:
    """The types a value may have, none listed meaning any; an integer is a number too."""
    listed = schema.get("type", [])
    types = {listed} if isinstance(listed, str) else set(listed)
    return types | {"integer"} if "number" in types else types


def _enumerated(schema: Any) -> list[Any] | None:
    """The only values a schema allows, if it says so."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return None if values is None else list(values)


def _without(these: Iterable[Any], those: Iterable[Any] | Mapping[Any, Any]) -> list[Any]:
    return [item for item in these if item not in those]


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, values)))


def _limit(value: Any) -> str:
    return "none" if value is None else str(value)


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
