# `make demo` and `make test` need nothing but a Python of 3.11 to 3.13; everything goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
SOURCES := setup.cfg pyproject.toml constraints.txt

.PHONY: demo test test-slow test-lowest lint clean

demo: $(INSTALLED)
	$(BIN)/vocab-transfer --src demo --tgt sw --out out/demo-sw --overwrite

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -m slow

# with the oldest versions that setup.cfg admits; torch stays the tested one
test-lowest: $(BIN)/python
	$(PYTHON) -m venv --clear $(VENV)-lowest
	{ sed -n 's/^ *\([A-Za-z_-]*\)>=/\1==/p' setup.cfg | grep -v '^torch='; grep '^torch=' constraints.txt; } \
	  > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip --disable-pip-version-check install --quiet \
	  -c $(VENV)-lowest/constraints.txt -e '.[test]'
	$(VENV)-lowest/bin/python -m pytest -q -n 2 --dist loadfile

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1 || true); Python 3.11, 3.12 or 3.13 is needed. Name one: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(BIN)/python $(SOURCES)
	$(PIP) -e '.[test]'
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(PIP) -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
