# `make demo` and `make test` do all the set-up; they need python3 and make.
SHELL := /bin/bash
.DELETE_ON_ERROR:
VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/.bootstrap/bin/uv
UV_VERSION := 0.9.11
REQUIREMENTS ?= requirements/cpu.txt
export UV_PYTHON_DOWNLOADS ?= never

.PHONY: demo test setup requirements clean

demo: setup  ## every stage on the simulated shop, then serve, ask, print, stop
	$(BIN)/cascade demo --config configs/shop.toml --out runs/shop --publish triton_repo

test: setup  ## lint, types, import contract, Dockerfile lint, tests
	scripts/check.sh $(BIN)

setup: $(VENV)/.ready

$(UV):
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { echo "make: python3 lacks the venv module (on Debian: apt-get install python3-venv)"; exit 1; }
	python3 -m venv $(VENV)/.bootstrap
	$(VENV)/.bootstrap/bin/pip install --quiet uv==$(UV_VERSION)

$(VENV)/.ready: $(UV) $(REQUIREMENTS) pyproject.toml
	@$(UV) python find --quiet '>=3.10,<3.12' >/dev/null 2>&1 || { echo "make: no Python 3.10 or 3.11 was found on this machine (python3 is $$(python3 -V)); install one, or let uv fetch it: UV_PYTHON_DOWNLOADS=automatic make $(MAKECMDGOALS)"; [ "$$UV_PYTHON_DOWNLOADS" = automatic ] || exit 1; }
	$(UV) venv --quiet --allow-existing --python '>=3.10,<3.12' $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --require-hashes --compile-bytecode $(REQUIREMENTS)
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

requirements: $(UV)  ## resolve the hash-pinned requirements files again
	scripts/lock.sh $(UV)

clean:
	rm -rf $(VENV) runs
