"""Check the patched specification with the validators people know: `make lint-spec`.

openapi-spec-validator always runs. Redocly's linter, the one that notices OpenAPI 3.0 keywords in a
3.1 document, needs Node and is skipped aloud where `npx` cannot bring it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator
from overlay import load_yaml

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "openapi" / "anthropic-usage-cost-api.patched.yml"
REDOCLY_CONFIG = ROOT / "openapi" / "redocly.yaml"
REDOCLY = "@redocly/cli@2.77.0"


def main() -> int:
    """Run both linters; the exit status."""
    errors = [
        f"{'/'.join(map(str, error.absolute_path)) or 'document'}: {error.message}"
        for error in OpenAPIV31SpecValidator(load_yaml(SPEC)).iter_errors()
    ]
    if errors:
        print("openapi-spec-validator:", *errors, sep="\n  ", file=sys.stderr)
        return 1
    print("openapi-spec-validator: valid")
    return _redocly()


def _redocly() -> int:
    """Lint with Redocly where it can be had; an absent Node is no failure."""
    npx = shutil.which("npx")
    if npx is None:
        print("redocly: skipped, npx is not installed")
        return 0
    if _npx(npx, "--version").returncode:
        print(f"redocly: skipped, npx cannot fetch {REDOCLY}")
        return 0
    result = _npx(npx, "lint", f"--config={REDOCLY_CONFIG}", "--format=stylish", str(SPEC))
    if result.returncode:
        print(f"redocly:\n{result.stdout}{result.stderr}", file=sys.stderr)
        return 1
    print("redocly: valid")
    return 0


def _npx(npx: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [npx, "--yes", REDOCLY, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
