# Needs Python 3.11 or newer, make and git; everything else is installed into .venv.
.DEFAULT_GOAL := help
.PHONY: help demo portal quick test test-all test-floors test-homes test-weather promises catalogues chaos bench bench-peers lint format clean

# Many tests start processes: each would compile all modules again if none may keep the compiled.
unexport PYTHONDONTWRITEBYTECODE

PYTHONS := python3 python3.13 python3.12 python3.11
RUNS := 5
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet

help:
	@echo "make demo     run real jobs on a small database, with live bars"
	@echo "make portal   a student portal in the browser, with exports (PORTAL=--zeo: with a worker apart)"
	@echo "make quick    style, types, and the tests that start no process or server; a minute"
	@echo "make test     check style and types, run the whole suite"
	@echo "make test-all the suite on every Python from 3.11 to 3.13 that is installed"
	@echo "make promises list what docs/promises.md promises, with the tests that show it"
	@echo "make catalogues enter new texts of the pages into the catalogues of the languages, and compile them"
	@echo "make test-floors the suite and each extra with the dependencies of Plone 6.0 (FLOORS=3.12 chooses the Python)"
	@echo "make test-homes the tests in Zope and Plone, each with an environment of its own (HOMES=zope-6 chooses)"
	@echo "make test-weather the suite in random order on one core, beside a busy process, on a fast and a slow disk"
	@echo "make chaos    kill, stop and starve workers, servers and disks; check that nothing is lost"
	@echo "make bench    measure against the storage's own floor"
	@echo "make bench-peers measure against other job systems (PEERS=\"huey rq\" chooses)"

demo: .venv/demo.stamp
	@.venv/bin/zodbjobs demo $(DEMO)

portal: .venv/portal.stamp
	@cd examples/portal && ../../.venv/bin/python -m portal $(PORTAL)

# Where a test runs on each storage, the one in memory alone: it waits for no disk.
quick: .venv/test.stamp lint
	.venv/bin/python -m pytest -n 2 -m "not process" \
	    -k "not DemoStorage and not FileStorage and not SQLite" $(PYTEST)

test: .venv/test.stamp lint
	.venv/bin/python -m pytest -n 2 $(PYTEST)

lint: .venv/test.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

format: .venv/test.stamp
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

promises: .venv/test.stamp
	@.venv/bin/python -m pytest -q --promises

catalogues: .venv/test.stamp
	.venv/bin/python tests/catalogues.py

chaos: .venv/test.stamp
	.venv/bin/python tests/chaos/run.py $(CHAOS)

bench: .venv/test.stamp
	.venv/bin/python benchmarks/run.py $(BENCH)

bench-peers: .venv/made.stamp
	.venv/bin/python benchmarks/peers/run.py $(PEERS) $(BENCH)

test-all: .venv/made.stamp
	.venv/bin/python tests/all_pythons.py

test-floors: .venv/made.stamp
	.venv/bin/python tests/all_pythons.py --floors $(FLOORS)

test-homes: .venv/made.stamp
	.venv/bin/python tests/homes/run.py $(HOMES)

test-weather: .venv/test.stamp
	.venv/bin/python tests/weather/run.py --runs $(RUNS) $(WEATHER)

clean:
	rm -rf .venv .venvs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/made.stamp:
	@set -e; for python in $(PYTHONS); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        $$python -m venv .venv; touch $@; exit 0; \
	    fi; \
	done; \
	echo "zodbjobs needs Python 3.11 or newer with venv; install it and run make again" >&2; exit 1

.venv/demo.stamp: .venv/made.stamp pyproject.toml
	@echo "setting up .venv ..."
	@$(PIP) install --editable '.[cli]'
	@touch $@

.venv/portal.stamp: .venv/made.stamp pyproject.toml
	@echo "setting up .venv ..."
	@$(PIP) install --editable '.[portal]'
	@touch $@

.venv/test.stamp: .venv/made.stamp pyproject.toml
	@echo "setting up .venv with all that the tests need ..."
	@$(PIP) install --editable '.[test]'
	@touch $@
