# Every target sets itself up in .venv; all a fresh machine needs is python3 >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PINS := scripts/requirements.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test test-lowest test-pythons lint lint-spec regen contract contract-diff record soak soak-answers backtest bench bench-lake inspect price-drift audit pins clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "anthropic-usage needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml $(PINS) | $(BIN)/python
	@echo "setting up $(VENV) (once) ..." >&2
	@$(PIP) --constraint $(PINS) --editable '.[simulator]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(PINS) | $(BIN)/python
	@echo "setting up $(VENV) for development (once) ..." >&2
	@$(PIP) --requirement $(PINS)
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run ## a week of all three reports from the built-in simulator, no key needed
	@$(BIN)/anthropic-usage demo

test: $(VENV)/.dev ## the whole test suite
	@$(BIN)/python -m pytest -p no:randomly

test-lowest: ## the suite with the lowest versions that pyproject allows
	@scripts/pythons.sh lowest -n auto --maxprocesses 4 --dist worksteal

test-pythons: ## the suite on each other Python that is here
	@for version in 3.12 3.13 3.14; do scripts/pythons.sh $$version -n auto --maxprocesses 4 --dist worksteal || exit 1; done

lint: $(VENV)/.dev ## formatting, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

regen: $(VENV)/.dev ## overlays -> patched spec -> generated client
	@$(BIN)/python scripts/regen.py

lint-spec: $(VENV)/.dev ## validate the patched spec (openapi-spec-validator, and redocly where npx is there)
	@$(BIN)/python scripts/lint_spec.py

contract: $(VENV)/.dev ## check spec, generated code and cassettes against each other
	@$(BIN)/python scripts/regen.py --check
	@$(BIN)/python scripts/contract.py

contract-diff: $(VENV)/.dev ## what a change of the spec breaks for users: make contract-diff BASE=<git rev>
	@$(BIN)/python scripts/contract_diff.py --base "$(or $(BASE),HEAD)"

record: $(VENV)/.dev ## record the cassettes anew, from the simulator or, with a key set, from the live API
	@$(BIN)/python scripts/record.py

soak: $(VENV)/.dev ## ten thousand requests with faults, two thousand attacks, killed exports and trackers
	@$(BIN)/python scripts/soak.py
	@$(BIN)/python scripts/soak_attacks.py
	@$(BIN)/python scripts/killing_track.py

soak-answers: $(VENV)/.dev ## two hundred organisations' answers against a ledger of fractions
	@$(BIN)/python scripts/soak_answers.py

backtest: $(VENV)/.dev ## forecast months that are over, and print how far off that was
	@$(BIN)/python scripts/backtest.py

alerts-replay: $(VENV)/.dev ## check half a year day by day, and print what was missed, false or told twice
	@$(BIN)/python scripts/replay_alerts.py

bench: $(VENV)/.dev ## compare with the peers and print ratios
	@$(BIN)/python scripts/bench.py

bench-lake: $(VENV)/.dev ## SQL over 400 tracked days and 50 million rows, on DuckDB and Spark
	@$(BIN)/python scripts/bench_lake.py

inspect: $(VENV)/.dev ## list and call every MCP tool with the MCP Inspector (needs npx)
	@scripts/inspect_mcp.sh $(BIN)/anthropic-usage

price-drift: $(VENV)/.dev ## fail where the bundled prices differ from genai-prices, unless somebody has judged it
	@$(BIN)/python scripts/price_drift.py

audit: $(BIN)/python ## known holes in what is pinned, where the advisories can be reached
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@if $(VENV)/audit/bin/pip-audit --requirement $(PINS) --no-deps --disable-pip --progress-spinner off >$(VENV)/audit.log 2>&1; \
	  then cat $(VENV)/audit.log; \
	  elif grep -qE 'Found [0-9]+ known' $(VENV)/audit.log; then cat $(VENV)/audit.log; exit 1; \
	  else echo "audit: skipped, the advisories cannot be reached from here"; fi

pins: $(BIN)/python ## resolve pyproject's dependencies, extras and dev group into name==version lines
	@$(PIP) uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate --all-extras \
	  --group dev pyproject.toml --output-file $(PINS)

clean: ## remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
