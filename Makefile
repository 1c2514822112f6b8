# make demo     from a fresh Debian machine to the nginx page on port 8080; it cleans up after itself
# make test     everything that continuous integration runs
#
# Every target installs what it needs first (scripts/setup); the second time that takes milliseconds.
bin := .venv/bin

.PHONY: setup fmt lint types unit real test bench bench-networks demo clean

setup:
	@scripts/setup

fmt: setup
	$(bin)/ruff check --fix src tests scripts bench

lint types unit real:
	@.ci/run $@

test:
	@.ci/run

bench: setup
	/usr/bin/python3 bench/compare.py $(BENCH)

bench-networks: setup
	/usr/bin/python3 bench/networks.py $(BENCH)

demo: setup
	@scripts/demo

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks build dist
	find src tests bench scripts -name __pycache__ -prune -exec rm -rf {} +
