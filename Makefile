# Needs Python 3.11 or newer and make. `make run PYTHON=/path/to/python3.12` chooses another Python;
# `make run ARGS="--port 3001"` and `make test ARGS="tests/worker -x"` pass words on.
# Every path is relative and nothing calls a script of the venv by its #! line: the folder's name may hold spaces.

PYTHON ?=
ARGS ?=
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check

.PHONY: help run test test-long check lint bench guard docs reference screenshots clean

help:
	@echo "make run    start the monitor and the download worker on http://localhost:3000"
	@echo "make test   run the tests, but not the long ones"
	@echo "make test-long  run those: chaos, crashing handlers, the wheel, the samples of the docs, the library's tests with green threads"
	@echo "make check  the tests that are quick, and lint: the round before a commit"
	@echo "make lint   check style, types, and which way imports point"
	@echo "make bench  measure"
	@echo "make guard  fail if a job costs more CPU time than it did, next to Node's Kue"
	@echo "make docs   build the documentation in build/site; make reference and make screenshots renew what is made from the code"
	@echo "make clean  remove the virtual environment and every cache; jobs and downloads stay"

run: $(VENV)/.installed-run
	@exec $(PY) app.py $(ARGS)

# Compiled files are kept even where the environment says otherwise: each of hundreds of processes would compile anew.
test test-long check: export PYTHONDONTWRITEBYTECODE :=

# Most tests wait most of the time, so there are more processes than cores. With ARGS the words decide alone.
# The order is another one each time; pytest says its seed first, and --randomly-seed=SEED gives it again.
test: $(VENV)/.installed-dev node
	@exec $(PY) -m pytest $(if $(strip $(ARGS)),$(ARGS),-n 6 --dist worksteal -m "not long")

# What needs many seconds of processor time. CI runs these too.
test-long: $(VENV)/.installed-dev node
	@exec $(PY) -m pytest $(if $(strip $(ARGS)),$(ARGS),-n 4 --dist worksteal -m long)

# The quick round leaves out what starts programs, browsers, clusters and other queues.
QUICK := $(foreach name,aio app bench browser cli connection docs embedded fault interop packaging process web/server worker/child_processes,--ignore=tests/$(name))
# Beside them, lint: mypy takes a dozen seconds where it has no cache. What it says comes last.
check: $(VENV)/.installed-dev
	@said=$$(mktemp) || exit 1; $(MAKE) --no-print-directory lint >"$$said" 2>&1 & lint=$$!; \
	$(PY) -m pytest -n 6 --dist worksteal -m "not slow and not long and not serial" $(QUICK); tests=$$?; \
	wait $$lint; lint=$$?; cat "$$said"; rm -f "$$said"; exit $$((tests ? tests : lint))

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -c "from importlinter.cli import lint_imports_command as main; main()"

bench: $(VENV)/.installed-dev
	@exec $(PY) -m bench $(ARGS)

guard: $(VENV)/.installed-dev node
	@exec $(PY) -m bench.guard $(ARGS)

# --strict: a broken link or an unknown name ends the build.
docs: $(VENV)-docs/.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/python -m mkdocs build --strict
	@echo "build/site/index.html"

# The pages of docs/reference that follow from the code, and the pictures of the monitor (needs Chromium).
reference: $(VENV)/.installed-run
	$(PY) -m docs.generate

screenshots: $(VENV)/.installed-dev
	$(PY) -m docs.screenshots $(ARGS)

$(VENV)-docs/.installed: requirements.txt requirements-docs.txt | $(PY)
	$(PY) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip --disable-pip-version-check install --quiet -r requirements-docs.txt
	@touch $@

# The first Python of at least 3.11, unless PYTHON names one.
$(PY):
	@for python in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv $(VENV) && exit 0; \
	    echo "$$python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; \
	    rm -rf $(VENV); exit 1; \
	  fi; \
	  if [ -n "$$python" ] && [ "$$python" = "$(PYTHON)" ]; then \
	    echo "PYTHON=$$python is not a Python of at least 3.11" >&2; exit 1; \
	  fi; \
	done; \
	echo "No Python of at least 3.11 found. Install one, or name it: make run PYTHON=/path/to/python3.12" >&2; exit 1

$(VENV)/.installed-run: requirements.txt | $(PY)
	$(PIP) install --quiet -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt requirements-otel.txt | $(PY)
	$(PIP) install --quiet -r requirements-dev.txt
	$(PIP) install --quiet --upgrade --target $(VENV)/otel -r requirements-otel.txt
	@touch $@ $(VENV)/.installed-run

# Node Kue and the official Socket.IO client, which some tests run against. Without npm those tests are skipped.
.PHONY: node
node:
	@if [ tests/node/node_modules/.package-lock.json -nt tests/node/package-lock.json ]; then exit 0; fi; \
	if ! command -v npm >/dev/null; then echo "npm is not installed: the tests that need Node are skipped"; exit 0; fi; \
	cd tests/node && npm ci --no-audit --no-fund --loglevel=error \
	  || { [ "$$CI" != true ] && echo "npm ci failed: the tests that need Node are skipped"; }

clean:
	rm -rf $(VENV) $(VENV)-docs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/node/node_modules bench/.envs bench/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
