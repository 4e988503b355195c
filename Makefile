# `make repro` runs the pipeline, `make test` the tests; all first make the virtual environment that they need.

PYTHON ?= python3
ACTIVATE = . .venv/bin/activate &&

repro: .venv/ready
	$(ACTIVATE) dvc repro

test: .venv/ready-for-tests
	$(ACTIVATE) pytest

# What depends on instruction sets, as a CPU without AVX-512, VNNI and bfloat16 runs it.
test-avx2: .venv/ready-for-tests
	$(ACTIVATE) ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OV_CPU_MAX_ISA=AVX2 pytest \
		tests/export tests/measure/test_peaks.py tests/test_optimize.py tests/test_evaluate.py

# What `pip install .` installs, to give away: dist/blip_on_cpu-….whl.
wheel: .venv/ready
	$(ACTIVATE) pip wheel --quiet --no-deps --wheel-dir dist .

check: .venv/ready-for-tests
	$(ACTIVATE) ruff check && ruff format --check && mypy

.venv/ready: requirements.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: name it with make PYTHON=…')"
	$(PYTHON) -m venv .venv
	$(ACTIVATE) pip install --quiet --requirement requirements.txt
	touch $@

.venv/ready-for-tests: .venv/ready requirements-test.txt
	$(ACTIVATE) pip install --quiet --requirement requirements-test.txt
	touch $@

.PHONY: repro test test-avx2 wheel check
