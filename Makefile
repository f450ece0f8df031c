# `make demo` and `make test` are all a fresh machine needs (Python >= 3.11 and make).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STORE  ?= collector
ARGS   ?=

.PHONY: install demo test lint torture containers lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo        the whole path on this machine: a web application, the shipper, a store, queries"
	@echo "                 STORE=opensearch or STORE=elasticsearch sends to a real one; ARGS=--serve stays up"
	@echo "make test        the whole test suite; QUESTIONS_RECORDS=20000 asks its questions of fewer than 100,000 records"
	@echo "make lint        ruff and mypy --strict"
	@echo "make torture     the log handler under forks, kills, signals and a full disk, at full size (10 to 30 minutes)"
	@echo "make containers  builds the image and brings docker-compose.yml up with podman or Docker"
	@echo "make lock        writes the two lock files anew from pyproject.toml"

# A lock is installed first, with its hashes checked; then the project itself, which may bring nothing more.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
endef

$(VENV)/.run: requirements.lock pyproject.toml
	$(call install,requirements.lock)

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock)

install: $(VENV)/.dev

demo: $(VENV)/.run
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.servers demo --store $(STORE) -- $(ARGS)

test: install
	$(BIN)/python -m pytest $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m schemas.build --check

# The torture of the handler at full size: 2,000 forked children, 20,000 files against a cleaner, 200,000 calls with signals, ...
torture: install
	JSONLOG_TORTURE=full $(BIN)/python -m pytest -q -s tests/jsonlog_files/test_torture.py $(ARGS)

containers: install
	$(BIN)/python -m tests.containers $(ARGS)

lock:
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOCK) --extra demo --extra build -o requirements.lock
	$(LOCK) --all-extras -c requirements.lock -o requirements-dev.lock

LOCK = .cache/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
       --no-header --no-annotate --no-emit-index-url --no-emit-find-links

clean:
	rm -rf $(VENV) .cache .artifacts dist
