"""Apply OpenAPI Overlay 1.1 documents to a specification, strictly.

The Overlay specification lets an action that selects nothing pass in silence. Here it is an error,
and so is an action that changes nothing: a correction that no longer corrects anything means that
upstream has moved, and somebody should look at it rather than carry it along.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jsonpath
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from pathlib import Path

    from jsonpath import JSONPathMatch

_KINDS = ("update", "remove", "copy")
_FIELDS = {"target", "description", *_KINDS}


class OverlayError(Exception):
    """An overlay document that is malformed, or an action that does not do what it says."""


def load_yaml(path: Path) -> Any:
    """Read a YAML or JSON document into plain dicts, lists and scalars."""
    return YAML(typ="safe", pure=True).load(path)


def apply_overlays(document: Any, overlays: Iterable[Path]) -> Any:
    """Return a copy of `document` with the overlay files applied in the order given."""
    for path in overlays:
        document = apply_overlay(document, load_yaml(path), source=path.name)
    return document


def apply_overlay(document: Any, overlay: Any, *, source: str) -> Any:
    """Return a copy of `document` with one overlay applied; `source` names it in errors."""
    actions = _actions(overlay, source)
    document = copy.deepcopy(document)
    for number, action in enumerate(actions, start=1):
        try:
            document = _apply_action(document, action)
        except OverlayError as error:
            target = action.get("target", "no target") if isinstance(action, Mapping) else action
            raise OverlayError(f"{source}: action {number} ({target}): {error}") from error
    return document


def _actions(overlay: Any, source: str) -> list[Any]:
    """The actions of an overlay document, once its frame has been checked."""
    if not isinstance(overlay, Mapping):
        raise OverlayError(f"{source}: not an overlay document")
    if str(overlay.get("overlay")) not in {"1.0.0", "1.1.0"}:
        raise OverlayError(f"{source}: `overlay` must be 1.0.0 or 1.1.0")
    info = overlay.get("info")
    if not isinstance(info, Mapping) or not {"title", "version"} <= info.keys():
        raise OverlayError(f"{source}: `info` needs a title and a version")
    actions = overlay.get("actions")
    if not isinstance(actions, list) or not actions:
        raise OverlayError(f"{source}: `actions` must be a list with at least one action")
    return actions


def _apply_action(document: Any, action: Any) -> Any:
    """Apply one action to `document` and return it; only a replaced root is a new object."""
    kind = _kind(action)
    nodes = _select(action["target"], document)
    if not nodes:
        raise OverlayError("selects nothing; upstream has changed, so look again")

    before = copy.deepcopy(document)
    if kind == "remove":
        _remove(nodes)
    else:
        value = action["update"] if kind == "update" else _copied(action["copy"], before)
        for node in nodes:
            if node.parent is None:
                document = _merged(document, value)
            else:
                holder: Any = node.parent.obj
                holder[node.parts[-1]] = _merged(node.obj, value)
    if document == before:
        raise OverlayError("changes nothing; upstream has caught up, so drop it")
    return document


def _kind(action: Any) -> str:
    """What an action does: exactly one of update, remove and copy."""
    if not isinstance(action, Mapping) or not isinstance(action.get("target"), str):
        raise OverlayError("an action is an object with a `target`")
    unknown = sorted(key for key in action if key not in _FIELDS and not str(key).startswith("x-"))
    if unknown:
        raise OverlayError(f"unknown field {', '.join(map(str, unknown))}")
    kinds = [kind for kind in _KINDS if kind in action and action[kind] is not False]
    if len(kinds) != 1:
        raise OverlayError("needs exactly one of update, remove: true and copy")
    if kinds == ["remove"] and action["remove"] is not True:
        raise OverlayError("`remove` is true or false")
    return kinds[0]


def _select(path: str, document: Any) -> list[JSONPathMatch]:
    """The nodes an RFC 9535 path selects, each once, in document order."""
    try:
        found = {node.parts: node for node in jsonpath.finditer(path, document, strict=True)}
    except jsonpath.JSONPathError as error:
        raise OverlayError(f"{path} is not RFC 9535 JSONPath: {error}") from error
    return sorted(found.values(), key=_position)


def _position(node: JSONPathMatch) -> list[tuple[bool, Any]]:
    """A sort key that never compares an index with a name."""
    return [(isinstance(part, int), part) for part in node.parts]


def _remove(nodes: list[JSONPathMatch]) -> None:
    # From the end, so that an index still means the element it was selected for.
    for node in reversed(nodes):
        if node.parent is None:
            raise OverlayError("cannot remove the whole document")
        holder: Any = node.parent.obj
        del holder[node.parts[-1]]


def _copied(path: str, document: Any) -> Any:
    """The one node that a `copy` action takes its value from."""
    nodes = _select(path, document)
    if len(nodes) != 1:
        raise OverlayError(f"copies from {path}, which selects {len(nodes)} nodes instead of one")
    return nodes[0].obj


def _merged(target: Any, value: Any) -> Any:
    """Objects merge, arrays grow, anything else is replaced; the value itself is never shared."""
    if isinstance(target, dict):
        if not isinstance(value, Mapping):
            raise OverlayError(f"an object cannot become {value!r} by an update; remove it first")
        for key, item in value.items():
            target[key] = _merged(target[key], item) if key in target else copy.deepcopy(item)
        return target
    if isinstance(target, list):
        target.extend(copy.deepcopy(value if isinstance(value, list) else [value]))
        return target
    return copy.deepcopy(value)
