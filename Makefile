# Two commands: `make train` trains a small network, `make test` runs the tests. Both install what they need into .venv.
#
#   make train ARGS="--epochs 3 --device cpu"     arguments go to `nnlab train`
#   make test ARGS="tests/nn -x"                  arguments go to pytest
#   make PYTHON=python3.12 train                  another Python (3.11 or newer)

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin

.PHONY: train test bench kernels race counts mutate gpu-test gpu-bench docs peer lint format wheel clean

train: $(VENV)/.installed-run
	$(BIN)/nnlab train $(ARGS)

# One process a core (`ARGS="-n 0"`: one in all), so BLAS needs no threads of its own.
test: $(VENV)/.installed-test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS)

# What operations cost here: a table, bench/record.json and two pictures under runs/; PyTorch beside it if it is installed.
bench: $(VENV)/.installed-run
	$(BIN)/nnlab bench --json runs/bench/record.json --pictures runs/bench $(ARGS)

# The comparisons with PyTorch (a CPU build is enough; PyTorch is no dependency of nnlab).
peer: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --no-input torch==2.13.0
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 -m torch $(ARGS)

# Every kernel compiled for every architecture and held against tools/budget.json, the machine code of the tensor-core
# kernels read, and the array code looked up in CuPy; needs no GPU.   make kernels ARGS='--update --reason "why"'
kernels: $(VENV)/.installed-kernels
	$(BIN)/python -m tools.budget $(ARGS)
	$(BIN)/python -m pytest tests/cuda/test_compiler.py tests/cuda/test_array_code.py tests/cuda/test_backend.py \
		tests/test_device_code.py tests/cuda/test_sass.py --require-nvdisasm \
		$(if $(findstring --update,$(ARGS)),--update-sass)

# The kernels changed in small ways: do the tests notice?   make mutate ARGS="--sample 40"   make mutate ARGS=relu.cu
# All of them take an hour or two: with ARGS="--results verdicts.jsonl" a run that was stopped goes on where it was.
mutate: $(VENV)/.installed-test
	$(BIN)/python -m tools.mutation $(ARGS)

# On a machine with a GPU, CuPy, NumPy and pytest, which nothing is installed on.   make gpu-test ARGS="--out report"
gpu-test:
	$(PYTHON) -m tools.gpu_test $(ARGS)

# On a machine with a GPU, CuPy, NumPy and PyTorch: what all costs there.   make gpu-bench ARGS="--part 1/3 --minutes 8"
gpu-bench:
	$(PYTHON) -m tools.gpu_bench $(ARGS)

# docs/kernels.md from the kernels' descriptions, docs/performance.md from the newest records, docs/agreement.md from runs
# of all layers here (with PyTorch, if it is installed) and records of GPUs.
docs: $(VENV)/.installed-run
	$(BIN)/python -m tools.kernel_table
	$(BIN)/python -m tools.performance_page
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tools.agreement_table

# Every build of every kernel with each access of memory looked at: races, bounds, unwritten memory; needs no GPU.
race: $(VENV)/.installed-test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --checked tests/cuda/test_variants.py $(ARGS)

# The kernels' memory traffic as it is now becomes what tests/cuda/test_counts.py compares with.
counts: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q tests/cuda/test_counts.py --update-counts

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/.installed-test
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find nnlab tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} +

# What is installed for each command; a stamp file makes repeated calls quick.
$(VENV)/.installed-run: EXTRAS := demo,tensorboard
$(VENV)/.installed-test: EXTRAS := test
$(VENV)/.installed-lint: EXTRAS := test,lint
$(VENV)/.installed-kernels: EXTRAS := test,kernels,nvdisasm
$(VENV)/.installed-%: pyproject.toml tools/install.py
	@command -v $(PYTHON) >/dev/null || { echo "nnlab: $(PYTHON) was not found; Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) tools/install.py $(VENV) $(EXTRAS)
	@touch $@
