"""What is committed is what `make regen` writes, and the forks still match their origin."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

import pytest
import regen

TEMPLATES = regen.ROOT / regen.TEMPLATES
FORKED = json.loads((TEMPLATES / "UPSTREAM.json").read_text())


@pytest.fixture
def tree(tmp_path):
    """A copy of the sources and of what is derived from them."""
    for name in ("openapi", "generated"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(regen.ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def contents(root):
    return {name: path.read_bytes() for name, path in regen.derived_files(root).items()}


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_the_committed_files_are_what_regen_writes(tmp_path, seed):
    """Whatever the working directory, the hash seed or a ruff configuration nearby."""
    (tmp_path / "ruff.toml").write_text("line-length = 60\n")
    result = subprocess.run(
        [sys.executable, regen.ROOT / "scripts" / "regen.py", "--check"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_check_reports_edits_and_touches_nothing(tree, capsys):
    """Changed, missing and foreign files are each named; the tree stays as it was."""
    package = tree / regen.PACKAGE
    changed, missing = package / "types.py", package / "models" / "user.py"
    changed.write_text(changed.read_text() + "x = 1\n")
    missing.unlink()
    (package / "client.py").write_text("")
    before = contents(tree)

    assert regen.main(["--check"], root=tree) == 1

    report = capsys.readouterr().err
    name = regen.PACKAGE.as_posix()
    assert f"differs: {name}/types.py" in report
    assert "-x = 1" in report
    assert f"missing: {name}/models/user.py" in report
    assert f"not generated: {name}/client.py" in report
    assert "make regen" in report
    assert contents(tree) == before


def test_check_notices_a_new_overlay(tree, capsys):
    """A correction that has not been regenerated yet is a difference."""
    (tree / regen.OVERLAYS / "99-new.overlay.yml").write_text(
        "overlay: 1.1.0\n"
        "info: {title: New, version: '1'}\n"
        "actions: [{target: $.info.title, update: Another API}]\n"
    )
    assert regen.main(["--check"], root=tree) == 1
    assert f"differs: {regen.PATCHED.as_posix()}" in capsys.readouterr().err


def test_regen_repairs_the_tree_and_changes_nothing_else(tree):
    """Edited and lost files come back, foreign ones go, untouched ones keep their time."""
    expected = contents(tree)
    package = tree / regen.PACKAGE
    (package / "types.py").write_text("")
    shutil.rmtree(package / "api" / "cost")
    (package / "api" / "gone").mkdir()
    (package / "api" / "gone" / "stale.py").write_text("")
    untouched = package / "models" / "user.py"
    os.utime(untouched, (1, 1))

    assert regen.main([], root=tree) == 0

    assert contents(tree) == expected
    assert not (package / "api" / "gone").exists()
    assert untouched.stat().st_mtime == 1


def test_a_broken_overlay_is_one_line_and_leaves_the_tree_alone(tree, capsys):
    """A failure names the file, the action and the target, without a traceback."""
    before = contents(tree)
    (tree / regen.OVERLAYS / "99-dead.overlay.yml").write_text(
        "overlay: 1.1.0\n"
        "info: {title: Dead, version: '1'}\n"
        "actions: [{target: $.nowhere, remove: true}]\n"
    )
    assert regen.main([], root=tree) == 1
    message = "regen: 99-dead.overlay.yml: action 1 ($.nowhere): selects nothing"
    assert capsys.readouterr().err.startswith(message)
    assert contents(tree) == before


def test_a_specification_that_does_not_generate_is_an_error(tree, capsys):
    """The generator's own words are shown, and nothing is written."""
    before = contents(tree)
    (tree / regen.OVERLAYS / "99-dangling.overlay.yml").write_text(
        "overlay: 1.1.0\n"
        "info: {title: Dangling, version: '1'}\n"
        "actions: [{target: $.components.schemas.User, remove: true}]\n"
    )
    assert regen.main([], root=tree) == 1
    assert "regen: openapi_python_client failed" in capsys.readouterr().err
    assert contents(tree) == before


def test_every_generated_file_says_so():
    """A reader of any file knows at its top not to edit it."""
    derived = contents(regen.ROOT)
    assert regen.PACKAGE.as_posix() + "/py.typed" in derived
    for name, content in derived.items():
        assert b"make regen`" in content[:200], name
        assert b"do not edit" in content[:200], name


def test_provenance_names_the_tools_and_every_source():
    """Whoever finds the package alone can tell what it was made from."""
    provenance = json.loads((regen.ROOT / regen.PACKAGE / "PROVENANCE.json").read_text())
    assert provenance["tools"] == {
        "openapi-python-client": version("openapi-python-client"),
        "ruff": version("ruff"),
    }
    folder = regen.ROOT / "openapi"
    sources = {path for path in folder.rglob("*") if path.is_file() and path.name != "redocly.yaml"}
    assert provenance["sha256"] == {
        path.relative_to(regen.ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sources
    }


def test_every_template_is_recorded_and_says_where_it_comes_from():
    """A fork without its origin cannot be kept up to date."""
    templates = {path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.jinja")}
    assert templates == FORKED["templates"].keys()
    for name in templates:
        header = (TEMPLATES / name).read_text().partition("#}")[0]
        assert header.startswith(f"{{# Forked from {FORKED['forked_from']}, {name}"), name


@pytest.mark.parametrize("name", FORKED["templates"])
def test_the_installed_generator_still_has_what_was_forked(name):
    """A new version of the generator may have changed a template under our fork of it."""
    upstream = files("openapi_python_client") / "templates" / name
    found = hashlib.sha256(upstream.read_bytes()).hexdigest()
    assert found == FORKED["templates"][name], (
        f"{name} of openapi-python-client {version('openapi-python-client')} is not the one that "
        f"openapi/templates/{name} was forked from ({FORKED['forked_from']}). Compare the two "
        "versions, carry over what matters, then write the new version into the header of every "
        f"fork and into UPSTREAM.json, and {found} beside {name}."
    )
