# What can be done here, from nothing but Python 3.11+ and make? `make` alone lists it.

PYTHON ?= python3
# More arguments for pip. Where the package index's own torch is a CUDA build (PyPI on Linux), the CPU-only wheels come with
#     make PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" demo
PIP_ARGS ?=
# Where the demo lives; `make clean` removes it.
DEMO := demo
# The item that examples/make_catalogue.py draws as query.jpg and lists nowhere.
QUERY := Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help demo test lint check bench prove docs clean

help:
	@echo "make demo    environment, a made-up catalogue, an index, its score, one priced item (some minutes)"
	@echo "make test    the tests"
	@echo "make check   ruff, mypy and the tests: what a change must pass"
	@echo "make lint    ruff and mypy alone"
	@echo "make bench   list the benchmarks; make bench NAME=... runs one"
	@echo "make prove   kills, readers, parsers and the rest: trials and failures (about 40 minutes; ARGS=\"--scale 0.1\")"
	@echo "make docs    docs/cli.md anew, from the commands"
	@echo "make clean   remove the demo and the caches; .venv and your indexes stay"
	@echo
	@echo "Another Python: make PYTHON=python3.12 demo.  More for pip, such as a CPU-only torch: PIP_ARGS, see the Makefile."

# The stamps say for which pyproject.toml and constraints.txt the environment was last made.
$(BIN)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed, which $(PYTHON) is not: name one, as in make PYTHON=python3.11 demo" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	    echo "$(PYTHON) could not make .venv: install its venv module (python3-venv on Debian and Ubuntu)" >&2; exit 2; }
	@echo "Installing the engine into .venv: about 2 GB, some minutes the first time."
	$(PIP) -c constraints.txt $(PIP_ARGS) -e .
	@touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(PIP) -c constraints.txt $(PIP_ARGS) -e ".[dev]"
	@touch $@

$(BIN)/.installed-prove: $(BIN)/.installed-dev
	$(PIP) -c constraints.txt $(PIP_ARGS) -e ".[prove]"
	@touch $@

demo: $(BIN)/.installed
	$(BIN)/python examples/make_catalogue.py $(DEMO)
	$(BIN)/price build-index $(DEMO)/catalogue.csv --index $(DEMO)/price-index --image-dir $(DEMO)/images
	$(BIN)/price evaluate --index $(DEMO)/price-index
	$(BIN)/price query "$(QUERY)" --image $(DEMO)/query.jpg --index $(DEMO)/price-index
	@echo
	@echo "The catalogue is made up; $(DEMO)/README.txt tells the law behind its prices, and what the law asks for this item."
	@echo "Next, try"
	@echo "  . $(BIN)/activate"
	@echo "  price query 'Mockwell Olive Oil, Sunny Lemon, 16.9 fl oz' --index $(DEMO)/price-index --band 0.2"
	@echo "  price evaluate $(DEMO)/holdout.csv --index $(DEMO)/price-index --image-dir $(DEMO)/images"
	@echo "  price build-index YOUR.csv --id-column ID --text-column TEXT --price-column PRICE"

test: $(BIN)/.installed-dev
	$(BIN)/python -m pytest -n logical --dist loadfile

# Scripts that import each other by the names of their files; two folders have a run.py.
MYPY_BENCHMARKS := MYPYPATH=.:benchmarks:$(subst $() ,:,$(patsubst %/,%,$(wildcard benchmarks/*/))) $(BIN)/mypy --explicit-package-bases

lint: $(BIN)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy examples
	$(MYPY_BENCHMARKS) $(filter-out benchmarks/search/%,$(wildcard benchmarks/*.py benchmarks/*/*.py))
	$(MYPY_BENCHMARKS) $(wildcard benchmarks/search/*.py)

check: lint test

ifdef NAME
bench: $(BIN)/.installed-dev
	$(BIN)/python benchmarks/$(NAME).py $(ARGS)
else
bench:
	@ls benchmarks/*.py >/dev/null 2>&1 || echo "There are no benchmarks yet."
	@for script in $(filter-out benchmarks/measure.py,$(wildcard benchmarks/*.py)); do test ! -f "$$script" || \
	    echo "make bench NAME=$$(basename "$$script" .py)   $$(sed -n '1s/"""//gp' "$$script")"; done
endif

# The names of some proofs, and options: make prove ARGS="kills readers --scale 0.1 -o table.md"
prove: $(BIN)/.installed-prove
	$(BIN)/python benchmarks/prove/run.py $(ARGS)

docs: $(BIN)/.installed
	$(BIN)/python docs/make_cli.py

clean:
	rm -rf $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
