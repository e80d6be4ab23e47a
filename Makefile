PORT ?= 8001
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test test-all check bench bench-quick revision lock

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install the locked dependencies into .venv

run: $(INSTALLED) ## Serve on 127.0.0.1:8001 with reload (PORT=… for another port)
	@trap 'exit 0' INT; cd backend && ../$(BIN)/python -m uvicorn app.main:app --reload --port $(PORT) --no-proxy-headers --timeout-graceful-shutdown 10

test: $(INSTALLED) ## Run the tests, the slower proofs left out
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(INSTALLED) ## Run every test
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(INSTALLED) ## Lint, check formatting, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED) .venv-bench/.installed ## Measure side by side (benchmarks/README.md says how to read it)
	$(BIN)/python -m benchmarks

bench-quick: $(INSTALLED) .venv-bench/.installed ## The same, coarser
	$(BIN)/python -m benchmarks --quick

revision: $(INSTALLED) ## Write a migration from what the models changed (m="what it does", empty=1 for one to fill in)
	@test -n "$(m)" || { echo 'Say what it does: make revision m="Add an index on symbol"'; exit 1; }
	$(BIN)/python backend/alembic/revise.py $(if $(empty),--empty) "$(m)"

lock: $(INSTALLED) ## Resolve the locks anew (UPGRADE=--upgrade for newer versions)
	$(BIN)/uv pip compile $(LOCK) -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) --extra embedded --group dev -c requirements.lock -o requirements-dev.lock
	sed -n -E 's/^(($(COMPARED))==[^ ]*).*/\1/p' requirements.lock > .venv-bench.constraints
	$(BIN)/uv pip compile benchmarks/requirements.in $(RESOLVED) --no-annotate -c .venv-bench.constraints -o benchmarks/requirements.lock
	rm .venv-bench.constraints
RESOLVED = --universal --python-version 3.11 --generate-hashes --quiet --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)
LOCK = pyproject.toml $(RESOLVED)
# In the same versions wherever they are measured; of the others fastapi-users wants older ones.
COMPARED = fastapi|starlette|pydantic|pydantic-core|uvicorn|uvloop|httptools|psycopg2-binary|python-jose

.venv-bench/.installed: benchmarks/requirements.lock $(INSTALLED)
	@echo "Installing what the benchmarks compare with into .venv-bench"
	@$(BIN)/python -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

$(INSTALLED): requirements-dev.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0])'
	@echo "Installing the locked dependencies into .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
