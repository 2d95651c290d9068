# `make demo` needs python3 (3.11 to 3.13), its venv module and make; the rest comes from PyPI.
# `make test` needs mosquitto besides, which it installs where it may.

.NOTPARALLEL:
.DEFAULT_GOAL := help
SHELL := /bin/sh
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# The tests start `hard` some hundred times: without its bytecode each start compiles it anew.
unexport PYTHONDONTWRITEBYTECODE

# The first interpreter that runs and has its venv module (Debian: python3-venv).  It is tried, not
# looked up: a pyenv shim of a version that is not selected is found and fails.
USABLE := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
first = $(shell for p in $(1); do "$$p" -c "$(USABLE)" >/dev/null 2>&1 && echo "$$p" && break; done)
PYTHON := $(call first,python3.11 python3.12 python3.13 python3)
# Most of the daemon's own suite runs here too, unless that is PYTHON already.
OTHER := $(call first,python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13))
PYTHON_3_13 := $(OTHER)
OTHER := $(filter-out $(PYTHON),$(OTHER))

# Many tests wait for a daemon or a broker: three at a time keep two cores busy.
PARALLEL := -n 3 --dist worksteal

# Runs the tests $(2) with the interpreter of the environment $(1).  What fails beside others on a
# busy machine is told, and has to pass alone.
define tests
@$(1)/bin/python -m pytest -rs -o cache_dir=.pytest_cache/$(1)$(3) $(2) || { \
  echo "once more, one at a time, what failed:" >&2; \
  $(1)/bin/python -m pytest -rs -o cache_dir=.pytest_cache/$(1)$(3) \
    --last-failed --last-failed-no-failures none -n 0 $(filter-out --dist% -n% 2 3 worksteal loadfile,$(2)); }
endef

BIN := .venv/bin
SAMPLE := tests/data/day.csv
SAMPLE_SCRIPT := standing:12 walking:30 sitting:25 running:20 walking:25 standing:10

# Makes the environment of $@ and installs the checkout in it with the extras $(2).  Pip writes the
# script `hard` last, so its presence says that all went well; bytecode is left to what is imported.
define environment
@$(MAKE) --silent --no-print-directory python >/dev/null
@echo "setting up $(@D:/bin=) (this takes a while the first time)" >&2
@"$(1)" -m venv --clear $(@D:/bin=)
@$(@D)/python -m pip install --quiet --no-compile --editable '.$(2)'
endef

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(BIN)/hard ## set up .venv (no TensorFlow) and replay the bundled recording
	@echo "$(SAMPLE) is SYNTHETIC: two minutes made by \`hard simulate\`." >&2
	@$(BIN)/hard replay $(SAMPLE)
	@echo "Your own: $(BIN)/hard replay FILE; all commands: $(BIN)/hard --help" >&2

test: mosquitto $(OTHER:%=test-3.13) test-all ## set up everything and run all tests

lint: .venv-test/bin/hard ## ruff and mypy (types as of numpy 1.26: Python 3.11)
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy

# Two processes: tflite-runtime can't load a model in one that has imported TensorFlow.
test-all: .venv-test/bin/hard
	$(call tests,.venv-test,-n 2 --dist loadfile tests/training,-training)
	$(call tests,.venv-test,$(PARALLEL) --ignore tests/training)

# The documents, and what befalls brokers, disks and cables, are the same for every interpreter.
test-3.13: .venv-3.13/bin/hard
	$(call tests,.venv-3.13,$(PARALLEL) --ignore tests/training --ignore tests/test_docs.py --ignore tests/faults)

# Home Assistant's package is large and pins its dependencies: it gets an environment of its own.
# Warnings in it are none of ours.
test-ha: .venv-ha/bin/hard ## hold what is announced against Home Assistant's own schemas
	.venv-ha/bin/python -m pytest -rs -W ignore tests/home_assistant

# A part of `make test`: what CONTRIBUTING.md's table names, each with its figures.
faults-fast: mosquitto .venv-test/bin/hard ## the faults that take seconds, with their figures
	.venv-test/bin/python -m pytest -rs -m fast_fault $(PARALLEL) --ignore tests/training

# One at a time: they measure.  As root those run too that need a network or a disk of their own.
faults: mosquitto .venv-test/bin/hard ## the long fault suite, with its figures (SOAK_MINUTES=2 FAULTS_SEED=6)
	.venv-test/bin/python -m pytest -rs --timeout 0 -m faults tests/faults

test-systemd: ## boot a Debian and run the service in it (root only; SUITE=bookworm|trixie)
	systemd/test-service $(SUITE)

test-arm: ## run the daemon where a Raspberry Pi would, emulated (root only; SUITE, ARCH=arm64|armhf)
	systemd/test-arm $(SUITE) $(or $(ARCH),arm64)

armv7l: ## check that what is pinned resolves for 32-bit ARM, and say where each comes from
	@systemd/resolve-armv7l

# The machine and its Python that the package, or such a test, is for.
SUITE := bookworm
ARCH :=
deb: ## build a Debian package of the service in dist (SUITE=bookworm|trixie ARCH=amd64|arm64)
	@systemd/build-deb $(SUITE) $(ARCH)

wheels: $(BIN)/hard ## gather in dist/wheels what `hard service install --wheels` needs on a machine like this
	@rm -rf dist/wheels
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --wheel-dir dist/wheels \
	  --constraint systemd/constraints.txt .
	@echo "dist/wheels"

python: ## name the interpreter that is used
	@test -n "$(PYTHON)" || { echo "no Python 3.11 to 3.13 with its venv module was found:" \
	  "apt-get install python3 python3-venv" >&2; exit 1; }
	@echo "$(PYTHON)"

mosquitto:
	@if [ ! -x /usr/sbin/mosquitto ] && [ "$$(id -u)" -ne 0 ]; then \
	  echo "the tests need mosquitto: sudo apt-get install mosquitto" >&2; exit 1; \
	elif [ ! -x /usr/sbin/mosquitto ]; then \
	  apt-get update -q && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends mosquitto; \
	fi

sample: $(BIN)/hard ## make the bundled recording anew (the same bytes every time)
	$(BIN)/hard simulate --force $(SAMPLE) $(SAMPLE_SCRIPT:%=--script %)

clean: ## remove everything that the other targets made
	rm -rf .venv .venv-test .venv-3.13 .venv-ha build dist *.egg-info out
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find hard plugins training tests -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/hard: pyproject.toml
	$(call environment,$(PYTHON),)

.venv-test/bin/hard: pyproject.toml
	$(call environment,$(PYTHON),[dev$(comma)train])

.venv-3.13/bin/hard: pyproject.toml
	$(call environment,$(OTHER),[dev])

.venv-ha/bin/hard: pyproject.toml
	@test -n "$(PYTHON_3_13)" || { echo "Home Assistant needs Python 3.13" >&2; exit 1; }
	@echo "setting up .venv-ha (this takes minutes the first time)" >&2
	@"$(PYTHON_3_13)" -m venv --clear .venv-ha
	@.venv-ha/bin/python -m pip install --quiet --prefer-binary 'homeassistant==2025.4.4' \
	  'paho-mqtt>=2.1,<3' 'pydantic>=2.7,<3' 'pytest>=8,<10' 'pytest-timeout>=2.3,<3' 'hypothesis>=6.100,<7'
	@.venv-ha/bin/python -m pip install --quiet --no-deps --editable .

comma := ,
.PHONY: help demo test lint test-all test-3.13 faults faults-fast test-systemd test-arm armv7l test-ha deb wheels python mosquitto sample clean
