# `make run` and `make test` are all that a newcomer needs; both install what they need into .venv first.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# pytest plugins and matplotlib must not depend on the user's own settings.
export MPLBACKEND := Agg

.PHONY: run demo test test-all soak bench bench-ml portability docs notebooks lint regenerate clean

run: $(INSTALLED)
	@python -m cmbml repro

demo: $(INSTALLED)
	@python -m cmbml profile demo --into .cmbml/demo
	@cd .cmbml/demo && python -m cmbml run && python -m cmbml report

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	lint-imports
	mypy
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml

# Each module goes to one worker, for its fixtures, and in the order that tests/conftest.py gives.
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The checks of lint run beside the tests; what they say is shown after them.
test: $(INSTALLED)
	@said=$$(mktemp) && { $(MAKE) --no-print-directory lint >$$said 2>&1 & } && \
	$(PYTEST) -m "not long and not soak"; tests=$$?; \
	wait $$!; lint=$$?; cat $$said; rm $$said; exit $$((tests || lint))

test-all: $(INSTALLED)
	$(PYTEST) -m "long and not soak" --durations 20

# The same again and again: what goes wrong once in a hundred times, and what needs the cores for itself.
soak: $(INSTALLED)
	python -m pytest -m soak --durations 20

bench: $(INSTALLED)
	for subject in $(filter-out benchmarks/training.py benchmarks/portability.py,$(wildcard benchmarks/*.py)); do python $$subject || exit 1; done

bench-ml: $(INSTALLED)
	python benchmarks/training.py

portability: $(INSTALLED)
	python benchmarks/portability.py

regenerate: $(INSTALLED)
	python -m cmbml dvc
	python -m cmbml schema
	python docs/pictures/draw.py
	python docs/pictures/house.py
	python -m cmbml repro
	python docs/readme.py

docs: $(INSTALLED)
	python -m sphinx --fail-on-warning --keep-going --quiet -c docs . docs/_build/html
	@echo "open docs/_build/html/docs/index.html"

notebooks: $(INSTALLED)
	python notebooks/build.py

clean:
	rm -rf $(VENV) .cmbml reports .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
