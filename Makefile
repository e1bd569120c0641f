# `make demo` and `make test` set up all they need in .venv; PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test slow lint docs wheel-test clean

demo: $(STAMP)
	@$(BIN)/python examples/demo.py

# One process per core and one more, since tests wait for programs that they start. Each has one thread: several would only
# take each other's cores. Each begins with a share of whole files, whose fixtures are then made once, and takes work from
# others when it is done.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $$(($$($(BIN)/python -c "import os; print(os.cpu_count())") + 1)) --dist worksteal

# With Ray, which is large, and which tests of a cluster need.
slow: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[ray]"
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest tests/scale/test_cluster.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

# Wheel and source distribution, each in an empty environment, label a video.
wheel-test: $(STAMP)
	$(BIN)/python -m pip install --quiet build
	rm -rf build/dist build/wheel-test
	$(BIN)/python -m build --outdir build/dist .
	for package in build/dist/*.whl build/dist/*.tar.gz; do \
		rm -rf build/wheel-test && $(PYTHON) -m venv build/wheel-test && \
		build/wheel-test/bin/pip install --quiet --constraint constraints.txt "$$package" && \
		(cd build/wheel-test && bin/vidcomp --version && bin/vidcomp doctor) || exit 1; \
	done

clean:
	rm -rf $(VENV) dist build

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
