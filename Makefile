# make demo   set up, run the default experiment on the embedded photos, print where the report is
# make test   set up, run the tests
# make benchmarks   set up, measure speed, memory and the workflow's own cost beside a baseline; let nothing else compute
PYTHON ?= python3
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --cores all

.PHONY: setup demo test benchmarks check lock clean

setup: .venv/installed

# torch comes second: its build (with or without CUDA) is the machine's choice, so the lock holds no hash of it.
.venv/installed: envs/requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r envs/requirements.lock
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(SNAKEMAKE) --quiet rules host -- all

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

benchmarks: setup
	$(BIN)/python benchmarks/run.py

# What a change must pass beside the tests: style, types, and the workflow's own lint.
check: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# Rewrites the lock from pyproject.toml; run it where pip finds torch's CPU build, so that no CUDA package is locked.
lock: setup
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --generate-hashes --strip-extras --allow-unsafe --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --output-file envs/requirements.lock pyproject.toml
	sed -i '/^torch==/,/[^\]$$/d' envs/requirements.lock

clean:
	rm -rf .venv .snakemake results/[!p]*
