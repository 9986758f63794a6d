# `make demo` and `make test` set everything up by themselves: a virtual environment in .venv with pinned installs.
PYTHON ?= python3
BIN := .venv/bin
ALGORITHMS := bp rec_lra ekdaa dkp drtp
export OMP_NUM_THREADS ?= 1

.PHONY: demo test properties fuzz kills bench measured docs clean

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "errorwire needs Python 3.11 or newer, but $(PYTHON) is older. Run: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	rm -rf runs/demo/resnet8 runs/demo/own_resnet
	$(BIN)/errorwire explain --model resnet8 --wiring rec_lra --input-shape 1x8x8
	$(BIN)/errorwire compare $(ALGORITHMS) --model resnet8 --data digits --epochs 10 --folder runs/demo/resnet8
	$(BIN)/errorwire compare $(ALGORITHMS) --model examples.own_resnet:preact_se --data digits --epochs 10 --folder runs/demo/own_resnet
	$(BIN)/errorwire draw --model resnet8 --wiring rec_lra --input-shape 1x8x8 runs/demo/rec_lra.svg

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --durations=10

properties: .venv/installed
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n 2 --durations=10 tests/properties

fuzz: .venv/installed
	$(BIN)/python benchmarks/fuzzing.py --examples 10000 --json benchmarks/fuzz.json

kills: .venv/installed
	$(BIN)/python benchmarks/kills.py --json benchmarks/kills.json

bench: .venv/installed
	$(BIN)/python benchmarks/step_time.py --rounds 15 --json benchmarks/step_time.json
	$(BIN)/python benchmarks/memory.py --json benchmarks/memory.json

measured: .venv/installed
	$(BIN)/python benchmarks/measured.py

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/mkdocs/mkdocs.yml
	@echo "Open build/docs/index.html; it needs no server."

clean:
	rm -rf .venv build *.egg-info runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
