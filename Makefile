# Everything a fresh machine needs is Python 3.11+ and make. Each target makes .venv by itself; a second call is instant.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: install demo test torture lint warm bench wheel clean

install: $(STAMP)

$(BIN)/python:
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --allow-existing --python ">=3.11" $(VENV); \
	else $(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11")' \
	&& $(PYTHON) -m venv $(VENV); fi

$(STAMP): pyproject.toml | $(BIN)/python
	@echo "installing rentier into $(VENV)"
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e .; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e .; fi
	@touch $@

$(DEV_STAMP): pyproject.toml | $(STAMP)
	@echo "installing what the tests need"
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; fi
	@touch $@

demo: $(STAMP)
	@$(BIN)/rentier demo

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

warm: $(DEV_STAMP)
	$(BIN)/rentier warm

test: $(DEV_STAMP)
	@$(MAKE) --no-print-directory -j2 lint warm
	$(BIN)/pytest -m "not torture" -n auto --maxprocesses 4 --dist loadfile -p no:benchmark

torture: $(DEV_STAMP)
	$(BIN)/pytest -m torture -s

bench: $(DEV_STAMP)
	$(BIN)/python -m bench

wheel: $(DEV_STAMP)
	$(BIN)/python -m build --wheel --outdir dist

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .hypothesis
