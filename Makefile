# Everything a contributor runs. Each target installs what it needs first (tests/scripts/setup).
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long soak fuzz tsan mutants bench
.PHONY: compare compare-setup compare-charts fmt install
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## Install what this machine lacks (says what, before it does)
	@tests/scripts/setup rust python c wheel trace faults

demo: ## A real event stream, a crash, and the proof that nothing acknowledged was lost
	@tests/scripts/demo

test: setup ## Everything that decides whether a change may land
	@python3 tests/scripts/test.py

test-long: setup ## What takes longer than a change should wait for
	@python3 tests/scripts/test.py --long

fuzz: setup ## Fuzz every parser and the API: SECONDS=60 for each target; TARGET=frame
	@SECONDS_EACH=$(or $(SECONDS),60) tests/fuzz/run $(TARGET)

tsan: setup ## Threads on one engine under ThreadSanitizer: ROUNDS=10
	@ROUNDS=$(or $(ROUNDS),10) tests/threads/run

soak: setup ## Random crashes in bulk, and what was met: SEEDS=100000 FIRST=0
	@cargo run --release --locked --package ringlog-tests --bin soak -- \
	    $(or $(SEEDS),100000) --first $(or $(FIRST),0)

mutants: setup ## What cargo-mutants breaks: WHAT=format SHARD=0/8; without WHAT our own table
	@$(if $(WHAT),tests/mutants/generated $(WHAT),tests/mutants/run) --shard $(or $(SHARD),0/1)

bench: setup ## The device's own figures, and ours beside them
	@cargo run --release --locked --package ringlog-benches -- all

install: ## Install the C library: PREFIX=/usr/local; DESTDIR= for packagers
	@tests/scripts/setup rust
	@ffi/package/install

compare: setup ## Other engines and servers, and ours beside them (builds them): JSON=target/compare.jsonl
	@benches/compare/run all --json $(or $(JSON),target/compare.jsonl)
	@benches/compare/run charts $(or $(JSON),target/compare.jsonl) --into target/compare

compare-setup: ## Install the servers and libraries that `compare` would skip otherwise
	@benches/compare/setup

compare-charts: setup ## Draw docs/benchmarks again from its JSON lines
	@benches/compare/run charts docs/benchmarks/peers.jsonl --into docs/benchmarks

fmt: setup ## Format the sources
	@cargo fmt --all
	@cargo fmt --manifest-path benches/compare/Cargo.toml
	@cargo fmt --manifest-path tests/fuzz/Cargo.toml
	@cargo fmt --manifest-path tests/threads/Cargo.toml
