# make demo    run the quickstart notebook on the local cluster, in the terminal
# make lab     open the notebooks in JupyterLab
# make test    run every test that this machine supports
# make quick   run the fast tests, which need no browser, no kernel and no npm
# make check   check lint and types
# make docs    build the documentation into build/docs
# make clean   remove everything that the other targets made
#
# Needs python3 (3.11 or newer). Dependencies are installed into .venv, with uv if it works and with pip otherwise.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
COPIES := $(patsubst %,build/%,$(wildcard notebooks/*.ipynb))

# Tests run in parallel, and share one browser and one JupyterLab.
PYTEST := $(RUN) -m pytest --numprocesses auto --maxprocesses 8 --dist loadgroup

# Kernels, servers and other programs that the tests start are several times faster with cached bytecode.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: demo lab test quick check docs clean

demo: $(VENV)/ready-notebook
	@$(RUN) notebooks/run.py notebooks/quickstart.ipynb build
	@echo "The same as a page: build/quickstart.html"
	@echo "To run it in JupyterLab: make lab"

lab: $(VENV)/ready-lab $(COPIES)
	@echo "These notebooks are copies in build/notebooks, so you can change them freely."
	JUPYTER_PREFER_ENV_PATH=1 $(RUN) -m jupyterlab --allow-root --ip=127.0.0.1 --notebook-dir=build/notebooks

test: $(VENV)/ready-dev
	$(PYTEST) $(ARGS)

quick: $(VENV)/ready-test
	$(PYTEST) --ignore=tests/browser -m 'not browser and not notebook and not node and not slow' --hypothesis-profile=few $(ARGS)

check: $(VENV)/ready-dev
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

docs: $(VENV)/ready-docs
	@$(RUN) -m sphinx --builder html --fresh-env --nitpicky --fail-on-warning --keep-going --quiet docs build/docs
	@echo "The documentation: build/docs/index.html"

clean:
	rm -rf $(VENV) build docs/tutorials/*.ipynb .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# A copy is made only once, so that the user's changes are kept.
build/notebooks/%.ipynb: | notebooks/%.ipynb
	@mkdir -p $(@D)
	@cp $| $@

# Installs the package, its local cluster, and the dependency group that the stem names.
$(VENV)/ready-%: pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing kqlmi with its $* dependencies into $(VENV)"
	@uv pip install --quiet --python $(RUN) --editable '.[local]' --group $* 2>$(VENV)/uv.log \
	|| $(RUN) -m pip install --quiet --editable '.[local]' --group $*
	@touch $@

# Seeding fetches pip, so if uv cannot reach an index, it fails here, and pip is used instead.
$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kqlmi needs Python 3.11 or newer. To use another Python, run: make PYTHON=/its/path")'
	@rm -rf $(VENV)
	@uv venv --quiet --seed --python $(PYTHON) $(VENV) 2>/dev/null || { \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo "python3 has no venv. Install it (Debian, Ubuntu: apt-get install python3-venv) and run make again."; exit 1; }; \
	$(PYTHON) -m venv $(VENV) && $(RUN) -m pip install --quiet --upgrade pip; }
