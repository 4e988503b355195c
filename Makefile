# `make repro` runs the pipeline, `make test` the tests that tell whether it works, `make test-long` the others, `make
# sweep` one knob's values, `make search` looks for recipes for this CPU, `make machine` the full-size model for the
# table of machines; all first make the virtual environment that they need.

PYTHON ?= python3
ACTIVATE = . .venv/bin/activate &&
# A folder that DVC keeps out of Git and out of its own sight, on the disk that holds the checkpoints anyway.
APART = .dvc/tmp/machine

# What hides this folder from `python -m`.
unexport PYTHONSAFEPATH

repro: .venv/ready
	$(ACTIVATE) { git -c safe.directory='*' rev-parse >/dev/null 2>&1 || dvc config --local core.no_scm true; } && dvc repro

test: .venv/ready-for-tests
	$(ACTIVATE) pytest

# Real servers, kills, whole pipelines, installations, networks, a browser, exports of all kinds: what takes longer.
test-long: .venv/ready-for-tests
	$(ACTIVATE) pytest tests/long

# What depends on instruction sets, as a CPU without AVX-512, VNNI and bfloat16 runs it.
test-avx2: .venv/ready-for-tests
	$(ACTIVATE) ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OV_CPU_MAX_ISA=AVX2 pytest \
		tests/export tests/long/export tests/timing/test_peaks.py tests/test_evaluate.py tests/test_optimize.py \
		tests/long/test_optimize.py

# Captions on emulated ARM CPUs, compared with this machine's; five minutes to a quarter of an hour, and 1.3 GB in a
# folder that stays. Skipped where Debian's QEMU 10 can't be had.
test-arm64: .venv/ready-for-tests
	$(ACTIVATE) dvc repro optimize@onnx_int8 optimize@openvino_int8 && python -m tests.arm64

# What `pip install .` installs, to give away: dist/blip_on_cpu-….whl.
wheel: .venv/ready
	$(ACTIVATE) pip wheel --quiet --no-deps --wheel-dir dist .

# Quality and speed over a number in a recipe or in decoding, in reports/sweeps.
sweep: .venv/ready
	$(if $(and $(KNOB),$(VALUES)),,$(error say what to sweep: make sweep KNOB=variants.pruned_quantized.prune.amount VALUES=0.1,0.3,0.5))
	$(ACTIVATE) python -m stages.sweep -- '$(KNOB)' '$(VALUES)'

# A checkpoint with its model card, to upload to a model hub: make publish VARIANT=openvino_int8 makes dist/openvino_int8.
publish: .venv/ready
	$(if $(VARIANT),,$(error say which checkpoint: make publish VARIANT=openvino_int8))
	$(ACTIVATE) python -m stages.page.publish $(VARIANT)

# The picture of the page at the top of README.md. For root: make picture CHROMIUM='chromium --no-sandbox'.
CHROMIUM ?= chromium
picture:
	$(CHROMIUM) --headless --hide-scrollbars --window-size=1200,1270 --screenshot=reports/page.png reports/report.html

# Style, types, and the licences of what the package brings along.
check: .venv/ready-for-tests
	$(ACTIVATE) ruff check && ruff format --check && mypy && python -m tests.captioner.licences

# Known vulnerabilities of all that is installed. Not a part of `check`: it asks PyPI's database over the network, and
# its answer changes from day to day. In an environment of its own, as it would bring other versions along.
audit: .venv/ready
	.venv/bin/python -m venv .venv/audit && .venv/audit/bin/pip install --quiet pip-audit==2.10.1
	PIPAPI_PYTHON_LOCATION=.venv/bin/python .venv/audit/bin/pip-audit --local

# 130,000 damaged files and 1200 damaged checkpoints, where `make test` takes a few hundred; 20 minutes.
fuzz: .venv/ready-for-tests
	$(ACTIVATE) FUZZ_CASES=10000 FUZZ_OPENINGS=400 pytest -o faulthandler_timeout=7200 \
		tests/captioner/inspection/test_files.py

# Kills each stage, pushes, servers and workers at random moments and fills disks, and counts what is lost; 45 minutes.
torture: .venv/ready-for-tests
	$(ACTIVATE) python -m tests.torture

# The baseline against itself, ten times in six minutes: at least nine intervals are to contain 1.00. With VARIANT=…, that
# checkpoint against the baseline: each two intervals are to overlap. Wants a quiet machine.
control: .venv/ready
	$(ACTIVATE) dvc repro download dataset $(if $(VARIANT),optimize@$(VARIANT)) && python -m tests.timing.control $(VARIANT)

# How often the intervals hold the truth, for the tables of reports/README.md; five minutes.
coverage: .venv/ready
	$(ACTIVATE) python -m tests.timing.coverage

# What graded damages to the demo's captioner cost, for reports/README.md: what its pictures can tell; ten minutes.
demo-sensitivity: .venv/ready
	$(ACTIVATE) python -m tests.demo.sensitivity

# What of such damages a short distillation makes good, for reports/README.md; six minutes.
demo-recovery: .venv/ready
	$(ACTIVATE) python -m tests.demo.recovery

# The seconds of a step and the memory of such a distillation at BLIP-base's full size; five minutes.
recovery-cost: .venv/ready
	$(ACTIVATE) python -m tests.demo.recovery_cost

