# `make help` lists what there is. Everything happens in .venv, made on first use and renewed when
# pyproject.toml, constraints.txt or tools/install.sh change.

PYTHON ?= python3
TORCH ?=
BIN := .venv/bin
READY := .venv/.ready
READY_TO_RUN := .venv/.ready-to-run
DATA_DIR ?= treering-data
PYTEST_ARGS ?=
CYCLES ?= 200

export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help demo test crash up check bench bench-ingest bench-pipeline bench-long bench-growth bench-novelty bench-busy bench-query bench-search bench-patterns bench-meaning bench-compare bench-search-logs bench-clients bench-send hostile eval grouping fix proto tables clean mutants power-cuts filter-trees

help: ## This list
	@echo "make TARGET, with Python 3.11 or newer (another one: make PYTHON=python3.12 TARGET)"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY_TO_RUN): pyproject.toml constraints.txt tools/install.sh
	@PYTHON='$(PYTHON)' sh tools/install.sh run

$(READY): pyproject.toml constraints.txt tools/install.sh
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' sh tools/install.sh all

demo: $(READY_TO_RUN) ## A shop, a day, an incident: send 60,000 records, then search, SQL, a chart
	@$(BIN)/python demo/run.py

test: $(READY) ## All tests, in two processes; PYTEST_ARGS=...
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

crash: $(READY) ## kill -9 of services and of all, 200 times (CYCLES=20 SEED=7): nothing lost, nothing repeated
	@$(BIN)/python -m tests.crash --cycles $(CYCLES) --seed $(or $(SEED),1)

up: $(READY_TO_RUN) ## The three services on this machine, until Ctrl-C; DATA_DIR=... elsewhere
	@$(BIN)/treering up --data-dir '$(DATA_DIR)'

mutants: $(READY) ## Take one safeguard away at a time, and see that a test notices
	@$(BIN)/python tools/mutants.py

power-cuts: $(READY) ## The log on the simulated disk, 3,000 histories instead of 150
	@TREERING_TEST_POWER_CUTS=3000 $(BIN)/python -m pytest tests/ingest/test_power_cut_properties.py

filter-trees: $(READY) ## Every rpc that filters against a plain evaluation of the same tree: 10,000 trees instead of 300
	@TREERING_TEST_TREES=10000 $(BIN)/python -m pytest tests/query/test_filter_trees_properties.py

check: $(READY) ## Format, lint, types, contracts, documents; changes nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy services sdk cli tools demo bench
	$(BIN)/mypy tests
	$(BIN)/mypy --platform darwin services sdk cli tools demo bench
	$(BIN)/buf lint protos
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf breaking protos --against protos/baseline.binpb
	$(BIN)/python tools/proto.py --check
	$(BIN)/python tools/contract.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python tools/tables.py --check
	$(BIN)/python tools/words.py

bench: $(READY) ## Both of the next two, in five minutes; ends with an error when a promise of bench/RESULTS.md is missed
	@$(MAKE) --no-print-directory --keep-going bench-ingest bench-pipeline

bench-long: $(READY) ## The next two: up to 50 million records with 0 and 3 attributes, a burst of novelty; half an hour
	@$(MAKE) --no-print-directory --keep-going bench-growth bench-novelty

bench-growth: $(READY) ## Does a store that grows stay fast and small: MILLIONS='1 10' BENCH_ARGS=...; checks free space first
	@$(BIN)/python bench/growth.py --millions $(or $(MILLIONS),1 10 50) $(BENCH_ARGS)

bench-novelty: $(READY) ## 200,000 records with all-different texts among ordinary ones: nothing lost or blocked; BENCH_ARGS=...
	@$(BIN)/python bench/novelty.py $(BENCH_ARGS)

bench-busy: $(READY) ## New kinds of line on a machine that others use: how soon they are found by meaning; BENCH_ARGS=...
	@$(BIN)/python bench/freshness.py $(BENCH_ARGS)

