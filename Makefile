# make demo: the main job on a shipped real trace. make test: every check. Both need Python 3.11 or newer, nothing else.
# make test-large: traces of a gigabyte. make bench: speed and memory, by hand. make coverage: how often confidence
# intervals hold a known value, by hand. make fuzz: many new random cases, of both engines, coalesced and exit by
# exit, and of damaged traces.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-large bench coverage fuzz lint types clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/iosim run scenarios/linux-ext4.toml --out reports/demo
	$(BIN)/iosim report reports/demo

test: lint types $(STAMP)
	$(BIN)/python -m pytest

test-large: $(STAMP)
	$(BIN)/python -m pytest -n 0 -m large tests/test_trace_memory.py

fuzz: $(STAMP)
	$(BIN)/python -m pytest -n 0 --hypothesis-profile=fuzz --hypothesis-show-statistics tests/test_coalescing.py tests/test_cache_coalescing.py tests/test_port_coalescing.py tests/test_trace_fuzz.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.sweep

coverage: $(STAMP)
	$(BIN)/python -m benchmarks.coverage

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