# What guesses at words bring the decoder at BLIP-base's full size, for reports/README.md. Wants a quiet machine; fifteen
# minutes, of which most make the checkpoints.
guesses: .venv/ready
	$(ACTIVATE) rm -rf $(APART) && trap 'rm -rf $(APART)' EXIT INT TERM && \
		apart=$$(python -m stages.sweep.checkout $(APART)) && \
		(cd "$$apart" && dvc exp run -S model=blip-base-untrained optimize@openvino_int8 optimize@onnx_int8 && \
			python -m tests.timing.guesses openvino_int8 onnx_int8)

# In a clone of the last commit, so that this checkout keeps its own checkpoints and reports.
machine: .venv/ready
	$(ACTIVATE) rm -rf $(APART) && trap 'rm -rf $(APART)' EXIT INT TERM && \
		apart=$$(python -m stages.sweep.checkout $(APART)) && \
		(cd "$$apart" && dvc exp run -S model=blip-base-untrained) && python -m stages.page.machines "$$apart"

# What each part of a recipe brings, one more in each row, in reports/waterfalls. Wants a quiet machine: five minutes,
# and half an hour with MODEL=blip-base-untrained. Instruction sets may be capped as in test-avx2.
waterfall: .venv/ready
	$(ACTIVATE) rm -rf $(APART) && trap 'rm -rf $(APART)' EXIT INT TERM && \
		apart=$$(python -m stages.sweep.checkout $(APART)) && \
		python -m stages.sweep.waterfall "$$apart" $(or $(VARIANT),fastest) $(or $(MODEL),demo)

# What else one could run: BLIP-large, GIT, ViT-GPT2, Florence-2 and SmolVLM with random weights, in turns with BLIP-base,
# in reports/rivals. Wants a quiet machine, twelve to eighteen minutes, 8 GB of memory and 8 GB of disk.
rivals: .venv/ready
	$(ACTIVATE) rm -rf $(APART) && trap 'rm -rf $(APART)' EXIT INT TERM && \
		apart=$$(python -m stages.sweep.checkout $(APART)) && \
		(cd "$$apart" && dvc exp run -S model=blip-base-untrained \
			optimize@quantized optimize@openvino_int8 optimize@fastest && \
			python -m stages.alternatives.blip_large && python -m stages.alternatives.rival_times) && \
		python -m stages.alternatives.rivals "$$apart"

# Archives captioned by the loop that people write, by processes and through Ray, at BLIP-base's full size, and the demo's
# of 100, 1,000 and 10,000 pictures, in reports/corpus. Wants a quiet machine and Ray, which is among what tests need;
# half an hour, 6 GB of memory and 6 GB of disk.
corpus-load: .venv/ready-for-tests
	$(ACTIVATE) dvc repro optimize@fastest && rm -rf $(APART) && trap 'rm -rf $(APART)' EXIT INT TERM && \
		apart=$$(python -m stages.sweep.checkout $(APART)) && \
		(cd "$$apart" && dvc exp run -S model=blip-base-untrained optimize@fastest && \
			python -m stages.archives.speed "$(CURDIR)/models/fastest") && \
		python -m stages.archives.page "$$apart"

# The server under 1, 4 and 16 clients, in batches and one picture at a time, in reports/serving. Wants a quiet machine and
# what tests need; ten minutes, of which half makes the full-size checkpoint.
serve-load: .venv/ready-for-tests
	$(ACTIVATE) rm -rf $(APART) && trap 'rm -rf $(APART)' EXIT INT TERM && \
		apart=$$(python -m stages.sweep.checkout $(APART)) && \
		(cd "$$apart" && dvc exp run -S model=blip-base-untrained optimize@fastest && \
			python -m stages.serving.load_times) && \
		python -m stages.serving.loads "$$apart"

# Kernels for weights that are zero at BLIP-base's full size, and what zeros cost the demo's captions, in reports/sparse.
# Wants a quiet machine, and TVM, which is among what tests need; ten minutes, and 8 GB of memory.
sparse: .venv/ready-for-tests
	$(ACTIVATE) python -m stages.alternatives.sparse_speed && python -m stages.alternatives.sparse_captions

# Recipes for this CPU and this model, tried on pictures of their own: found_fast, found_even and found_careful among the
# variants of params.yaml, and all that was tried in reports/search. Wants a quiet machine for `search.minutes`; killed,
# it goes on where it was.
search: .venv/ready
	$(ACTIVATE) dvc repro download dataset draft && python -m stages.search

# Python compiles what is imported when it is; pip would compile all of it, which takes longer than the pipeline's imports.
.venv/ready: requirements.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: name it with make PYTHON=…')"
	$(PYTHON) -m venv .venv
	$(ACTIVATE) pip install --quiet --no-compile --requirement requirements.txt
	touch $@

.venv/ready-for-tests: .venv/ready requirements-test.txt
	$(ACTIVATE) pip install --quiet --no-compile --requirement requirements-test.txt
	touch $@

.PHONY: repro test test-long test-avx2 test-arm64 sweep wheel publish picture check audit fuzz torture control coverage demo-sensitivity demo-recovery recovery-cost guesses machine waterfall rivals corpus-load serve-load sparse search
