# Every target creates its environment in $(VENV). It needs only Python with venv and pip, and uses uv if it is
# installed. The environment is updated when pyproject.toml or the constraints change.
#
#     make test ARGS="-k streams"                                   selected tests
#     make test PYTHON=python3.12 VENV=.venv-3.12                   another Python, in a second environment
#     make test CONSTRAINTS=constraints-oldest.txt VENV=.venv-oldest
#     make test EXTRAS=dev-clickhouse VENV=.venv-clickhouse         also the tests of the ClickHouse store

PYTHON      ?= python3
VENV        ?= .venv
CONSTRAINTS ?= constraints.txt
EXTRAS      ?= dev
JOBS        ?= 2
ARGS        ?=

RUN      := $(VENV)/bin/python
UV       := $(shell command -v uv 2>/dev/null)
INSTALL  := $(if $(UV),$(UV) pip install --python $(RUN),$(RUN) -m pip install --disable-pip-version-check) --quiet
PACKAGES := $(patsubst %/__init__.py,%,$(wildcard fluxloop*/__init__.py))

# Stamp files in the environment: created; dependencies of the demo installed; dependencies for development installed.
CREATED   := $(VENV)/.created-by-$(notdir $(PYTHON))
FOR_DEMO  := $(VENV)/.demo-$(notdir $(CONSTRAINTS))
FOR_WORK  := $(VENV)/.work-$(notdir $(CONSTRAINTS))

# Many tests start Python: without bytecode, each would compile the packages again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo demo-serve test check bench slow recorded-responses format lint types constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(FOR_DEMO) ## record a run of an agent and show it as a tree
	$(RUN) examples/demo.py
	$(VENV)/bin/fluxloop view

demo-serve: $(FOR_WORK) ## start a collector, record two programs with it, and show how to ask
	$(RUN) examples/support/demo_serve.py

test: $(FOR_WORK) ## run the quick tests
	$(RUN) -m pytest -m "not slow" -n $(JOBS) $(ARGS)

check: ## check format, lint, types, tests with coverage, and docs
	$(MAKE) lint types
	$(MAKE) test ARGS="--cov $(ARGS)"
	$(MAKE) slow

slow: $(FOR_WORK) ## run the slow tests
	$(RUN) -m pytest -m slow -n $(JOBS) --dist loadfile $(ARGS)

recorded-responses: $(FOR_WORK) ## replay all responses that two packages have recorded (downloads them)
	mkdir -p $(VENV)/recorded-responses
	$(RUN) -m pip download --quiet --no-deps --no-binary :all: --dest $(VENV)/recorded-responses langchain-openai langchain-anthropic
	cd $(VENV)/recorded-responses && for archive in *.tar.gz; do tar -xzf $$archive; done
	FLUXLOOP_RECORDED_RESPONSES=$(VENV)/recorded-responses $(RUN) -m pytest tests/custom/clients/test_recorded_responses.py $(ARGS)

bench: $(FOR_WORK) ## measure the cost of recording
	$(RUN) -m benchmarks $(ARGS)

lint: $(FOR_WORK) ## report formatting errors and lint errors
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

format: $(FOR_WORK) ## format, and fix lint errors where possible
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: $(FOR_WORK) ## type-check the packages and the typing tests
	$(RUN) -m mypy $(PACKAGES) $(wildcard tests/typing)

constraints: ## pin the newest and the oldest supported versions (needs uv)
	uv pip compile pyproject.toml --extra dev-clickhouse --universal --python-version 3.11 --upgrade --quiet \
	    --no-annotate --custom-compile-command "make constraints" --output-file constraints.txt
	uv pip compile pyproject.toml --extra dev-clickhouse --python-version 3.11 --upgrade --quiet \
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

# Remove other stamps first: this installation replaces the packages that they describe.
$(FOR_WORK): $(CREATED) pyproject.toml $(CONSTRAINTS)
	rm -f $(VENV)/.work-* $(VENV)/.demo-*
	$(INSTALL) -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	touch $@
