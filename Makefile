# Every target works on a fresh machine with make and Python 3.11 or newer (on Debian with python3-venv).
PYTHON ?= python3
export PYTHON
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: clients help venv runtime dev lock run test check lint routes migrate seed example demo-vendors clean cluster drills bench bench-scale pictures

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# An incomplete environment counts as missing, and `--clear` removes what was installed: pip is missing or incomplete if
# ensurepip was missing (Debian's python3-venv) or interrupted, and all packages are after an upgrade of the system's Python.
HAS_PIP := -c 'from importlib.metadata import files; files("pip") or exit(1)'
venv:
	@$(BIN)/python $(HAS_PIP) 2>/dev/null || { \
	    "$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	        || { echo "Python 3.11 or newer is needed. Install it, or name it: make … PYTHON=python3.13"; exit 1; }; \
	    "$$PYTHON" -m venv --clear $(VENV) && $(BIN)/python $(HAS_PIP) \
	        || { echo "The virtual environment cannot be made. Follow the hint above, then run this again."; exit 1; }; }

# The lock files name every package with its hashes, so pip resolves nothing. The copy beside the packages shows what is installed.
install = @cmp -s $(1) $(VENV)/$(1) || { \
	    echo "Installing the packages of $(1) into $(VENV): about a minute, once. Nothing outside this folder changes."; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(1) \
	    && cp $(1) $(VENV)/$(1) \
	    || { echo "The packages could not be installed. Check the network connection, then run this again."; exit 1; }; }

runtime: venv
	$(call install,requirements.lock)

dev: runtime
	$(call install,requirements-dev.lock)

# One file serves Python 3.11 to 3.13 on Linux and macOS. The development lock must agree with the runtime lock.
UV      := uv==0.13.9
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
lock: venv  ## write the lock files from requirements*.txt; UPGRADE=1 raises versions that no list pins
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	@$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) requirements.txt -o requirements.lock
	@$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) requirements-dev.txt -c requirements.lock -o requirements-dev.lock

run: runtime  ## set everything up and serve on http://127.0.0.1:3000
	@exec $(BIN)/python server.py

example: dev  ## run two instances (ports 3001 and 3002), over which two users sign up, connect and chat
	@DATA_DIR=.data/example $(BIN)/python examples/two_instances.py

demo-vendors: dev  ## show Instagram, TikTok and the nightly jobs without keys, with stand-ins
	@$(BIN)/python -m examples.demo_vendors

test: dev  ## set everything up and run the tests, without the longest
	@# A fixed hash seed, so that all workers collect the same tests in the order of tests/conftest.py: longest first.
	@# Three workers for two cores, because tests often wait for processes that they start.
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
	    || { echo "Tests failed, or none ran. Run one alone: $(BIN)/python -m pytest -n0 tests/…/test_x.py"; exit 1; }

check: export WHOLE_SUITE := 1
check: lint test  ## run linters, types and all tests, as CI does

lint: dev  ## run ruff, mypy, and the rules for the API description
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy .
	$(BIN)/python -m tools.lint_openapi
	$(BIN)/python clients/build.py --compare

clients: dev  ## build, check and test the clients; `make check` compares the committed build
	@$(BIN)/python clients/build.py
	$(BIN)/python -m mypy --strict clients/python/encer
	$(BIN)/python -m pytest tests/clients

cluster: runtime  ## run three instances behind nginx on one PostgreSQL and one Redis
	@exec $(BIN)/python deploy/cluster.py

SEED     ?= 7
MESSAGES ?= 10000
FAULTS   ?= 32
drills: dev  ## kill, freeze and cut off instances and servers under load for minutes, then check every guarantee
	$(BIN)/python -m tests.drills.rolling
	$(BIN)/python -m clients.conformance long
	$(BIN)/python -m clients.conformance readmes
	$(BIN)/python -m tests.drills.run --seed $(SEED) --messages $(MESSAGES) --faults $(FAULTS) $(if $(KEEP),--keep)

bench: dev  ## measure every case in turns with its floor, and compare with the targets of docs/performance.md
	@$(BIN)/python -m bench $(OPTIONS)

bench-scale: dev  ## measure the cost of sockets, messages, events and statements for docs/scale.md; seven minutes
	@$(BIN)/python -m bench.scale

pictures: dev  ## draw the pictures of the pages for README and docs; needs Chromium
	@$(BIN)/python -m tools.pictures

routes: runtime  ## print all routes: method, path, access, handler, file and line
	@$(BIN)/python -m handlers

migrate: runtime  ## apply missing migrations to the database of DATABASE_URL (or the packaged one)
	@$(BIN)/python -m db.migrate

seed: runtime  ## fill a development database with accounts that can sign in; SCALE=100 adds 100,000 more
	@$(BIN)/python -m db.seed $(if $(SCALE),--scale $(SCALE))

.PHONY: psql secrets settings
psql: runtime  ## open the database of DATABASE_URL (or the packaged one) in psql
	@$(BIN)/python -m db.psql

settings: runtime  ## write the table of settings in README.md from settings.py
	@$(BIN)/python -m tools.settings_table

secrets:  ## print new secrets for an env file, for production
	@"$$PYTHON" -m services.new_secrets

clean:  ## delete the virtual environment and caches; data in .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
