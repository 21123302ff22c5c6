"""Print the pins of what pyproject itself names, out of a resolution to the lowest versions.

python scripts/lowest.py pyproject.toml resolved.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def _plain(requirement: str) -> str:
    found = _NAME.match(requirement)
    if found is None:
        raise SystemExit(f"{requirement!r} names no package")
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def main() -> None:
    """Print one `name==version` a line."""
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    named = {_plain(line) for line in project["dependencies"]}
    for extra in project["optional-dependencies"].values():
        named |= {_plain(line) for line in extra}
    for line in Path(sys.argv[2]).read_text(encoding="utf-8").splitlines():
        if _plain(line) in named:
            print(line)


if __name__ == "__main__":
    main()
