# Every target works on a fresh machine with make and Python 3.11 or newer (on Debian with python3-venv).
PYTHON ?= python3
export PYTHON
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: clients help venv runtime dev lock run test check lint routes migrate seed example demo-vendors clean cluster drills bench bench-scale pictures

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A half-made environment counts as none, and `--clear` forgets what was installed: pip is missing or incomplete where
# ensurepip was (Debian's python3-venv) or after an interruption, and everything after an upgrade of the system's Python.
HAS_PIP := -c 'from importlib.metadata import files; files("pip") or exit(1)'
venv:
	@$(BIN)/python $(HAS_PIP) 2>/dev/null || { \
	    "$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	        || { echo "Python 3.11 or newer is needed. Install it, or name it: make … PYTHON=python3.13"; exit 1; }; \
	    "$$PYTHON" -m venv --clear $(VENV) && $(BIN)/python $(HAS_PIP) \
	        || { echo "The virtual environment cannot be made. Follow the hint above, then run this again."; exit 1; }; }

# The lock files name every package with its hashes, so pip resolves nothing. The copy beside the packages says what is installed.
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
lock: venv  ## write requirements*.txt and all they depend on to the lock files; UPGRADE=1 raises what no list pins
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	@$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) requirements.txt -o requirements.lock
	@$(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) requirements-dev.txt -c requirements.lock -o requirements-dev.lock

run: runtime  ## set everything up and serve on http://127.0.0.1:3000
	@exec $(BIN)/python server.py

example: dev  ## two people sign up, connect and chat over two instances (ports 3001 and 3002)
	@DATA_DIR=.data/example $(BIN)/python examples/two_instances.py

demo-vendors: dev  ## Instagram, TikTok and the nightly jobs without keys, against stand-ins
	@$(BIN)/python -m examples.demo_vendors

test: dev  ## set everything up and run the tests, without the longest
	@# A fixed hash seed, so that all workers collect the same tests in the order of tests/conftest.py: longest first.
	@# Three workers for two cores, because tests often wait for processes that they start.
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
	    || { echo "Tests failed, or none ran. Run one alone: $(BIN)/python -m pytest -n0 tests/…/test_x.py"; exit 1; }

check: export WHOLE_SUITE := 1
check: lint test  ## what CI runs: linters, types, all tests

lint: dev  ## ruff, mypy, and the rules for the API description
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy .
	$(BIN)/python -m tools.lint_openapi
	$(BIN)/python clients/build.py --compare

clients: dev  ## build the clients, check and test them; a part of `make check` compares what is committed
	@$(BIN)/python clients/build.py
	$(BIN)/python -m mypy --strict clients/python/encer
	$(BIN)/python -m pytest tests/clients

cluster: runtime  ## three instances behind nginx on one PostgreSQL and one Redis
	@exec $(BIN)/python deploy/cluster.py

SEED     ?= 7
MESSAGES ?= 10000
FAULTS   ?= 32
drills: dev  ## minutes of killing, freezing and cutting under load; then every promise is checked
	$(BIN)/python -m tests.drills.rolling
	$(BIN)/python -m clients.conformance long
	$(BIN)/python -m clients.conformance readmes
	$(BIN)/python -m tests.drills.run --seed $(SEED) --messages $(MESSAGES) --faults $(FAULTS) $(if $(KEEP),--keep)

bench: dev  ## measure every case in turns with its floor, and compare with the targets of docs/performance.md
	@$(BIN)/python -m bench $(OPTIONS)

bench-scale: dev  ## what sockets, messages, events and statements cost, for docs/scale.md; seven minutes
	@$(BIN)/python -m bench.scale

pictures: dev  ## draw the pictures of the pages for README and docs; needs Chromium
	@$(BIN)/python -m tools.pictures

routes: runtime  ## the table of routes: method, path, access, handler, file and line
	@$(BIN)/python -m handlers

migrate: runtime  ## bring the database of DATABASE_URL (or the packaged one) up to date
	@$(BIN)/python -m db.migrate

seed: runtime  ## fill a development database with people to sign in as; SCALE=100 adds 100,000 more
	@$(BIN)/python -m db.seed $(if $(SCALE),--scale $(SCALE))

.PHONY: psql secrets settings
psql: runtime  ## open the database of DATABASE_URL (or the packaged one) in psql
	@$(BIN)/python -m db.psql

settings: runtime  ## write the table of settings in README.md from settings.py
	@$(BIN)/python -m tools.settings_table

secrets:  ## print new secrets for an env file, for production
	@"$$PYTHON" -m services.new_secrets

clean:  ## forget the virtual environment and caches; data in .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