bench-ingest: $(READY) ## The door: records/s, latency, streams, memory, beside a bare gRPC server; RECORDS=... BENCH_ARGS=...
	@$(BIN)/python bench/ingest.py --records $(or $(RECORDS),500000) $(BENCH_ARGS)

bench-pipeline: $(READY) ## From the door to SQL and index: rate, freshness, memory; RECORDS=... BENCH_ARGS=...
	@$(BIN)/python bench/pipeline.py --records $(or $(RECORDS),2000000) $(BENCH_ARGS)

hostile: $(READY) ## Attack the services as a stranger would, part by part; MINUTES=30 goes on with other random values, SEED=... repeats a round
	@$(BIN)/python tools/hostile.py --minutes $(or $(MINUTES),0) $(if $(SEED),--seed $(SEED))

bench-query: $(READY) ## Questions to 10 million records, beside bare DuckDB on the same files; RECORDS=... BENCH_ARGS=...
	@$(BIN)/python bench/query.py --records $(or $(RECORDS),10000000) $(BENCH_ARGS)

bench-search: $(READY) ## The next four: everything that asks for meaning, over 20,000 patterns and 10 million records
	@$(MAKE) --no-print-directory --keep-going bench-patterns bench-search-logs bench-meaning bench-compare

bench-patterns: $(READY) ## Embedding unseen patterns, and searches over 20,000 and 100,000 of them, beside the bare model; BENCH_ARGS=...
	@$(BIN)/python bench/search.py $(BENCH_ARGS)

bench-search-logs: $(READY) ## SearchLogs over 10 million records of 20,000 patterns: filters, words, rare identifiers; RECORDS=... BENCH_ARGS=...
	@$(BIN)/python bench/search_logs.py --records $(or $(RECORDS),10000000) $(BENCH_ARGS)

bench-meaning: $(READY) ## meaning() and about() in SQL and in counts, over 10 million records; RECORDS=... BENCH_ARGS=...
	@$(BIN)/python bench/meaning.py --records $(or $(RECORDS),10000000) $(BENCH_ARGS)

bench-compare: $(READY) ## ComparePatterns over 10 million records: windows, templates, attributes; RECORDS=... BENCH_ARGS=...
	@$(BIN)/python bench/compare.py --records $(or $(RECORDS),10000000) $(BENCH_ARGS)

bench-clients: $(READY) ## 32 clients ask while 50,000 records/s arrive: latency by kind, nothing but answers and "later"; BENCH_ARGS=...
	@$(BIN)/python bench/query_clients.py $(BENCH_ARGS)

bench-send: $(READY) ## Reading lines into records: JSON beside json.loads, text beside splitting it; BENCH_ARGS=...
	@$(BIN)/python bench/send.py $(BENCH_ARGS)

eval: $(READY) ## Search quality by judged searches, the product itself: LOGS=folder of JSON lines QUERIES=file of searches
	@test -n '$(LOGS)' -a -n '$(QUERIES)' || { echo 'make eval LOGS=folder QUERIES=file; bench/eval.py describes both' >&2; exit 2; }
	@$(BIN)/python bench/eval.py '$(LOGS)' '$(QUERIES)' $(BENCH_ARGS)

grouping: $(READY) ## How well and how fast messages are grouped: LOGS=folder of JSON lines with template_id
	@test -n '$(LOGS)' || { echo 'make grouping LOGS=folder; bench/grouping.py describes it' >&2; exit 2; }
	@$(BIN)/python bench/grouping.py '$(LOGS)' $(BENCH_ARGS)

fix: $(READY) ## What can be put right by machine: format, lint, contracts' layout, documented tables
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write protos
	$(BIN)/python tools/tables.py

proto: $(READY) ## Generate sdk/treering/v1 and docs/contract.md from protos/
	$(BIN)/buf lint protos
	$(BIN)/python tools/proto.py
	$(BIN)/python tools/contract.py

tables: $(READY) ## Write docs/settings.md, docs/limits.md and docs/contract.md
	$(BIN)/python tools/tables.py
	$(BIN)/python tools/contract.py

clean: ## Remove .venv, caches and builds (not your data)
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
