# `make demo` and `make test` are all that a fresh machine needs: both install what is missing first.
# Everything that contains RocksDB is built in one profile, release: its C++ takes minutes, once.

export PATH := $(PATH):$(HOME)/.cargo/bin
target := $(or $(CARGO_TARGET_DIR),target)
MAKEFLAGS += --no-print-directory

.PHONY: help setup demo test bench lint doc fuzz
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## install what the build needs, if it is missing
	@tools/setup.sh

demo: setup ## build the tool and replay real rooms with it
	cargo build --release
	@examples/demo.sh $(target)/release/roomserver

# The runner's summary comes last.
test: setup ## run all tests
	cargo test --release --doc
	@if cargo nextest --version >/dev/null 2>&1; then set -x; cargo nextest run --release; \
	else set -x; cargo test --release --tests --no-fail-fast; fi

bench: setup ## run the benchmarks
	cargo bench --features bench

lint: setup ## check format, lints and dependencies as CI does
	cargo fmt --check
	cargo clippy --no-default-features --features cli,bench,fuzzing --all-targets -- -D warnings
	cargo clippy --release --all-features --all-targets -- -D warnings
	cargo deny check licenses bans sources

doc: setup ## build the documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --release --all-features --no-deps

fuzz: ## run each fuzz target for a minute
	@tools/fuzz.sh 60
