# make demo   install what is missing, then run the quickstart scenario
# make test   install what is missing, then lint, format check, types, tests with coverage
# make test-deploy  faults of deployments with real processes; about 20 minutes
# make docs   install what is missing, then build the documentation into build/docs
# make bench  install the engines of the benchmark into .venv-bench, then measure: two cores, within 20 minutes
# make venv   only install

VENV ?= .venv
EXTRAS := sim,data,report,export,track,docs,dev
BENCH_VENV ?= .venv-bench
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first interpreter that is new enough, those first for which every pin has a wheel.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$python" && break; \
	done)

export FLWR_TELEMETRY_ENABLED ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: help demo test test-deploy docs bench venv
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

demo: venv
	$(BIN)/fedbal run quickstart

test: venv
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest --cov -n 2 --dist loadfile

test-deploy: venv
	$(BIN)/python -m pytest -m "deploy or not deploy" tests/deployment/test_faults.py tests/deployment/test_faults_slow.py

docs: venv
	$(BIN)/python -m mkdocs build --strict

bench: $(BENCH_VENV)/.installed
	$(BENCH_VENV)/bin/python -m benchmarks.speed --out runs/speed.json

venv: $(STAMP)

# The build backend is installed first and build isolation is off: some versions of pip leave an isolated
# build outside the constraints.
$(STAMP): pyproject.toml constraints.txt
	@"$(or $(PYTHON),python3)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "fedbal needs Python 3.11 or newer, found: $$("$(or $(PYTHON),python3)" --version 2>&1)." \
		"Install it, or name one: make $(or $(MAKECMDGOALS),venv) PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "Installing into $(VENV); the first time this takes minutes and gigabytes."
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e ".[$(EXTRAS)]"
	@touch $@

# pfl pins packages that clash with the development tools and needs a Python below 3.13, so the engines have an
# environment of their own.
$(BENCH_VENV)/.installed: pyproject.toml benchmarks/speed/constraints.txt
	@"$(or $(PYTHON),python3)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || { \
		echo "The benchmark needs Python 3.11 or 3.12; name one: make bench PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "Installing into $(BENCH_VENV); the first time this takes minutes and gigabytes."
	"$(PYTHON)" -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -c benchmarks/speed/constraints.txt hatchling editables
	$(BENCH_VENV)/bin/python -m pip install --quiet -c benchmarks/speed/constraints.txt --no-build-isolation \
		-e ".[sim]" "pfl[pytorch]"
	@touch $@
