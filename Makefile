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

# Tests without a server share the processors, one thread each; those with one have the machine to themselves, since
# some of them measure who waits how long. ENGINES are files of tests/handlers that start none and compute the most.
TOGETHER = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal
ENGINES = $(wildcard $(addprefix tests/handlers/test_,every_*.py smoothing*.py in_process*.py)) \
  $(addprefix tests/handlers/,test_one_engine.py test_other_processes.py test_serving_devices.py test_device_config.py)
WITH_SERVER = $(filter-out $(ENGINES),$(wildcard tests/handlers/test_*.py)) tests/live

test: install
	$(TOGETHER) -m "not slow" tests $(WITH_SERVER:%=--ignore %)
	$(BIN)/python -m pytest -m "not slow" $(WITH_SERVER)

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
