"""The overlay applier does what Overlay 1.1 says, and refuses what does nothing."""

import copy

import pytest
import regen
from overlay import OverlayError, apply_overlay, apply_overlays, load_yaml

OVERLAYS = sorted((regen.ROOT / regen.OVERLAYS).iterdir())
SPEC = {
    "info": {"title": "T", "version": "1"},
    "tags": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
    "paths": {"/x": {"get": {"summary": "X"}}, "/y": {"get": {"summary": "Y"}}},
}


def overlay(*actions, **frame):
    info = {"title": "Test", "version": "1"}
    return {"overlay": "1.1.0", "info": info, "actions": list(actions), **frame}


def applied(*actions):
    return apply_overlay(SPEC, overlay(*actions), source="00-test")


def refused(*actions):
    with pytest.raises(OverlayError) as caught:
        applied(*actions)
    return str(caught.value)


def test_update_merges_objects_at_every_match():
    """A wildcard reaches every node, and what the update does not name stays."""
    result = applied({"target": "$.paths.*.get", "update": {"deprecated": True}})
    assert result["paths"]["/x"]["get"] == {"summary": "X", "deprecated": True}
    assert result["paths"]["/y"]["get"] == {"summary": "Y", "deprecated": True}


def test_update_reaches_the_root():
    """`$` is a target like any other."""
    assert applied({"target": "$", "update": {"openapi": "3.1.0"}})["openapi"] == "3.1.0"


def test_update_of_an_array_concatenates_lists_and_appends_values():
    """Overlay 1.1: an array takes an array's elements, or one value as its last element."""
    more = {"target": "$.tags", "update": [{"name": "d"}, {"name": "e"}]}
    one = {"target": "$.tags", "update": {"name": "f"}}
    assert [tag["name"] for tag in applied(more, one)["tags"]] == list("abcdef")


def test_update_replaces_a_primitive():
    """Overlay 1.1 allows a primitive as a target."""
    assert applied({"target": "$.info.version", "update": "2"})["info"]["version"] == "2"


def test_an_update_is_written_in_full_wherever_it_lands():
    """Two places never share one object, or a later action on one would change the other."""
    result = applied(
        {"target": "$.paths.*.get", "update": {"tags": ["a"]}},
        {"target": "$.paths['/x'].get.tags", "update": "b"},
    )
    assert result["paths"]["/y"]["get"]["tags"] == ["a"]


def test_remove_takes_every_match_out_of_its_container():
    """Elements go by identity: removing the first does not shift the meaning of the second."""
    result = applied({"target": "$.tags[?@.name != 'b']", "remove": True})
    assert result["tags"] == [{"name": "b"}]
    assert applied({"target": "$.paths['/x']", "remove": True})["paths"].keys() == {"/y"}


def test_copy_merges_another_node_in():
    """Overlay 1.1: the copied node is merged into the target as an update would be."""
    copied = applied({"target": "$.paths['/x'].get", "copy": "$.paths['/y'].get"})
    assert copied["paths"]["/x"]["get"] == {"summary": "Y"}


def test_actions_see_what_earlier_actions_did():
    """Actions run in order, each on the result of the one before."""
    result = applied(
        {"target": "$", "update": {"components": {}}},
        {"target": "$.components", "copy": "$.info"},
    )
    assert result["components"] == SPEC["info"]


def test_the_input_is_left_alone():
    """Applying an overlay returns a new document."""
    before = copy.deepcopy(SPEC)
    applied({"target": "$.info", "update": {"title": "changed"}})
    assert before == SPEC


def test_an_action_that_selects_nothing_is_an_error():
    """The message names the file, the action's number and its target."""
    good = {"target": "$.info", "update": {"title": "changed"}}
    message = refused(good, {"target": "$.nowhere", "update": {}})
    assert message.startswith("00-test: action 2 ($.nowhere): selects nothing")


@pytest.mark.parametrize(
    "action",
    [
        {"target": "$.info", "update": {"title": "T"}},
        {"target": "$.info", "update": {}},
        {"target": "$.info", "copy": "$.info"},
    ],
)
def test_an_action_that_changes_nothing_is_an_error(action):
    """A correction that upstream has made itself must not be carried along."""
    assert "00-test: action 1 ($.info): changes nothing" in refused(action)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"target": "$.info"}, "exactly one of"),
        ({"target": "$.info", "remove": False}, "exactly one of"),
        ({"target": "$.info", "remove": True, "update": {"a": 1}}, "exactly one of"),
        ({"target": "$.info", "remove": "yes"}, "`remove` is true or false"),
        ({"target": "$.info", "updat": {}}, "unknown field updat"),
        ({"update": {}}, "an action is an object with a `target`"),
        ("remove everything", "an action is an object with a `target`"),
        ({"target": "$.info[", "remove": True}, "is not RFC 9535 JSONPath"),
        ({"target": "$", "remove": True}, "cannot remove the whole document"),
        ({"target": "$.info", "copy": "$.tags[*]"}, "selects 3 nodes instead of one"),
        ({"target": "$.info", "copy": "$.nowhere"}, "selects 0 nodes instead of one"),
        ({"target": "$.info", "update": "text"}, "an object cannot become 'text'"),
    ],
)
def test_a_malformed_action_is_an_error(action, reason):
    """Nothing is guessed: an action says one thing, in words the specification knows."""
    message = refused(action)
    assert message.startswith("00-test: action 1 (")
    assert reason in message


def test_extension_fields_are_allowed_on_actions():
    """Overlay 1.1 lets an action carry x- fields."""
    action = {"target": "$.info.title", "update": "U", "x-reviewed": True, "description": "why"}
    assert applied(action)["info"]["title"] == "U"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "not an overlay document"),
        (overlay({}, overlay="2.0.0"), "`overlay` must be"),
        (overlay({}, info={"title": "no version"}), "`info` needs"),
        (overlay(), "at least one action"),
    ],
)
def test_a_malformed_overlay_is_an_error(document, reason):
    """The frame of the document is checked before anything is applied."""
    with pytest.raises(OverlayError, match=f"00-test: .*{reason}"):
        apply_overlay(SPEC, document, source="00-test")


def test_overlays_apply_in_the_order_given(tmp_path):
    """The second file sees what the first one did, and errors name the file."""
    head = "overlay: 1.1.0\ninfo: {title: T, version: '1'}\nactions:\n"
    first, second = tmp_path / "10-a.overlay.yml", tmp_path / "20-b.overlay.yml"
    first.write_text(head + "  - {target: $.info, update: {license: MIT}}\n")
    second.write_text(head + "  - {target: $.info.license, remove: true}\n")
    assert apply_overlays(SPEC, [first, second]) == SPEC
    with pytest.raises(OverlayError, match=r"20-b\.overlay\.yml: action 1"):
        apply_overlays(SPEC, [second, first])


def test_every_file_among_the_overlays_is_applied():
    """A misnamed overlay would be passed over in silence."""
    assert all(path.name.endswith(".overlay.yml") for path in OVERLAYS)


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.name)
def test_every_action_gives_its_evidence(path):
    """Nobody can review a correction without knowing where it comes from."""
    document = load_yaml(path)
    upstream = regen.ROOT / regen.UPSTREAM
    assert (path.parent / document["extends"]).resolve() == upstream
    assert [
        action["target"] for action in document["actions"] if not action.get("description")
    ] == []
