# Everything a new user types. Each target makes the environment first if it is missing or out of date.
# `make` alone lists the targets.
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
RUN    ?= street
# uv from the path, or our own copy of it
UV     := $(shell command -v uv 2>/dev/null || echo $(VENV)-uv/bin/uv)
STAMP  := $(VENV)/.installed
export MPLBACKEND := agg
export PYTHONHASHSEED := 0
# a user's own packages must not leak into the environment
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help env run report doctor video segment test test-lib test-runs test-notebooks test-kill lint lock lab notebooks clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

env: $(STAMP)  ## make .venv from the pinned requirements, with `lib` editable

$(VENV)-uv/bin/uv:
	$(PYTHON) -m venv $(VENV)-uv
	$(VENV)-uv/bin/python -m pip install --quiet uv

$(STAMP): requirements.txt pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python ">=3.11" $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(STAMP)

run: $(STAMP)  ## the chain 01-05 on generated streets (params/street), then the score table
	$(BIN)/python -m lib.run params/$(RUN)

report: $(STAMP)  ## one static page of a run: pictures, scores, notebooks, provenance
	$(BIN)/python -m lib.run.report $(RUN)

doctor: $(STAMP)  ## versions, device, disk, memory, data found, what can run here and how long
	$(BIN)/python -m lib.run.doctor

video: $(STAMP)  ## learn from a video and segment it: make video FILE=drive.mp4
	@test -n "$(FILE)" || { echo "which video? make video FILE=drive.mp4"; exit 2; }
	$(BIN)/python -m lib.run.video "$(FILE)"

segment: $(STAMP)  ## label a video or a folder of images with a trained run: make segment RUN=street FILE=drive.mp4
	@test -n "$(FILE)" || { echo "which video or folder? make segment RUN=street FILE=drive.mp4"; exit 2; }
	$(BIN)/python -m lib.run.segment "$(RUN)" "$(FILE)"

test: $(STAMP) test-lib test-runs test-notebooks  ## lib tests, the papers' runs cut to seconds, every notebook at its defaults

test-lib: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile lib/tests --ignore=lib/tests/test_full_runs.py

test-runs: $(STAMP)
	$(BIN)/python -m pytest lib/tests/test_full_runs.py

test-notebooks: $(STAMP)
	rm -rf outputs/test
	RUNS_ROOT="$(CURDIR)/outputs/test" $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks/

test-kill: $(STAMP)  ## twenty SIGKILLs each without and with workers: nothing is lost (a quarter of an hour)
	$(BIN)/python -m lib.run.kill --kills 20 --workers 0 2

lint: $(STAMP)  ## ruff, format check, and the number of lines of lib
	$(BIN)/ruff check lib
	$(BIN)/ruff format --check lib
	@printf 'lib without tests: %s lines (at most 5000)\n' "$$(find lib -name '*.py' -not -path 'lib/tests/*' | xargs cat | wc -l)"

lock: | $(UV)  ## compile requirements.txt anew from pyproject.toml
	$(UV) pip compile pyproject.toml --group dev --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet --upgrade -o requirements.txt

lab: $(STAMP)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

notebooks: $(STAMP)  ## execute the notebooks at their defaults and normalise what is committed
	$(BIN)/python -m lib.run --refresh

clean:  ## remove the environment and the runs; never data or reference
	rm -rf $(VENV) $(VENV)-uv *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find outputs -mindepth 1 -maxdepth 1 -not -name data -not -name reference -exec rm -rf {} +
