# make audit: audit the bundled generator.  make check, make test: what CI runs.  make bench: measure speed.  make reference: retrain the bundled models.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread each, since more fight for the cores; three on two cores, because the tests of faults and of Ray mostly wait.
TEST_PROCESSES ?= 3
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: audit check test bench reference docs clean

audit: $(VENV)/installed
	@$(BIN)/cawa audit

check: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder

bench: $(VENV)/installed-test
	$(BIN)/python -m benchmarks

reference: $(VENV)/installed
	$(BIN)/python -m workflows.reference

$(BIN)/python:
	@echo "creating $(VENV) and installing (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) lacks venv; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[test]'
	@touch $(VENV)/installed $@

docs: $(VENV)/installed
	$(BIN)/python -c "from workflows.analyses.documentation import tables_as_markdown; print(tables_as_markdown(), end='')" > docs/tables.md

clean:
	rm -rf $(VENV)
