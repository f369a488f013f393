# Two commands: `make run` trains with the defaults, `make test` checks it; `make check` is the quick half of that, for
# daily use. CI does the two, and `make test-slow`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: run check test test-slow lint pytest bench chaos docs format clean

run: $(STAMP)
	$(BIN)/ray-mentor train

# exact versions that were tested together; the package itself is installed in place
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# all that starts no Ray and no processes of its own, and takes no seconds
check: $(STAMP)
	$(MAKE) --jobs=2 lint pytest TESTS='not ray and not slow and not long'

test: $(STAMP)
	$(MAKE) --jobs=2 lint pytest TESTS='not slow'

# what takes a minute or more: sweeps, jobs, autoscaled machines, processes and nodes that die, examples, the wheel
test-slow: $(STAMP)
	$(BIN)/pytest $(ALONE)
	$(MAKE) pytest TESTS=slow IGNORED='--ignore $(ALONE)'

# a node of Ray's has 30 seconds to start, however busy the machine is: this test has it to itself
ALONE := tests/faults/test_nodes.py

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# two processes, a file at a time
pytest: $(STAMP)
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m '$(TESTS)' $(IGNORED)

# the picture of the digits
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/digits.py

# twenty runs whose processes are killed at random: about 20 minutes
chaos: $(STAMP)
	$(BIN)/python tests/faults/chaos.py --runs 20

# the pages of docs/ as a site, in site/; a notice of the theme's about its maintainers' next program is off
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build site *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
