# Every target works on a fresh machine with Python >= 3.11 and make; nothing else is needed beforehand.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test check lint routes migrate seed example demo-vendors clean cluster drills bench

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: $(VENV)/.runtime  ## set everything up and serve on http://127.0.0.1:3000
	@exec $(BIN)/python server.py

example: $(VENV)/.dev  ## two people sign up, connect and chat over two instances (ports 3001 and 3002)
	@DATA_DIR=.data/example $(BIN)/python examples/two_instances.py

demo-vendors: $(VENV)/.dev  ## Instagram, TikTok and the nightly jobs without keys, against stand-ins
	@$(BIN)/python -m examples.demo_vendors

test: $(VENV)/.dev  ## set everything up and run the whole suite
	@# A fixed hash seed, so that both workers collect the same tests in the same order.
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest -n 2 --dist loadfile

check: lint test  ## what CI runs: linters, types, tests

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

cluster: $(VENV)/.runtime  ## three instances behind nginx on one PostgreSQL and one Redis
	@exec $(BIN)/python deploy/cluster.py

SEED     ?= 7
MESSAGES ?= 10000
FAULTS   ?= 32
drills: $(VENV)/.dev  ## minutes of killing, freezing and cutting under load; then every promise is checked
	$(BIN)/python -m tests.drills.rolling
	$(BIN)/python -m tests.drills.run --seed $(SEED) --messages $(MESSAGES) --faults $(FAULTS) $(if $(KEEP),--keep)

bench: $(VENV)/.dev  ## what sockets, messages, events and statements cost, for docs/scale.md; seven minutes
	@$(BIN)/python -m bench

routes: $(VENV)/.runtime  ## the table of routes: method, path, access
	@$(BIN)/python -m handlers

migrate: $(VENV)/.runtime  ## bring the database of DATABASE_URL (or the packaged one) up to date
	@$(BIN)/python -m db.migrate

seed: $(VENV)/.runtime  ## fill a development database with people to sign in as; SCALE=100 adds 100,000 more
	@$(BIN)/python -m db.seed $(if $(SCALE),--scale $(SCALE))

clean:  ## forget the virtual environment and caches; data in .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
