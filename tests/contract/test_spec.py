"""The patched specification is valid, describes the published answers, and keeps to its policy.

The policy: requests are closed (enums and limits), answers are open (plain strings, unknown
fields), dimensions may be null or absent, and measures are required, for a silent zero is the worst
failure.
"""

import copy
import hashlib
import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

UPSTREAM_SHA256 = "2a2cb830c172b6e58f98d7e53785993dde7e75eb821fb94d99b83b2528e3d6d9"

USAGE = "/v1/organizations/usage_report/messages"
COST = "/v1/organizations/cost_report"
CLAUDE_CODE = "/v1/organizations/usage_report/claude_code"


def nodes(value, path=()):
    """Every node of a document with the path to it."""
    yield path, value
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    else:
        return
    for key, child in children:
        yield from nodes(child, (*path, key))


def component(spec, reference):
    """What a local reference points to."""
    for part in reference.removeprefix("#/").split("/"):
        spec = spec[part]
    return spec


def parameters(spec, path):
    """The parameters of an operation by name, their schemas resolved."""
    found = {}
    for reference in spec["paths"][path]["get"]["parameters"]:
        parameter = component(spec, reference["$ref"])
        schema = parameter["schema"]
        if "$ref" in schema:
            schema = component(spec, schema["$ref"])
        found[parameter["name"]] = {**parameter, "schema": schema}
    return found


def allowed(spec, path, name):
    """The values a parameter, or an element of it, may have."""
    schema = parameters(spec, path)[name]["schema"]
    if schema.get("type") == "array":
        schema = schema["items"]
        schema = component(spec, schema["$ref"]) if "$ref" in schema else schema
    return schema["enum"]


def schemas_in_answers(spec):
    """The named schemas that a 200 answer is made of."""
    waiting = [
        item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        for item in spec["paths"].values()
    ]
    found = {}
    while waiting:
        for _, node in nodes(waiting.pop()):
            name = isinstance(node, dict) and node.get("$ref", "").rpartition("/")[2]
            if name and name not in found:
                found[name] = spec["components"]["schemas"][name]
                waiting.append(found[name])
    return found


def test_the_bundled_specification_is_never_edited(pytestconfig):
    """Corrections belong into overlays; the upstream file stays byte for byte."""
    path = pytestconfig.rootpath / "openapi" / "anthropic-usage-cost-api-openapi.yml"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == UPSTREAM_SHA256


def test_the_patched_specification_is_valid(spec):
    """openapi-spec-validator finds nothing; `make lint-spec` asks Redocly too."""
    assert [error.message for error in OpenAPIV31SpecValidator(spec).iter_errors()] == []


def test_nothing_is_null_by_accident(spec):
    """In `{description: this, and that}` the second half becomes a key without a value."""
    assert [path for path, node in nodes(spec) if node is None] == []


def test_no_keyword_of_openapi_3_0_is_left(spec):
    """In 3.1 `nullable` means nothing, and null would be refused."""
    assert [path for path, _ in nodes(spec) if path[-1:] == ("nullable",)] == []


def test_every_operation_is_described_and_covers_failures(spec):
    """Documentation and generated code get their words and names from here."""
    for path, item in spec["paths"].items():
        operation = item["get"]
        assert operation.keys() >= {"summary", "description", "operationId", "tags"}, path
        assert operation["responses"].keys() == {"200", "4XX", "5XX"}, path


def test_every_list_is_sent_with_brackets(spec):
    """The API knows `group_by[]=a&group_by[]=b` only."""
    for path in spec["paths"]:
        for name, parameter in parameters(spec, path).items():
            is_list = parameter["schema"].get("type") == "array"
            assert name.endswith("[]") is is_list, (path, name)
            assert parameter.get("explode", False) is is_list, (path, name)


@pytest.mark.parametrize(
    ("path", "name", "values"),
    [
        (USAGE, "bucket_width", {"1d", "1h", "1m"}),
        (COST, "bucket_width", {"1d"}),
        (COST, "group_by[]", {"workspace_id", "description"}),
        (USAGE, "context_window[]", {"0-200k", "200k-1M"}),
        (USAGE, "inference_geos[]", {"global", "us", "not_available"}),
        (USAGE, "speeds[]", {"standard", "fast"}),
        (
            USAGE,
            "service_tiers[]",
            {"standard", "batch", "priority", "priority_on_demand", "flex", "flex_discount"},
        ),
        (
            USAGE,
            "group_by[]",
            {"api_key_id", "workspace_id", "model", "service_tier", "context_window"}
            | {"inference_geo", "account_id", "service_account_id", "speed"},
        ),
        ("/v1/organizations/api_keys", "status", {"active", "inactive", "archived", "expired"}),
    ],
)
def test_requests_are_closed(spec, path, name, values):
    """A misspelt value is found before anything is sent."""
    assert set(allowed(spec, path, name)) == values


