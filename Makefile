# Eight verbs. `make demo` and `make test` set up everything they need.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready

.PHONY: install demo test slow check docs wheel protos clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("scoreguard needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: install
	$(BIN)/python scripts/demo.py

# Most tests share the processors, one thread each. Those that measure who waits how long, or count what a server uses,
# have the machine to themselves: tests/handlers and tests/live, but for the files that only compute.
TOGETHER = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal
COMPUTING = $(wildcard $(addprefix tests/handlers/test_,every_*.py smoothing*.py in_process*.py)) \
  $(addprefix tests/handlers/test_,device_config.py one_engine.py other_processes.py serving_devices.py) \
  $(wildcard $(addprefix tests/live/test_,every_*.py example*.py main_job.py readme.py))
ALONE = $(filter-out $(COMPUTING),$(wildcard tests/handlers/test_*.py tests/live/test_*.py))

test: install
	$(TOGETHER) -m "not slow" tests $(ALONE:%=--ignore %)
	$(BIN)/python -m pytest -m "not slow" $(ALONE)

# Sampled properties and long searches; continuous integration runs them as well.
slow: install
	$(TOGETHER) -m slow tests

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell

# The documentation as a site, in site/; `.venv/bin/mkdocs serve` shows it while it is written.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The wheel, alone in an empty environment: its commands and the client's tests.
wheel: install
	$(BIN)/python scripts/wheel.py

protos: install
	$(BIN)/python scripts/protos.py

clean:
	rm -rf $(VENV) runs build dist site .mypy_cache .ruff_cache .pytest_cache
