# make demo, make test, make check, make test-oldest, make bench, make endurance: each sets up first what is missing.

PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
BENCH := .venv-bench
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
READY := $(VENV)/.ready
PYTEST := -m pytest -q -n auto --dist worksteal

.PHONY: setup check test test-oldest bench bench-agpl endurance demo docs clean

# $(call venv,FOLDER,SCRIPTS) makes a virtual environment with uv.
define venv
@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "Torchfolio needs Python 3.11 or later; this is %d.%d. Say: make PYTHON=/path/to/python3.11" % v)'
@test -x $(2)/python || $(PYTHON) -m venv $(1) || { echo "python3 cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; }
@$(2)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --upgrade-deps $(1)
$(2)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9.17"
endef

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(call venv,$(VENV),$(BIN))
	$(BIN)/python -m uv pip install --quiet --python $(VENV) --compile-bytecode -c constraints.txt -e ".[all]" --group dev
	@touch $(READY)

# The oldest torch that pyproject.toml admits; all but torch and what torch pins is as in constraints.txt.
$(OLDEST)/.ready: pyproject.toml constraints.txt
	$(call venv,$(OLDEST),$(OLDEST)/$(SCRIPTS))
	@grep -vE '^(torch|torchvision|triton|setuptools|cuda-.*|nvidia-.*)==' constraints.txt > $(OLDEST)/constraints.txt
	$(OLDEST)/$(SCRIPTS)/python -m uv pip install --quiet --python $(OLDEST) --compile-bytecode -c $(OLDEST)/constraints.txt "torch==2.11.0" "torchvision==0.26.0" -e ".[all]" --group dev
	@touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) $(TESTS)

test-oldest: $(OLDEST)/.ready
	OMP_NUM_THREADS=1 $(OLDEST)/$(SCRIPTS)/python $(PYTEST) $(TESTS)

# The peers are in an environment of their own; ours is as a user has it. BENCH_ARGS="--rounds 1" ...
$(BENCH)/.ready: pyproject.toml constraints.txt
	$(call venv,$(BENCH),$(BENCH)/$(SCRIPTS))
	$(BENCH)/$(SCRIPTS)/python -m uv pip install --quiet --python $(BENCH) --compile-bytecode -c constraints.txt --group bench
	@touch $@

# Ultralytics, only ever run by its command: --peers ultralytics
bench-agpl: $(BENCH)/.ready
	$(BENCH)/$(SCRIPTS)/python -m uv pip install --quiet --python $(BENCH) --compile-bytecode -c constraints.txt --group bench-agpl

bench: setup $(BENCH)/.ready
	$(BIN)/python -m benchmarks.run $(or $(WORKLOADS),all) --peer-python $(BENCH)/$(SCRIPTS)/python $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.canonical
	$(BIN)/python -m benchmarks.local_response
	$(BIN)/python -m benchmarks.page

# Trainings killed at every write, starved, damaged: an hour on two cores. ENDURANCE_ARGS="--sample 9" tries
# nine of each kind, and leaves docs/results/endurance.json as it is.
endurance: setup
	$(BIN)/python -m tools.endurance $(ENDURANCE_ARGS)

demo: setup
	$(BIN)/folio demo

docs: setup
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

clean:
	rm -rf $(VENV) $(OLDEST) $(BENCH) build/benchmarks docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
