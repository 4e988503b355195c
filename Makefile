# `make repro` runs the pipeline, `make test` the tests; both first make the virtual environment that they need.

PYTHON ?= python3
ACTIVATE = . .venv/bin/activate &&

repro: .venv/ready
	$(ACTIVATE) dvc repro

test: .venv/ready-for-tests
	$(ACTIVATE) pytest

check: .venv/ready-for-tests
	$(ACTIVATE) ruff check && ruff format --check && mypy

.venv/ready: requirements.txt requirements-runtime.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: name it with make PYTHON=…')"
	$(PYTHON) -m venv .venv
	$(ACTIVATE) pip install --quiet --requirement requirements.txt
	touch $@

.venv/ready-for-tests: .venv/ready requirements-test.txt
	$(ACTIVATE) pip install --quiet --requirement requirements-test.txt
	touch $@

.PHONY: repro test check
