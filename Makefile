# Everything from Python >= 3.11 and make. `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input --quiet
ARGS ?=

# A pyenv shim may be on the PATH without its interpreter, so each candidate has to run.
FIND_PYTHON = for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	  then python="$$candidate"; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo 'No Python >= 3.11 found: install one, or name it: make PYTHON=/path/to/python3' >&2; \
	  exit 1; fi

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(VENV)/.demo ## virtual environment with what the product runs on

demo: $(VENV)/.demo ## the whole pipeline on this machine; more with ARGS='--events 20000'
	@$(VENV)/bin/payouts demo $(ARGS)

test: $(VENV)/.dev ## the tests; a part of them with ARGS=tests/streams
	@$(PY) -m pytest $(ARGS)

lint: $(VENV)/.dev ## style and mistakes
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: $(VENV)/.dev ## types, strictly
	@$(PY) -m mypy

check: lint types test ## all that CI does

bench: $(VENV)/.dev ## side by side with stock Faust and a bare loop, into benchmarks/
	@$(PY) -m benchmarks $(ARGS)

lock: ## pin the newest versions that pyproject.toml allows; needs uv
	@uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --quiet \
	  --upgrade --extra demo --extra fast pyproject.toml requirements/build.in \
	  --output-file requirements/demo.lock
	@uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --quiet \
	  --upgrade --extra demo --extra fast --extra test pyproject.toml requirements/build.in \
	  --constraint requirements/demo.lock --output-file requirements/dev.lock

clean: ## remove what the targets made
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# An environment that works is kept; one whose interpreter is gone is made anew.
$(VENV)/.created:
	@if ! $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	  $(FIND_PYTHON); \
	  echo "Making $(VENV) with $$("$$python" --version)"; \
	  rm -rf $(VENV); \
	  "$$python" -m venv $(VENV) >/dev/null 2>&1 || { \
	    rm -rf $(VENV); \
	    echo "$$python has no venv module: install it (Debian: apt install python3-venv)" >&2; \
	    exit 1; }; \
	fi
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip --default-pip >/dev/null
	@touch $@

# All packages by hash, then the project itself with the locked setuptools: nothing unlocked.
$(VENV)/.demo: requirements/demo.lock pyproject.toml | $(VENV)/.created
	@echo 'Installing the locked packages'
	@$(PIP) install --require-hashes -r requirements/demo.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.demo | $(VENV)/.created
	@echo 'Installing the locked packages for development'
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@touch $@

.PHONY: help setup demo test lint types check bench lock clean
