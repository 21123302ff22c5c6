"""The contract diff tells what breaks users from what does not, in words."""

import copy
import subprocess

import contract_diff
import pytest
from contract_diff import compare

USAGE = "/v1/organizations/usage_report/messages"
GET_USAGE = f"GET {USAGE}"


@pytest.fixture
def changed(spec):
    """A copy of the specification to change."""
    return copy.deepcopy(spec)


def sentences(old, new):
    """What breaks, and what does not."""
    changes = compare(old, new)
    breaking = [change.text for change in changes if change.breaking]
    return breaking, [change.text for change in changes if not change.breaking]


def schemas(spec):
    return spec["components"]["schemas"]


def remove_an_operation(spec):
    del spec["paths"][USAGE]


def remove_a_parameter(spec):
    spec["paths"][USAGE]["get"]["parameters"].remove({"$ref": "#/components/parameters/Speeds"})


def rename_a_parameter(spec):
    spec["components"]["parameters"]["Models"]["name"] = "model[]"


def require_a_parameter(spec):
    spec["components"]["parameters"]["EndingAt"]["required"] = True


def remove_a_value(spec):
    schemas(spec)["BucketWidth"]["enum"].remove("1m")


def tighten_a_limit(spec):
    spec["components"]["parameters"]["Limit"]["schema"]["maximum"] = 168


def add_a_limit(spec):
    spec["components"]["parameters"]["Models"]["schema"]["maxItems"] = 3


def add_a_default(spec):
    schemas(spec)["BucketWidth"]["default"] = "1h"


def write_lists_differently(spec):
    spec["components"]["parameters"]["GroupBy"]["explode"] = False


def move_a_module(spec):
    spec["paths"][USAGE]["get"]["operationId"] = "getUsage"


def drop_a_credential(spec):
    spec["security"].remove({"OAuthToken": []})


def move_the_server(spec):
    spec["servers"][0]["url"] = "https://example.com"


def remove_a_field(spec):
    del schemas(spec)["UsageResult"]["properties"]["model"]


def retype_a_field(spec):
    schemas(spec)["UsageResult"]["properties"]["output_tokens"]["type"] = "string"


def let_a_measure_be_null(spec):
    schemas(spec)["UsageResult"]["properties"]["output_tokens"]["type"] = ["integer", "null"]


def let_a_measure_be_missing(spec):
    schemas(spec)["UsageResult"]["required"].remove("output_tokens")


def reformat_a_field(spec):
    del schemas(spec)["UsageBucket"]["properties"]["starting_at"]["format"]


def add_a_kind_of_actor(spec):
    schemas(spec)["Actor"]["oneOf"].append({"$ref": "#/components/schemas/User"})


def rename_a_class(spec):
    schemas(spec)["Account"] = schemas(spec).pop("User")
    schemas(spec)["UserList"]["properties"]["data"]["items"]["$ref"] = (
        "#/components/schemas/Account"
    )


