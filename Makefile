# make lab      open JupyterLab on the quickstart notebook
# make demo     run the quickstart in the terminal
# make test     run the linters and all tests; PYTEST_ARGS="tests/guide -x" runs a part
# make lint     run the linters
# make faults   run the test of each guarantee; ROWS="F9 S" selects some
# make soak     run mixed load for half an hour; ARGS="--minutes 5" is shorter
# make bench    measure performance
# make metrics  print size, complexity and import structure of the code
# make types    generate the panel's types from the server's schema
# make wheel    build the wheel
# make clean    remove environments, build output and caches
#
# Requires Python 3.11+ and Node 20+, and Chromium for the browser tests (installed if this user is root).
# Each stamp file is in the directory that it stands for: removing .venv or node_modules is enough to have
# it created again.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv

# With compiled bytecode, kernels start in a third of the time and use half the memory.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1
export UV_NO_PROGRESS := 1
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(CURDIR)/$(BIN):$(PATH)

DEPS := $(VENV)/.nbfn-deps
BENCH := $(VENV)/.nbfn-bench
INSTALL := $(VENV)/.nbfn-install
NODE := node_modules/.nbfn-node
BUILD := labextension/lib/.nbfn-build

TYPESCRIPT := $(shell find labextension/src labextension/style labextension/schema -type f -not -path '*/__tests__/*')
SHARED := $(wildcard kernel/kernelspec*/* labextension/etc/*)

.PHONY: help env lab demo test faults soak bench metrics lint vitest types wheel check-wheel chromium constraints clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# --- environment ---------------------------------------------------------------------------------

env: $(INSTALL)

$(UV): | constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "nbfn needs Python 3.11 or later; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv

$(DEPS): pyproject.toml constraints.txt | $(UV)
	$(UV) pip install --quiet -r pyproject.toml --extra test --extra lint --extra demo -c constraints.txt
	@touch $@

# Separate, because ipyparallel adds a panel to JupyterLab.
$(BENCH): pyproject.toml constraints.txt | $(DEPS)
	$(UV) pip install --quiet -r pyproject.toml --extra bench -c constraints.txt
	@touch $@

$(NODE): package-lock.json .npmrc
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' \
	  || { echo "nbfn needs Node 20 or later (node and npm on PATH) to build its JupyterLab panel."; exit 1; }
	npm ci --loglevel=error
	@touch $@

$(BUILD): $(TYPESCRIPT) package.json labextension/tsconfig.json $(NODE) | $(DEPS)
	npm run --silent build:prod
	@touch $@

# The editable install copies the built panel, so it runs after each build.
$(INSTALL): $(DEPS) $(BUILD) $(SHARED)
	SKIP_JUPYTER_BUILDER=1 $(UV) pip install --quiet --no-deps --reinstall-package nbfn \
	  --build-constraints constraints.txt -e .
	@touch $@

chromium:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; \
	  else \
	    echo "The browser tests need Chromium: install the package 'chromium' and run make again."; exit 1; \
	  fi; }

# Pins each dependency by name and version.
constraints: | $(UV)
	printf 'uv\nhatchling>=1.27\nhatch-jupyter-builder>=0.10\n' \
	  | $(UV) pip compile pyproject.toml - --quiet --universal --fork-strategy fewest \
	    --python-version 3.11.5 --all-extras --no-header --no-annotate \
	  | sed 's/ *;.*//' | sort -u > constraints.new
	mv constraints.new constraints.txt

# --- run -----------------------------------------------------------------------------------------

LAB_FLAGS := --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/quickstart.ipynb
ifeq ($(shell id -u),0)
  LAB_FLAGS += --allow-root
endif
ifeq ($(shell uname)$(DISPLAY)$(WAYLAND_DISPLAY),Linux)
  LAB_FLAGS += --no-browser
endif

# Prints the URL. LAB_ARGS are passed on, for example LAB_ARGS="--port=8899 --no-browser".
lab: $(INSTALL)
	$(BIN)/jupyter lab $(LAB_FLAGS) $(LAB_ARGS)

demo: $(INSTALL)
	$(BIN)/python notebooks/demo.py

bench: $(INSTALL) $(BENCH)
	$(BIN)/python -m tests.bench $(ARGS)

# Size, complexity and import structure of the code.
metrics: $(INSTALL)
	$(BIN)/python -m tests.metrics

# --- check ---------------------------------------------------------------------------------------

lint: $(INSTALL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.metrics --cycles
	$(BIN)/codespell
	npm run --silent lint

vitest: $(NODE)
	npm test --silent

# Run it after a change of nbfn/jupyter/server/schema.py.
types: $(INSTALL)
	node labextension/types.mjs

# pytest is last, so that its last line is the result. PYTEST_ARGS are passed on.
test: $(INSTALL) chromium lint vitest check-wheel
	$(BIN)/pytest $(PYTEST_ARGS)

# Runs the test of each row of docs/guarantees.md and prints a table. ROWS selects some: make faults ROWS="F9 S".
faults: $(INSTALL)
	$(BIN)/python -m tests.faults $(ROWS)

# Half an hour of mixed load; fails when memory, descriptors or threads grow. ARGS="--minutes 5" is shorter.
soak: $(INSTALL)
	$(BIN)/python -m tests.soak $(ARGS)

# --- package -------------------------------------------------------------------------------------

wheel: $(BUILD)
	rm -rf dist
	$(UV) build --quiet --wheel --out-dir dist --build-constraints constraints.txt
	@ls dist/*.whl

# Installs the wheel in an empty environment, without build tools on PATH.
check-wheel: wheel
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv --without-pip "$$scratch/venv"; \
	$(UV) pip install --quiet --python "$$scratch/venv/bin/python" -c constraints.txt dist/*.whl; \
	export JUPYTER_CONFIG_DIR="$$scratch/config" JUPYTER_DATA_DIR="$$scratch/data"; \
	for list in "labextension" "server extension" "kernelspec"; do \
	  found=$$(cd "$$scratch"; PATH="$$scratch/venv/bin"; jupyter $$list list 2>&1); \
	  [[ "$$list" == kernelspec ]] && wanted='nbfn-remote' || wanted='nbfn.*OK'; \
	  grep -q "$$wanted" <<< "$$found" \
	    || { echo "'jupyter $$list list' does not show nbfn:"; echo "$$found"; exit 1; }; \
	  echo "jupyter $$list list: $$(grep -m 1 "$$wanted" <<< "$$found")"; \
	done

# Removes environments, build output and caches.
clean:
	rm -rf $(VENV) node_modules dist labextension/lib labextension/*.tsbuildinfo nbfn/_labextension \
	  tests/artifacts .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find nbfn kernel tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
