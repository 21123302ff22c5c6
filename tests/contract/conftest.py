"""What the tests of the contract share: the scripts, the patched specification, the samples."""

import json
import sys
from pathlib import Path

import jsonschema_rs
import pytest

ROOT = Path(__file__).parents[2]

# The scripts are no package; they are imported by their names.
sys.path.insert(0, str(ROOT / "scripts"))

from overlay import load_yaml  # noqa: E402

SAMPLES = ROOT / "tests" / "samples"

# Which class of the specification a sample is an answer of, by the start of its name.
SAMPLE_CLASSES = {
    "usage_messages": "UsageReport",
    "cost": "CostReport",
    "claude_code": "ClaudeCodeReport",
    "error": "ErrorBody",
    "lookup_organization_me": "Organization",
    "lookup_workspaces": "WorkspaceList",
    "lookup_api_keys": "ApiKeyList",
    "lookup_users": "UserList",
    "lookup_service_accounts": "ServiceAccountList",
}


def pytest_generate_tests(metafunc):
    """A test that takes `sample_path` runs once for every published answer."""
    if "sample_path" in metafunc.fixturenames:
        paths = sorted(SAMPLES.glob("*.json"))
        metafunc.parametrize("sample_path", paths, ids=[path.stem for path in paths])


@pytest.fixture(scope="session")
def spec():
    """The patched specification."""
    return load_yaml(ROOT / "openapi" / "anthropic-usage-cost-api.patched.yml")


@pytest.fixture(scope="session")
def schema_errors(spec):
    """A function that says what a value lacks to be an instance of a named schema."""

    def errors(name, value):
        schema = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
        validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        return [error.message for error in validator.iter_errors(value)]

    return errors


@pytest.fixture
def read_sample():
    """A function that reads a published answer by the name of its file, fresh each time."""
    return lambda name: json.loads((SAMPLES / f"{name}.json").read_text())


@pytest.fixture
def sample_class(sample_path):
    """The name of the class that a sample is an instance of."""
    (name,) = {name for start, name in SAMPLE_CLASSES.items() if sample_path.stem.startswith(start)}
    return name
