#!/usr/bin/env bash
# Runs the official MCP conformance suite against the fixture server, for each
# protocol version that it knows, and compares with not-applicable.yaml.
#
#   tests/conformance/run.sh             builds and starts the fixture server
#   tests/conformance/run.sh URL         tests a server that is up already
#
# The suite and the Node that it needs (22 or newer) are installed once into
# ${NLA_CACHE_DIR:-.cache}; later runs need no network.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${NLA_CACHE_DIR:-$repository/.cache}/conformance

fail() {
    echo "conformance: $*" >&2
    exit 2
}

install_suite() {
    mkdir -p "$cache"
    if cmp -s "$here/package-lock.json" "$cache/installed-lock.json"; then
        return
    fi
    command -v npm >/dev/null || fail "npm is needed once, to install the suite (apt install npm)"
    cp "$here/package.json" "$here/package-lock.json" "$cache/"
    # The suite asks for a newer Node than npm may run on; its own comes along.
    npm ci --prefix "$cache" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp "$here/package-lock.json" "$cache/installed-lock.json"
}

find_node() {
    local candidate
    for candidate in "$cache"/node_modules/node-linux-*/bin/node "$(command -v node || true)"; do
        if [[ -x $candidate ]] &&
            "$candidate" -e 'process.exit(parseInt(process.versions.node) >= 22 ? 0 : 1)' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no Node 22 or newer: install one, the bundled ones are for Linux on x64 and arm64"
}

server_pid=
work=$(mktemp -d)
cleanup() {
    if [[ -n $server_pid ]]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

start_server() {
    (cd "$repository" && cargo build --quiet -p nla-tests --bin conformance-server)
    "${CARGO_TARGET_DIR:-$repository/target}/debug/conformance-server" >"$work/url" 2>"$work/server.log" &
    server_pid=$!
    local _
    for _ in $(seq 100); do
        url=$(head -n 1 "$work/url")
        [[ -n $url ]] && return
        kill -0 "$server_pid" 2>/dev/null || { cat "$work/server.log" >&2; fail "the fixture server ended"; }
        sleep 0.1
    done
    fail "the fixture server did not print its URL within 10 s"
}

install_suite
node=$(find_node)
url=${1:-}
[[ -n $url ]] || start_server

# The exit status of the suite counts what is not applicable; verdict.mjs judges.
run_suite() {
    local version=$1
    shift
    mkdir -p "$work/results/$version"
    "$node" "$cache/node_modules/@modelcontextprotocol/conformance/dist/index.js" server \
        --url "$url" "$@" --output-dir "$work/results/$version" >"$work/$version.log" 2>&1 || true
}
run_suite 2026-07-28 --requirements 2026-07-28
run_suite 2025-11-25 --requirements 2025-11-25
# There is no frozen set of this one.
run_suite 2025-06-18 --suite active --spec-version 2025-06-18

cd "$cache"
if ! "$node" "$here/verdict.mjs" "$here/not-applicable.yaml" "$work/results"; then
    [[ -s $work/server.log ]] && tail -n 20 "$work/server.log" >&2
    exit 1
fi
