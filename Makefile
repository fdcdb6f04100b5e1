# Each target is one line over the real tool; the stamps in .venv make the installation run once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench bench-peers docs soak schema

demo: .venv/demo.stamp
	$(BIN)/python demo/run.py

# A file's tests stay on one worker, so that what they share is made once.
test: export OMP_NUM_THREADS = 1
test: lint
	$(BIN)/pytest -n 2 --dist loadfile

lint: .venv/dev.stamp
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy

bench: .venv/dev.stamp .venv/bench.stamp
	set -e; for f in $(if $(NAME),bench/$(NAME).py,$(wildcard bench/[!_]*.py)); do $(BIN)/python $$f; done

# CellTypist asks for a scikit-learn older than ours: it lives in an environment of its own.
bench-peers: .tools/celltypist/bin/celltypist

.tools/celltypist/bin/celltypist:
	$(PYTHON) -m venv .tools/celltypist
	.tools/celltypist/bin/pip install --quiet --disable-pip-version-check 'celltypist>=1.7' 'scikit-learn<1.8'

docs: .venv/dev.stamp
	$(BIN)/python docs/make_pages.py

soak: .venv/dev.stamp
	$(BIN)/pytest -m soak

# The schema's own validator pins an older anndata: it lives in an environment of its own.
schema: .venv/dev.stamp .tools/cellxgene/bin/cellxgene-schema
	WHYCELL_CELLXGENE_PYTHON=$(CURDIR)/.tools/cellxgene/bin/python $(BIN)/pytest -m schema tests/schema

.tools/cellxgene/bin/cellxgene-schema:
	$(PYTHON) -m venv .tools/cellxgene
	.tools/cellxgene/bin/pip install --quiet --disable-pip-version-check 'cellxgene-schema>=7.1'

# constraints.txt first and alone: pip then finds the CPU build of torch and keeps it.
.venv/torch.stamp: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("whycell needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r constraints.txt
	touch $@

.venv/%.stamp: .venv/torch.stamp pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$*]"
	touch $@
