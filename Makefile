# make demo: install everything and run all stages on drawn images
# make test: install everything and run the fast tests; make slow: the slow ones; make lint; make docs
# make label STUDIES=DIR: annotate the radiographs in a folder; make label-test: the tests of that app

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := output/demo
LABEL  := .venv-label
APP    := scripts/doll_tools/annotate
RUN    ?= $(DEMO)
PORT   ?= 8000

export NO_MKDOCS_2_WARNING = 1

.PHONY: demo test slow label label-test lint docs clean

$(READY): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs,test]"
	touch $@

$(LABEL)/.ready: pyproject.toml setup.py $(APP)/requirements.txt
	$(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(APP)/requirements.txt -e .
	touch $@

demo: $(READY)
	$(BIN)/doll demo --output $(DEMO)

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

slow: $(READY)
	$(BIN)/python -m pytest -m slow $(TESTS)

label: $(LABEL)/.ready
	@test -n "$(STUDIES)" || { echo "Error: give the folder of radiographs, make label STUDIES=DIR."; exit 1; }
	$(LABEL)/bin/doll annotate $(STUDIES) --run $(RUN) --port $(PORT)

label-test: $(LABEL)/.ready
	$(LABEL)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pytest pytest-timeout playwright
	$(LABEL)/bin/python -m pytest tests/tools/annotate/server

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory docs

docs: $(READY)
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) $(LABEL) $(DEMO) output/phantom output/phantom_task output/site
