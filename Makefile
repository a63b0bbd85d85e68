# Every target works on a fresh machine with make and Python 3.11 or newer (on Debian with python3-venv).
PYTHON ?= python3
export PYTHON
# Set in a shell, it would make each of hundreds of processes, and each worker of the tests, compile all modules again.
export PYTHONDONTWRITEBYTECODE :=
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

# Run a command; if it fails, end with a sentence (without a comma, which make splits at) that says what to do. Status 130
# is Ctrl-C, which the command handles.
define guarded
@trap : INT; $(1) || { status=$$?; [ $$status -eq 130 ] || echo $(2); exit $$status; }
endef

runtime: venv
	$(call install,requirements.lock)

dev: runtime
	$(call install,requirements-dev.lock)

# One file serves Python 3.11 to 3.13 on Linux and macOS. The development lock must agree with the runtime lock.
UV      := uv==0.13.9
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
LOCK    := $(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) requirements.txt -o requirements.lock \
    && $(BIN)/uv $(COMPILE) $(if $(UPGRADE),--upgrade) requirements-dev.txt -c requirements.lock -o requirements-dev.lock
LOCK_FAILED := "The lock files are not complete. Correct the package that is named above or check the network, then run make lock again."
lock: venv  ## write the lock files from requirements*.txt; UPGRADE=1 raises versions that no list pins
	$(call guarded,$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV) && $(LOCK),$(LOCK_FAILED))

run: runtime  ## set everything up and serve on http://127.0.0.1:3000
	@exec $(BIN)/python server.py

example: dev  ## run two instances (ports 3001 and 3002), over which two users sign up, connect and chat
	$(call guarded,DATA_DIR=.data/example $(BIN)/python examples/two_instances.py,"The example failed. If a port is in use stop the other server; else correct the error above. Then run make example again.")

demo-vendors: dev  ## show Instagram, TikTok and the nightly jobs without keys, with stand-ins
	$(call guarded,$(BIN)/python -m examples.demo_vendors,"The demonstration failed. Correct the error above and run make demo-vendors again.")

test: dev  ## set everything up and run the tests, without the longest
	@# A fixed hash seed, so that all workers collect the same tests in the order of tests/conftest.py: longest first.
	@# Three workers for two cores, because tests often wait for processes that they start.
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
	    || { echo "Tests failed, or none ran. Run one alone: $(BIN)/python -m pytest -n0 tests/…/test_x.py"; exit 1; }

check: export WHOLE_SUITE := 1
check: lint test  ## run linters, types and all tests, as CI does

lint: dev  ## run ruff, mypy, and the rules for the API description
	$(call guarded,$(BIN)/python -m ruff check .,"Correct the lines above; $(BIN)/python -m ruff check --fix . corrects some of them.")
	$(call guarded,$(BIN)/python -m ruff format --check .,"Run $(BIN)/python -m ruff format . to format these files.")
	$(call guarded,$(BIN)/python -m mypy .,"Correct the types in the lines above.")
	$(call guarded,$(BIN)/python -m tools.lint_openapi,"Correct the descriptions of the routes or shapes that are named above.")
	$(call guarded,$(BIN)/python clients/build.py --compare,"Run make clients and commit the files that it writes.")

clients: export WHOLE_SUITE := 1
clients: dev  ## build, check and test the clients; `make check` compares the committed build
	$(call guarded,$(BIN)/python clients/build.py,"The clients were not built. Correct the error above and run make clients again.")
	$(call guarded,$(BIN)/python -m mypy --strict clients/python/encer,"Correct the types in the lines above.")
	$(call guarded,$(BIN)/python -m pytest tests/clients,"Tests of the clients failed. Run one alone: $(BIN)/python -m pytest -n0 tests/clients/test_x.py")

cluster: runtime  ## run three instances behind nginx on one PostgreSQL and one Redis
	@exec $(BIN)/python deploy/cluster.py

SEED     ?= 7
MESSAGES ?= 10000
FAULTS   ?= 32
DRILL_FAILED := "The drill failed. Read the guarantee that is named above in docs/reliability.md. KEEP=1 keeps the logs of the next run."
drills: dev  ## kill, freeze and cut off instances and servers under load for minutes, then check every guarantee
	$(call guarded,$(BIN)/python -m tests.drills.rolling,$(DRILL_FAILED))
	$(call guarded,$(BIN)/python -m clients.conformance long,$(DRILL_FAILED))
	$(call guarded,$(BIN)/python -m clients.conformance readmes,$(DRILL_FAILED))
	$(call guarded,$(BIN)/python -m tests.drills.run --seed $(SEED) --messages $(MESSAGES) --faults $(FAULTS) $(if $(KEEP),--keep),$(DRILL_FAILED))

bench: dev  ## measure every case in turns with its floor, and compare with the targets of docs/performance.md
	$(call guarded,$(BIN)/python -m bench $(OPTIONS),"A case missed its target or failed. Stop other programs and run make bench again; docs/performance.md explains the targets.")

bench-scale: dev  ## measure the cost of sockets, messages, events and statements for docs/scale.md; eight minutes
	$(call guarded,$(BIN)/python -m bench.scale,"The measurement failed. Stop other programs and run make bench-scale again.")

pictures: dev  ## draw the pictures of the pages for README and docs; needs Chromium
	$(call guarded,$(BIN)/python -m tools.pictures,"The pictures were not drawn. Install Chromium with apt install chromium or correct the error above and run make pictures again.")

routes: runtime  ## print all routes: method, path, access, handler, file and line
	$(call guarded,$(BIN)/python -m handlers,"The routes cannot be listed. Correct the error above and run make routes again.")

migrate: runtime  ## apply missing migrations to the database of DATABASE_URL (or the packaged one)
	$(call guarded,$(BIN)/python -m db.migrate,"The database was not migrated. Follow the sentence above and run make migrate again.")

seed: runtime  ## fill a development database with accounts that can sign in; SCALE=100 adds 100,000 more
	$(call guarded,$(BIN)/python -m db.seed $(if $(SCALE),--scale $(SCALE)),"The database was not filled. Follow the sentence above and run make seed again.")

.PHONY: psql secrets settings
psql: runtime  ## open the database of DATABASE_URL (or the packaged one) in psql
	$(call guarded,$(BIN)/python -m db.psql,"psql ended with an error. Follow the message above and run make psql again.")

settings: runtime  ## write the table of settings in README.md from settings.py
	$(call guarded,$(BIN)/python -m tools.settings_table,"README.md was not written. Correct settings.py as the error above says and run make settings again.")

secrets:  ## print new secrets for an env file, for production
	$(call guarded,"$$PYTHON" -m services.new_secrets,"No secrets were printed. Install Python 3.11 or newer or name it: make secrets PYTHON=python3.13")

clean:  ## delete the virtual environment and caches; data in .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
