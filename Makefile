# make demo and make test set up what they need; nothing else is to be installed first but Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo gallery test sbom lint setup clean

demo: setup
	$(BIN)/decaseg demo --out demo

gallery: demo
	$(BIN)/python docs/gallery.py demo/evaluation

test: setup
	$(BIN)/python -m pytest $(PYTEST)

sbom: setup
	$(BIN)/python docs/sbom.py --out sbom.cdx.json

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt 'torch==2.13.0'
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo
