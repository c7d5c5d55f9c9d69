# make demo: install everything and run all stages on synthetic images
# make test: install everything and run the fast tests; make test-all: the slow ones
# make label STUDIES=DIR: annotate the images in a folder; make label-test: the tests of that app

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := output/demo
LABEL  := .venv-label
RUN    ?= $(DEMO)
PORT   ?= 8000

.PHONY: demo test slow test-all label label-test lint clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

$(LABEL)/.ready: pyproject.toml scripts/doll_tools/annotate/requirements.txt scripts/doll_tools/annotate/constraints.txt
	$(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/python -m pip install --quiet --disable-pip-version-check -c scripts/doll_tools/annotate/constraints.txt \
		-r scripts/doll_tools/annotate/requirements.txt -e .
	$(LABEL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps monailabel==0.8.5 pydicom-seg==0.4.1
	touch $@

output/phantom/train.csv: | $(READY)
	rm -rf output/phantom
	$(BIN)/doll prepare phantom --output output/phantom --count 600 --seed 0 --size 256

output/phantom_task/train.csv: | $(READY)
	rm -rf output/phantom_task
	$(BIN)/doll prepare phantom --output output/phantom_task --count 120 --seed 1 --size 256

demo: $(READY) output/phantom/train.csv output/phantom_task/train.csv
	doll run --chexpert output/phantom --task lung --task_data output/phantom_task \
		--output $(DEMO) --preset demo
	@echo "Open $(DEMO)/report.html"

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

slow: $(READY)
	$(BIN)/python -m pytest -m slow $(TESTS)

test-all: slow label-test

label: $(LABEL)/.ready
	@test -n "$(STUDIES)" || { echo "Error: give the folder of images, make label STUDIES=DIR."; exit 1; }
	$(LABEL)/bin/doll annotate $(STUDIES) --run $(RUN) --port $(PORT)

label-test: $(LABEL)/.ready
	$(LABEL)/bin/python -m pytest tests/tools/annotate

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(LABEL) $(DEMO) output/phantom output/phantom_task
