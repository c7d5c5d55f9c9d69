# make demo: install everything and run all stages on synthetic films
# make test: install everything and run the fast tests; make test-all: the slow ones

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := output/demo

.PHONY: demo test test-all lint clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

output/phantom/train.csv: | $(READY)
	rm -rf output/phantom
	$(BIN)/python -m doll_monai.data.phantom --output output/phantom --count 600 --seed 0 --size 256

output/phantom_task/train.csv: | $(READY)
	rm -rf output/phantom_task
	$(BIN)/python -m doll_monai.data.phantom --output output/phantom_task --count 120 --seed 1 --size 256

demo: $(READY) output/phantom/train.csv output/phantom_task/train.csv
	$(BIN)/python scripts/run_pipeline.py --chexpert output/phantom --task lung --task_data output/phantom_task \
		--output $(DEMO) --preset demo
	@echo "Open $(DEMO)/report.html"

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-all: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO) output/phantom output/phantom_task
