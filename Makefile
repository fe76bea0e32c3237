# What a newcomer types. Each target is thin: scripts/setup, then cargo; with
# `. .cache/env` (where it exists) plain cargo does the same.
#
# Recipes print nothing on stdout of their own: `make demo ARGS="--output json"`
# prints the demo's JSON and nothing else.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test release lint ci clean

# Settings that scripts/setup found to be needed.
ENV = if [ -f .cache/env ]; then . ./.cache/env; fi

help: ## Shows this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

demo: ## Starts a whole NLA with sample data; options by ARGS="--help"
	@scripts/setup
	@$(ENV); cargo build --bin nlactl && exec cargo run --bin nla-demo -- $(ARGS)

test: ## Runs all tests; options of cargo test by ARGS="..."
	@scripts/setup test
	@$(ENV); exec cargo test --workspace $(ARGS)

release: ## Builds what is deployed: nla-control-plane, nla-edge, nlactl
	@scripts/setup
	@$(ENV); exec cargo build --release --locked --package nla-control-plane --package nla-edge --package nla-cli

lint: ## Checks format, lints, documentation and the dependency tree
	@scripts/setup deny
	@$(ENV); set -e; \
	cargo fmt --all --check; \
	cargo clippy --workspace --all-targets -- --deny warnings; \
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps; \
	cargo deny --locked check licenses bans sources

ci: ## Runs what CI runs
	@.ci/run

clean: ## Removes what was built and fetched
	@cargo clean
	@rm -rf .cache
