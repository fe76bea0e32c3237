#!/bin/sh
# What cargo calls for the workspace's own crates (RUSTC_WORKSPACE_WRAPPER) when
# run.sh builds: the compiler, with counters on each edge of the guard for
# libFuzzer. Stable Rust takes LLVM's pass and its options as they are; the other
# crates are built as ever and shared with every other build.
set -eu
compiler=$1
shift
case " $* " in
    *" --crate-name nla_guard "*)
        exec "$compiler" "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
    *) exec "$compiler" "$@" ;;
esac
