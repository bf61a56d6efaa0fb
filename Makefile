# `make demo` and `make test` do all the set-up; they need python3 and make.
SHELL := /bin/bash
.DELETE_ON_ERROR:
VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/.bootstrap/bin/uv
UV_VERSION := 0.9.11
REQUIREMENTS ?= requirements/cpu.txt
PYTHON_RANGE := >=3.10,<3.12

.PHONY: demo test test-all test-rest test-warehouses test-monitoring docs setup compiled requirements clean

demo: setup  ## a small simulated shop: every stage, serve, ask, click, stop; then what the slates are worth
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/cascade demo --publish triton_repo

test: setup compiled  ## lint, types, import contract, Dockerfile lint, the essential tests
	scripts/check.sh $(BIN) essential

test-all: setup compiled  ## the same with every test
	scripts/check.sh $(BIN) all

test-rest: setup compiled  ## the tests that `make test` leaves out
	scripts/check.sh $(BIN) rest

test-warehouses: setup compiled  ## the tests of Snowflake and BigQuery, with emulators in environments of their own
	scripts/warehouses.sh $(UV) $(BIN)

test-monitoring: setup compiled  ## the tests of rules and dashboards, with a real Prometheus
	scripts/monitoring.sh $(BIN)

docs: setup  ## the documentation as a site, build/site/index.html; a link that leads nowhere fails
	scripts/docs.sh $(UV) $(BIN)

setup: $(VENV)/.ready

$(UV):
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { echo "make: python3 lacks the venv module (on Debian: apt-get install python3-venv)"; exit 1; }
	python3 -m venv $(VENV)/.bootstrap
	$(VENV)/.bootstrap/bin/pip install --quiet uv==$(UV_VERSION)

# All of it takes 40 s of two cores; a first run compiles what it imports, and no more.
compiled: $(VENV)/.compiled

$(VENV)/.compiled: $(VENV)/.ready
	-@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	@touch $@

$(VENV)/.ready: $(UV) $(REQUIREMENTS) pyproject.toml client/pyproject.toml
	@scripts/bring_python.sh $(UV) '$(PYTHON_RANGE)'
	$(UV) venv --quiet --allow-existing --python '$(PYTHON_RANGE)' $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --require-hashes $(REQUIREMENTS)
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable client --editable .
	@touch $@
	@echo 'make: $(VENV) is ready; next: source $(VENV)/bin/activate'

requirements: $(UV)  ## resolve the hash-pinned requirements files again
	scripts/lock.sh $(UV)

clean:
	rm -rf $(VENV) runs
