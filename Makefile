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

bench: $(INSTALLED) ## Measure side by side (benchmarks/README.md says how to read it)
	$(BIN)/python -m benchmarks

bench-quick: $(INSTALLED) ## The same, coarser
	$(BIN)/python -m benchmarks --quick

revision: $(INSTALLED) ## Write a migration from what the models changed (m="what it does", empty=1 for one to fill in)
	@test -n "$(m)" || { echo 'Say what it does: make revision m="Add an index on symbol"'; exit 1; }
	$(BIN)/python backend/alembic/revise.py $(if $(empty),--empty) "$(m)"

lock: $(INSTALLED) ## Resolve the locks anew (UPGRADE=--upgrade for newer versions)
	$(BIN)/uv pip compile $(LOCK) -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) --extra embedded --group dev -c requirements.lock -o requirements-dev.lock
LOCK = pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet --custom-compile-command "make lock" $(UPGRADE)

$(INSTALLED): requirements-dev.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0])'
	@echo "Installing the locked dependencies into .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
