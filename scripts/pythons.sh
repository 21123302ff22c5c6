#!/usr/bin/env bash
# The suite under other versions than the pins': `lowest` of what pyproject allows, or a Python.
#   scripts/pythons.sh lowest        the lowest release of each dependency, on the oldest Python
#   scripts/pythons.sh 3.13          that Python, with the pins; skipped aloud where it is not
# More arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
what=$1; shift
tools=.venv/tools

interpreter() {  # the first of these that is a working Python of that version
  local found
  for found in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
    if "$found" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
      command -v "$found"; return
    fi
  done
  return 1
}

[ -x $tools/bin/uv ] || { python3 -m venv $tools && $tools/bin/python -m pip install --quiet --disable-pip-version-check uv; }

if [ "$what" = lowest ]; then version=3.11; else version=$what; fi
if ! python=$(interpreter "$version"); then
  echo "Python $version: skipped, it is not on this machine"; exit 0
fi
home=.venv/$what
rm -rf "$home" && "$python" -m venv "$home"
if [ "$what" = lowest ]; then
  # Only what pyproject names is held down; the tools of development bring what they need.
  $tools/bin/uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --no-header \
    --no-annotate --all-extras pyproject.toml --output-file "$home/resolved.txt"
  "$home/bin/python" scripts/lowest.py pyproject.toml "$home/resolved.txt" >"$home/lowest.txt"
  echo "the lowest: $(tr '\n' ' ' <"$home/lowest.txt")"
  pins=$home/lowest.txt
else
  pins=scripts/requirements.txt
fi
VIRTUAL_ENV=$PWD/$home $tools/bin/uv pip install --quiet --constraint "$pins" --group dev --editable \
  '.[arrow,charts,delta,forecast,lake,mcp,pandas,polars,simulator,spark]'
echo "== pytest, $("$home/bin/python" --version), $what"
PATH=$PWD/$home/bin:$PATH "$home/bin/python" -m pytest "$@"
