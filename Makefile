# Two commands on a fresh machine, which needs only python3 (3.11 or newer) and make:
#     make run     makes the environment, runs the main job, says where its report is
#     make test    makes the environment, passes the tests
# The environment is made once, in .venv, and again only when pyproject.toml or constraints.txt change.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# One thread per process: a stack of clients is parallel over workers, and sums then do not depend on the machine.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS
# Nothing of a simulation leaves the machine it runs on.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0
# Processes that tests and simulations start import the same modules again: they are compiled once.
unexport PYTHONDONTWRITEBYTECODE
# Flower starts its own programs by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help run test test-fast check docs bench env clean

help:
	@echo "make run     the main job, configs/main.toml, and where its report is (ARGS='--workers 2')"
	@echo "make test    the tests, three processes, fourteen minutes on two cores (ARGS='-k reptile'; METAPULSE_DATA=DIR adds"
	@echo "             those on real data, METAPULSE_THOROUGH=1 asks each law for all of its cases)"
	@echo "make test-fast  those of them without clusters, whole programs, real data and long laws: three minutes"
	@echo "make check   format, lint, types, import layers"
	@echo "make docs    the documentation as a site, in site/"
	@echo "make bench   speed beside other systems, which it installs apart (ARGS='--only ours jax mlp-1000', --list)"
	@echo "make clean   removes the environment and what tools leave behind; runs/ stays"

run: $(STAMP)
	$(BIN)/metapulse run configs/main.toml $(ARGS)

# Three processes on two cores: whole programs and clusters wait for each other for a part of their time.
test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)

test-fast: $(STAMP)
	METAPULSE_DATA= $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m 'not ray and not e2e and not long' $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP)
	$(BIN)/python benchmarks/bench/run.py $(ARGS)

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "metapulse needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "this Python cannot make environments: install its venv package (Debian: python3-venv)," \
	         "or name another with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making $(VENV): once, a minute or two"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    --no-build-isolation -e '.[dev]'
	@touch $(STAMP)

clean:
	rm -rf $(VENV) dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info *.fab
	find metapulse client strategies server sim tests -name __pycache__ -type d -exec rm -rf {} +
