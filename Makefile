# Every target does its own set-up first; `make help` lists them.
#
#   make demo                                           the Python of this machine whose set-up is quickest, in .venv/
#   PYTHON=python3.10 VENV=.venv-3.10 make demo         a chosen Python, in an environment of its own
#   make demo BASE=wavlm                                on a WavLM, into outputs/demo_wavlm/

SHELL := /bin/bash
VENV ?= .venv
PYTHON ?=
# Tests side by side, each file in one process; OpenMP's threads would only take the cores from one another.
PYTEST = OMP_NUM_THREADS=1 '$(VENV)/bin/python' -m pytest -n auto --dist loadfile
# The demo's base: hubert or wavlm.
BASE ?= hubert

.PHONY: help setup setup-with-sox demo test test-fast lint clean

help:
	@echo 'make setup       make $(VENV)/ and install everything into it (1 to 6 minutes, 3 to 6 GB)'
	@echo 'make demo        the whole pipeline on the bundled speech: base units, Spin training, Spin units, report'
	@echo '                 BASE=wavlm: on a WavLM made from the same base, into outputs/demo_wavlm/'
	@echo 'make test        the whole test suite'
	@echo 'make test-fast   the test suite without its slow tests'
	@echo 'make lint        ruff (style, likely bugs) and the import contracts of .importlinter'
	@echo 'make clean       remove $(VENV)/ and caches; outputs/ stays'
	@echo
	@echo 'PYTHON=python3.10 make ...   chooses the interpreter (3.10 to 3.13; default: the one whose set-up is quickest)'
	@echo 'VENV=.venv-3.10 make ...     chooses where the environment is'

# The script finds by itself whether anything is to be done. The tests alone need the sox program.
setup:
	@scripts/setup_environment.sh '$(VENV)' '$(PYTHON)'

setup-with-sox:
	@scripts/setup_environment.sh '$(VENV)' '$(PYTHON)' sox

demo: setup
ifeq ($(BASE),hubert)
	'$(VENV)/bin/python' examples/demo/run_demo.py
else ifeq ($(BASE),wavlm)
	'$(VENV)/bin/python' examples/demo/make_wavlm_base.py outputs/demo_wavlm/wavlm_demo.pt
	'$(VENV)/bin/python' examples/demo/run_demo.py --base outputs/demo_wavlm/wavlm_demo.pt --out outputs/demo_wavlm
else
	@echo "BASE is '$(BASE)': it must be hubert or wavlm"; exit 1
endif

test: setup-with-sox
	$(PYTEST)

test-fast: setup-with-sox
	$(PYTEST) -m 'not slow'

lint: setup
	'$(VENV)/bin/ruff' check .
	'$(VENV)/bin/ruff' format --check .
	'$(VENV)/bin/lint-imports'

clean:
	@if [ -e '$(VENV)/pyvenv.cfg' ]; then rm -rf '$(VENV)'; fi
	rm -rf build dist *.egg-info .pytest_cache .hypothesis
	find spin_fairseq scripts tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
