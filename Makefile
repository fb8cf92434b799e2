# Needs make and a Python >= 3.11, nothing else: each target makes its own environment and installs
# what it needs. Another interpreter: make test PYTHON=python3.12 VENV=.venv-3.12

VENV ?= .venv
# The newest that runs (a pyenv shim may exist and fail) and that can make environments.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$python; break; fi; done)

# How many tests run at once; those of one file run one after the other. More than there are cores:
# many wait for a process, a lease or a signal.
CORES ?= 4
MINUTES ?= 60
SAMPLE ?= 500
SEED ?= 1

BIN := $(abspath $(VENV))/bin
DEMO := cd docs/examples/shop && $(BIN)/python -m shop.demo

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test compiled faults soak mutation lint docs bench coverage measured coverage-report wheel clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.with-package  ## run the example shop with a real worker
	@$(DEMO)

test: compiled  ## run the tests and every example of the docs
	@$(BIN)/python -m pytest -n $(CORES) --dist loadfile $(ARGS)

faults: compiled  ## run the tests of faults with their full bars, into docs/explain/fault-results.md
	@mkdir -p build && rm -f build/faults.jsonl
	@EVENTBUS_FULL=1 FAULTS_RESULTS=$(abspath build/faults.jsonl) $(BIN)/python -m pytest tests/faults tests/contract tests/unit/backends $(ARGS); \
		status=$$?; $(BIN)/python tests/faults/report.py build/faults.jsonl build/soak.jsonl || status=$$?; exit $$status

soak: compiled  ## work and kill for an hour, and see what grows; MINUTES=60
	@mkdir -p build && rm -f build/soak.jsonl
	@cd tests && FAULTS_RESULTS=$(abspath build/soak.jsonl) $(BIN)/python -m faults.soak --minutes $(MINUTES) $(ARGS)

mutation: $(VENV)/.with-test  ## see which mistakes in the code the tests notice, into docs/explain/mutation.md; SAMPLE=500 SEED=1
	@rm -rf build/mutation
	@$(BIN)/python tests/mutation/run.py --sample $(SAMPLE) --seed $(SEED) $(ARGS)
	@$(BIN)/python tests/mutation/report.py

# Tests start hundreds of workers: none is to compile the package first, also not where the environment
# forbids Python to write bytecode by itself.
compiled: $(VENV)/.with-test
	@$(BIN)/python -m compileall -q eventbus

lint: $(VENV)/.with-lint  ## format, rules, types, direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports --no-logo --no-cache

coverage: measured coverage-report  ## run the tests, and see what of the code they run

measured: compiled
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n $(CORES) --dist loadfile $(ARGS)

coverage-report:
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@$(BIN)/coverage report --fail-under=100 \
		--include='eventbus/dispatch/*,eventbus/backends/sql*,eventbus/queue/codec/*,eventbus/queue/retry.py,eventbus/queue/deciding.py'

docs: $(VENV)/.with-docs  ## build the documentation into docs/_build/html
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(VENV)/.with-bench  ## measure, beside the peers, into benchmarks/RESULTS.md
	@$(BIN)/python benchmarks/run.py $(ARGS)

wheel: $(VENV)/.with-wheel  ## build the wheel and the sdist into dist/
	@rm -rf dist
	@said=$$($(BIN)/python -m build 2>&1) || { echo "$$said" >&2; exit 1; }
	@ls dist

clean:  ## remove what the other targets made
	@rm -rf .venv .venv-* build dist docs/_build .coverage .coverage.* .cache .hypothesis \
		.import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each thing installed, older than pyproject.toml when that changed.

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "eventbus needs Python 3.11 or newer with its venv module, and found none." \
		"Install one (Debian: apt-get install python3 python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'  # the first with --group
	@touch $@

$(VENV)/.with-package: pyproject.toml $(VENV)/.made
	@echo "installing eventbus into $(VENV)"
	@$(BIN)/python -m pip install -qq --editable .
	@touch $@

$(VENV)/.with-%: pyproject.toml $(VENV)/.with-package
	@echo "installing what 'make $*' needs into $(VENV)"
	@$(BIN)/python -m pip install -qq --group $*
	@touch $@
