# Every target does its own set-up, in $(VENV), on a machine that has only Python with venv and pip (uv is used
# where it is installed). Set-up runs again when pyproject.toml or the constraints change.
#
#     make test ARGS="-k streams"                                   some of the tests
#     make test PYTHON=python3.12 VENV=.venv-3.12                   on another Python, beside the first
#     make test CONSTRAINTS=constraints-oldest.txt VENV=.venv-oldest

PYTHON      ?= python3
VENV        ?= .venv
CONSTRAINTS ?= constraints.txt
JOBS        ?= 2
ARGS        ?=

RUN      := $(VENV)/bin/python
UV       := $(shell command -v uv 2>/dev/null)
INSTALL  := $(if $(UV),$(UV) pip install --python $(RUN),$(RUN) -m pip install --disable-pip-version-check) --quiet
PACKAGES := $(patsubst %/__init__.py,%,$(wildcard fluxloop*/__init__.py))

# What is in the environment: a Python, and for it the demo's needs or a developer's. Each stamp is a file in it.
CREATED   := $(VENV)/.created-by-$(notdir $(PYTHON))
FOR_DEMO  := $(VENV)/.demo-$(notdir $(CONSTRAINTS))
FOR_WORK  := $(VENV)/.work-$(notdir $(CONSTRAINTS))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check bench slow format lint types constraints clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(FOR_DEMO) ## record a real agent's run and show it as a tree
	$(RUN) examples/demo.py
	$(VENV)/bin/fluxloop view

test: $(FOR_WORK) ## the quick tests
	$(RUN) -m pytest -m "not slow" -n $(JOBS) $(ARGS)

check: ## format, lint, types, quick tests with coverage, docs, slow tests
	$(MAKE) lint types
	$(MAKE) test ARGS="--cov $(ARGS)"
	$(MAKE) slow

slow: $(FOR_WORK) ## the slow tests
	$(RUN) -m pytest -m slow $(ARGS)

bench: $(FOR_WORK) ## FluxLoop beside a hand-written floor, as ratios
	$(RUN) -m benchmarks $(ARGS)

lint: $(FOR_WORK) ## say what is not formatted, and what the linter finds
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

format: $(FOR_WORK) ## format, and mend what the linter can
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: $(FOR_WORK) ## type-check the packages and the typed use of them
	$(RUN) -m mypy $(PACKAGES) $(wildcard tests/typing)

constraints: ## pin the newest versions, and the oldest supported ones (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade --quiet \
	    --no-annotate --custom-compile-command "make constraints" --output-file constraints.txt
	uv pip compile pyproject.toml --extra dev --python-version 3.11 --upgrade --quiet \
	    --resolution lowest-direct \
	    --no-annotate --custom-compile-command "make constraints" --output-file constraints-oldest.txt

clean: ## remove the environments
	rm -rf .venv .venv-*

$(CREATED):
	rm -rf $(VENV)
	$(if $(UV),$(UV) venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
	touch $@

$(FOR_DEMO): $(CREATED) pyproject.toml $(CONSTRAINTS)
	$(INSTALL) -c $(CONSTRAINTS) -e '.[cli]'
	touch $@

# Other stamps go first: this installation replaces what they record.
$(FOR_WORK): $(CREATED) pyproject.toml $(CONSTRAINTS)
	rm -f $(VENV)/.work-* $(VENV)/.demo-*
	$(INSTALL) -c $(CONSTRAINTS) -e '.[dev]'
	touch $@