def drop_an_answer(spec):
    del spec["paths"][USAGE]["get"]["responses"]["5XX"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (remove_an_operation, f"{GET_USAGE}: removed"),
        (remove_a_parameter, f"{GET_USAGE}: query parameter speeds[]: removed"),
        (rename_a_parameter, f"{GET_USAGE}: query parameter models[]: removed"),
        (require_a_parameter, f"{GET_USAGE}: query parameter ending_at: is now required"),
        (remove_a_value, "BucketWidth: no longer can be 1m"),
        (
            tighten_a_limit,
            f"{GET_USAGE}: query parameter limit: maximum changes from 1440 to 168",
        ),
        (add_a_limit, f"{GET_USAGE}: query parameter models[]: maxItems changes from none to 3"),
        (add_a_default, "BucketWidth: the default changes from nothing to 1h"),
        (
            write_lists_differently,
            f"{GET_USAGE}: query parameter group_by[]: is written differently (explode changes)",
        ),
        (
            move_a_module,
            f"{GET_USAGE}: the generated module moves (operationId or tag changes)",
        ),
        (drop_a_credential, f"{GET_USAGE}: no longer accepts OAuthToken"),
        (move_the_server, "servers: the address of the API changes"),
        (remove_a_field, "UsageResult.model: removed"),
        (retype_a_field, "UsageResult.output_tokens: changes from integer to string"),
        (let_a_measure_be_null, "UsageResult.output_tokens: now may be null"),
        (let_a_measure_be_missing, "UsageResult.output_tokens: may now be missing"),
        (reformat_a_field, "UsageBucket.starting_at: format changes"),
        (add_a_kind_of_actor, "Actor: now may be a User"),
        (rename_a_class, "User: the generated class is gone"),
        (drop_an_answer, f"{GET_USAGE}: answer 5XX: no longer described"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_breaks_users_is_said(change, sentence, spec, changed):
    """Each of these would fail, or change the meaning of, somebody's program."""
    change(changed)
    breaking, _ = sentences(spec, changed)
    assert sentence in breaking


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (remove_an_operation, f"{GET_USAGE}: new"),
        (remove_a_parameter, f"{GET_USAGE}: query parameter speeds[]: new"),
        (require_a_parameter, f"{GET_USAGE}: query parameter ending_at: is now optional"),
        (remove_a_value, "BucketWidth: now may be 1m"),
        (
            tighten_a_limit,
            f"{GET_USAGE}: query parameter limit: maximum changes from 168 to 1440",
        ),
        (drop_a_credential, f"{GET_USAGE}: also accepts OAuthToken"),
        (remove_a_field, "UsageResult.model: new"),
        (let_a_measure_be_null, "UsageResult.output_tokens: no longer can be null"),
        (let_a_measure_be_missing, "UsageResult.output_tokens: is now required"),
        (add_a_kind_of_actor, "Actor: no longer can be a User"),
        (drop_an_answer, f"{GET_USAGE}: answer 5XX: newly described"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_reverse_is_compatible(change, sentence, spec, changed):
    """A request may accept more, an answer may promise more: nobody has to do anything."""
    change(changed)
    breaking, compatible = sentences(changed, spec)
    assert breaking == []
    assert sentence in compatible


def test_a_change_of_a_shared_schema_is_said_once(spec, changed):
    """ErrorBody is in every answer of every operation."""
    schemas(changed)["ErrorBody"]["properties"]["help"] = {"type": "string"}
    assert sentences(spec, changed) == ([], ["ErrorBody.help: new"])


def test_a_required_parameter_that_is_new_breaks(spec, changed):
    """Every call there is would be refused."""
    parameter = {"name": "why", "in": "query", "required": True, "schema": {"type": "string"}}
    changed["paths"][USAGE]["get"]["parameters"].append(parameter)
    assert sentences(spec, changed)[0] == [f"{GET_USAGE}: query parameter why: new and required"]


def test_descriptions_are_no_change_for_users(spec, changed):
    """Words for people may get better at any time."""
    changed["info"]["description"] = "Better."
    schemas(changed)["UsageResult"]["description"] = "Better."
    assert compare(spec, changed) == []


# ---- the command ----


@pytest.fixture
def repository(tmp_path, pytestconfig):
    """A git repository whose second commit has the specification, in a folder of its own."""

    def git(*arguments):
        identity = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    root = tmp_path / "project"
    spec = root / contract_diff.SPEC
    spec.parent.mkdir(parents=True)
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message=empty")
    git("tag", "empty")
    spec.write_bytes((pytestconfig.rootpath / contract_diff.SPEC).read_bytes())
    git("add", ".")
    git("commit", "--quiet", "--message=spec")
    return root


def run(root, base="HEAD"):
    return contract_diff.main(["--base", base], root=root)


def edit(root, old, new):
    spec = root / contract_diff.SPEC
    assert old in spec.read_text()
    spec.write_text(spec.read_text().replace(old, new, 1))


def test_no_change_is_said(repository, capsys):
    """Equal specifications: one line, status 0."""
    assert run(repository) == 0
    assert capsys.readouterr().out == "No change since HEAD.\n"


def test_new_words_are_said_to_be_words(repository, capsys):
    """Another description: one line, status 0."""
    edit(repository, "Tokens generated.", "Tokens written.")
    assert run(repository) == 0
    assert "No change for users since HEAD: only descriptions" in capsys.readouterr().out


def test_breaking_changes_come_first_and_fail(repository, capsys):
    """Status 1, the breaking part above the compatible one."""
    edit(repository, "- workspace_id\n        - description", "- workspace_id\n        - product")
    assert run(repository) == 1
    assert capsys.readouterr().out == (
        "Breaking since HEAD:\n"
        "  CostGroupBy: no longer can be description\n"
        "Compatible since HEAD:\n"
        "  CostGroupBy: now may be product\n"
    )


def test_compatible_changes_pass(repository, capsys):
    """Status 0, but they are listed."""
    edit(repository, "maximum: 31\n", "maximum: 62\n")
    assert run(repository) == 0
    out = capsys.readouterr().out
    assert out.startswith("Compatible since HEAD:\n")
    assert "limit: maximum changes from 31 to 62" in out


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nowhere", "contract-diff: 'nowhere' is not a revision that git knows\n"),
        ("-x", "contract-diff: '-x' is not a revision that git knows\n"),
        ("empty", f"contract-diff: empty has no {contract_diff.SPEC}\n"),
    ],
)
def test_a_revision_that_cannot_be_compared_is_one_line(repository, capsys, base, message):
    """Status 2, so that it is never taken for a breaking change."""
    assert contract_diff.main([f"--base={base}"], root=repository) == 2
    assert capsys.readouterr().err == message
