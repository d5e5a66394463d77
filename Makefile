# Every target makes .venv and installs what it needs by itself; nothing has to be done by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
# Options for installing torch alone, for example an index of CPU builds: see README, "Installing".
TORCH_OPTIONS ?=
WORKERS ?= 2
OUT ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)
MODEL ?= pocket

.PHONY: demo test check test-all results bench docs build clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(VENV)/.core ## the papers' experiment on the embedded model: a table and a page (about 3 minutes)
	$(BIN)/sightguard demo --model $(MODEL) --out $(OUT)

test: $(VENV)/.dev ## the tests (under 15 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

test-all: $(VENV)/.dev ## every test, the slow ones too, and all figures of the documentation measured again
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
	$(BIN)/python -m scripts.measure
	$(BIN)/python -m scripts.ablations
	$(BIN)/python -m scripts.certificates
	$(BIN)/python -m scripts.turns
	$(BIN)/python -m scripts.families
	$(BIN)/python -m scripts.audits
	$(BIN)/python -m scripts.benches
	$(BIN)/python -m scripts.faults
	$(BIN)/python -m scripts.speed
	$(BIN)/python -m scripts.sizing
	$(BIN)/python -m scripts.render_docs

check: $(VENV)/.dev ## format, lint, types, floors, tables of the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.check_docs

results: $(VENV)/.dev ## measure again what the tables of the documentation show
	$(BIN)/python -m scripts.measure
	$(BIN)/python -m scripts.ablations
	$(BIN)/python -m scripts.certificates
	$(BIN)/python -m scripts.turns
	$(BIN)/python -m scripts.families
	$(BIN)/python -m scripts.audits
	$(BIN)/python -m scripts.benches
	$(BIN)/python -m scripts.adaptive
	$(BIN)/python -m scripts.faults
	$(BIN)/python -m scripts.speed
	$(BIN)/python -m scripts.sizing
	$(BIN)/python -m scripts.render_docs

bench: $(VENV)/.dev ## speed and memory, side by side in one run
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs ## the documentation as a site, in site/
	$(BIN)/python -m scripts.check_docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: $(VENV)/.dev ## the wheel and the source archive, in dist/
	$(BIN)/python -m build

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Sightguard needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.venv pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet $(TORCH_OPTIONS) '$(TORCH)'
	$(BIN)/python -m pip install --quiet -e . -c constraints.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet -e '.[dev]' -c constraints.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -e '.[dev,docs]' -c constraints.txt
	@touch $@
