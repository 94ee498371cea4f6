# Everything a contributor types. Each target sets up what it needs in .venv, once; see tools/setup.sh.
# Another interpreter: make test PYTHON=python3.13

ARGS ?=
SEEDS ?= 20000
# How many tests at a time: most of them wait for a server, and few compute.
JOBS ?= 3
PYTHON ?= python3
export PYTHON

BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check bench simulate clean setup-demo setup-dev setup-browser setup-bench

help: ## Show this list
	@echo "onduty: background work on exactly one worker. Commands:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: setup-demo ## Run the demo: 4 gunicorn workers and a page to watch (ARGS=--prove: no browser needed)
	@$(BIN)/python -m demo $(ARGS)

test: setup-dev setup-browser ## Run the tests (ARGS='tests/unit -k cron': some of them)
	@$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

check: setup-dev ## Look at format, lint and types without running anything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

bench: setup-bench ## Run the benchmarks (ARGS=--list: which there are)
	@$(BIN)/python -m benchmarks $(ARGS)

simulate: setup-dev ## Play SEEDS (20000) stories of workers that crash, stop and come back, in simulated time
	@$(BIN)/python -m onduty.testing.simulator $(SEEDS) --jobs 2 $(ARGS)

clean: ## Remove what these commands made, .venv included
	rm -rf .venv node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup-demo:
	@tools/setup.sh demo

setup-dev:
	@tools/setup.sh dev

setup-browser:
	@tools/debian.sh browser

setup-bench:
	@tools/setup.sh bench
	@tools/debian.sh bench
