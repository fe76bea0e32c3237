#!/usr/bin/env bash
# Fuzzes the guard, by default for two minutes:
#
#   guard/fuzz/run.sh [SECONDS] [OPTIONS OF LIBFUZZER...]
#
# Starts from the statements of guard/tests/corpus and what earlier runs found
# (guard/fuzz/corpus). A text that breaks a property ends the run and stays in
# guard/fuzz/artifacts; `run.sh 0 FILE` tries one again.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-120}
shift || true

command -v c++ >/dev/null || {
    echo "fuzz: a C++ compiler (c++) is missing, for libFuzzer: install one, for example 'apt-get install g++'" >&2
    exit 1
}

# Settings of the whole workspace, so that its other crates are built once for
# all: features are unified over what is selected.
RUSTC_WORKSPACE_WRAPPER=$PWD/guard/fuzz/rustc.sh cargo build --workspace --locked --quiet \
    --bin nla-guard-fuzz --features nla-guard-fuzz/libfuzzer
program=${CARGO_TARGET_DIR:-target}/debug/nla-guard-fuzz

here=guard/fuzz
mkdir -p "$here/corpus" "$here/artifacts"
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
# One text for each paragraph, without the verdict that stands above it.
for file in guard/tests/corpus/*.sql; do
    grep -v -e '^-- refuse: ' -e '^-- rules: ' "$file" |
        awk -v RS= -v to="$seeds/$(basename "$file" .sql)" '{ text = to "-" NR; printf "%s", $0 > text; close(text) }'
done
# Words that mutations splice in: what the grammar knows, and what the guard refuses.
{
    sed -e 's/#.*//' "$here/tokens.txt"
    sed -e '/^#/d' -e 's/ .*//' guard/src/functions/refused.txt
} | awk 'NF { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); print "\"" $0 "\"" }' >"$seeds.dict"
trap 'rm -rf "$seeds" "$seeds.dict"' EXIT

echo "fuzz: $(find "$seeds" -type f | wc -l) seeds, $seconds s"
# A text of 8 KiB reaches every limit but the size; the bound on time is the
# target's own, this one is for an endless loop.
"$program" "$here/corpus" "$seeds" -dict="$seeds.dict" -artifact_prefix="$here/artifacts/" \
    -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 "$@"
