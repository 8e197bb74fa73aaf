# Everything runs in .venv, which every target makes by itself. `make help` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench bench-peers drill secrets lock clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY)  ## make .venv with the locked dependencies and cartstream itself

demo: $(READY)  ## the whole pipeline on this machine: [INPUT=file] [FORMAT=name] [DURATION=seconds] [PLAIN=1]
	$(BIN)/cartstream demo \
	  $(if $(INPUT),--input "$(INPUT)") $(if $(FORMAT),--format "$(FORMAT)") \
	  $(if $(DURATION),--duration "$(DURATION)") $(if $(PLAIN),--plain)

test: $(READY)  ## all tests, on a real Kafka and Redis that they find or start: [ARGS="tests/sessions -k cart"]
	$(BIN)/python -m pytest $(ARGS)

check: $(READY)  ## formatting, lint and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

bench: $(READY)  ## benchmarks, one JSON line each: [NAMES="sessions identity"]
	$(BIN)/python -m tests.bench $(NAMES)

drill: $(READY)  ## faults on a real Kafka and Redis, one JSON line: NAME=kill [SEED=7] [ARGS=--short]; without NAME all are listed
	$(BIN)/python -m tests.drills $(NAME) $(if $(SEED),--seed "$(SEED)") $(ARGS)

bench-peers: $(READY)  ## the sessions job on other engines beside cartstream's own: [NAMES="kafka-streams quix"] [EVENTS=4000000]
	$(BIN)/python -m tests.bench.peers $(if $(EVENTS),--events $(EVENTS)) $(if $(CUSTOMERS),--customers $(CUSTOMERS)) $(NAMES)

secrets: deploy/secrets.env  ## fresh keys for docker compose, in a file that git ignores

deploy/secrets.env: | $(READY)
	umask 077 && $(BIN)/cartstream keys > $@

lock:  ## pin the dependencies of pyproject.toml again, with hashes (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	uv pip compile pyproject.toml $(LOCK) -o requirements.lock
	uv pip compile pyproject.toml --extra dev requirements-dev.in -c requirements.lock $(LOCK) -o requirements-dev.lock

clean:  ## delete .venv and build
	rm -rf .venv build

LOCK := -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
  --no-header --no-annotate $(UPGRADE)

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cartstream needs Python 3.11 or later; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
