# make demo     from a fresh Debian machine to the nginx page on port 8080; it cleans up after itself
# make test     everything that continuous integration runs
bin := .venv/bin
jobs ?= 3

.PHONY: setup fmt lint types unit real test bench demo clean

setup:
	@scripts/setup

fmt: setup
	$(bin)/ruff check --fix src tests bench scripts

lint: setup
	$(bin)/ruff check src

types: setup
	$(bin)/mypy

unit: setup
	$(bin)/pytest -q -n $(jobs) tests/unit tests/meta

real: setup
	$(bin)/pytest -q -n $(jobs) --durations=5 tests/real tests/faces

test: lint types unit real

bench: setup
	/usr/bin/python3 bench/compare.py

demo: setup
	@scripts/demo

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