@pytest.mark.parametrize(
    ("path", "maximum"),
    [(USAGE, 1440), (COST, 31), (CLAUDE_CODE, 1000), ("/v1/organizations/workspaces", 1000)],
)
def test_pages_are_limited_as_the_api_limits_them(spec, path, maximum):
    """The limit counts buckets, days, records or items."""
    schema = parameters(spec, path)["limit"]["schema"]
    assert (schema["minimum"], schema["maximum"]) == (1, maximum)


def test_nothing_is_sent_that_was_not_asked_for(spec):
    """A default would be sent by generated code; only the API's version is."""
    defaults = [
        name
        for path in spec["paths"]
        for name, parameter in parameters(spec, path).items()
        if "default" in parameter["schema"]
    ]
    assert set(defaults) == {"anthropic-version"}


def test_the_cost_report_has_no_filters(spec):
    """Upstream lends it the usage report's `workspace_ids`, which the API does not know."""
    assert parameters(spec, COST).keys() == {
        "anthropic-version",
        "starting_at",
        "ending_at",
        "bucket_width",
        "group_by[]",
        "limit",
        "page",
    }


def test_both_credentials_are_described(spec):
    """An Admin API key or an OAuth token; service accounts take the token only."""
    assert spec["security"] == [{"AdminApiKeyAuth": []}, {"OAuthToken": []}]
    operation = spec["paths"]["/v1/organizations/service_accounts"]["get"]
    assert operation["security"] == [{"OAuthToken": []}]


def test_answers_are_open(spec):
    """No value and no field that Anthropic may add one day is forbidden; actors have a fallback."""
    for name, schema in schemas_in_answers(spec).items():
        assert schema.get("additionalProperties") is not False, name
        closed = [path for path, _ in nodes(schema) if path[-1:] in {("enum",), ("const",)}]
        assert not closed or name in {"UserActor", "ApiActor", "UnknownActor"}, name


@pytest.mark.parametrize("name", ["UsageResult", "CostResult", "ClaudeCodeRecord"])
def test_dimensions_may_be_null_or_absent_and_measures_may_not(spec, name):
    """Exactly the fields that are not required take null."""
    schema = spec["components"]["schemas"][name]
    for field, definition in schema["properties"].items():
        nullable = "null" in definition.get("type", [])
        assert nullable is (field not in schema["required"]), field


def test_published_answers_conform(sample_path, sample_class, schema_errors):
    """Every sample, of any age, is what the specification says."""
    assert schema_errors(sample_class, json.loads(sample_path.read_text())) == []


def removals(value):
    """Copies of a JSON object, each without one of its fields, with the path of the field."""
    for path, node in nodes(value):
        if isinstance(node, dict):
            for key in node:
                less = copy.deepcopy(value)
                holder = less
                for part in path:
                    holder = holder[part]
                del holder[key]
                yield (*path, key), less


@pytest.mark.parametrize(
    ("sample", "name", "optional"),
    [
        (
            "usage_messages_docs",
            "UsageReport",
            {"account_id", "api_key_id", "context_window", "inference_geo", "model"}
            | {"service_account_id", "service_tier", "workspace_id"},
        ),
        (
            "cost_docs",
            "CostReport",
            {"context_window", "cost_type", "description", "inference_geo", "model"}
            | {"service_tier", "token_type", "workspace_id"},
        ),
        (
            "claude_code_docs",
            "ClaudeCodeReport",
            {"organization_id", "customer_type", "subscription_type", "terminal_type"}
            | {"is_remote", "edit_tool", "multi_edit_tool", "notebook_edit_tool", "write_tool"},
        ),
    ],
)
def test_a_missing_measure_does_not_conform(sample, name, optional, read_sample, schema_errors):
    """Take any one field away: only a dimension or a kind of tool may be missing."""
    for path, less in removals(read_sample(sample)):
        assert bool(schema_errors(name, less)) is (path[-1] not in optional), path


@pytest.mark.parametrize("amount", [186, 186.25, "186", "186.25", "1.8625E+2"])
def test_an_estimate_may_be_a_number_or_a_decimal_string(amount, schema_errors):
    """The samples have integers; the cost report has decimal strings."""
    assert schema_errors("EstimatedCost", {"currency": "USD", "amount": amount}) == []


@pytest.mark.parametrize("amount", ["", "n/a", "1,000", "NaN", None, 1])
def test_an_amount_that_is_no_decimal_string_does_not_conform(amount, schema_errors):
    """Money that cannot be read exactly must not be read at all."""
    assert schema_errors("CostResult", {"currency": "USD", "amount": amount})


def test_a_known_actor_without_its_name_is_not_an_unknown_actor(schema_errors):
    """The fallback takes new kinds only; it does not hide a changed shape."""
    assert schema_errors("Actor", {"type": "user_actor"})
    assert schema_errors("Actor", {"type": "team_actor", "team": "a"}) == []
