#!/usr/bin/env bash
# Runs the official MCP clients against an edge.
#
#   tests/clients/run.sh     builds and starts the demo, and tests its first edge
#   NLA_URL=https://localhost:8443/mcp NLA_TOKEN=nla_... NLA_DATABASE=shop NLA_CA=ca.pem tests/clients/run.sh
#                            tests an edge that is up already
#
# NLA_CA is the file with the authority of the edge's certificate, left out for
# plain HTTP. The clients are installed once, pinned, into
# ${NLA_CACHE_DIR:-.cache}; later runs need no network.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${NLA_CACHE_DIR:-$repository/.cache}/clients

fail() {
    echo "clients: $*" >&2
    exit 2
}

demo_pid=
work=$(mktemp -d)
cleanup() {
    if [[ -n $demo_pid ]]; then
        kill "$demo_pid" 2>/dev/null || true
        wait "$demo_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

start_demo() {
    (cd "$repository" && cargo build --quiet -p nla-sandbox --bin nla-demo)
    "${CARGO_TARGET_DIR:-$repository/target}/debug/nla-demo" --output json --edges 1 \
        >"$work/ready.json" 2>"$work/demo.log" &
    demo_pid=$!
    local _
    for _ in $(seq 300); do
        if [[ -s $work/ready.json ]]; then
            break
        fi
        kill -0 "$demo_pid" 2>/dev/null || fail "the demo ended: $(cat "$work/demo.log")"
        sleep 0.2
    done
    [[ -s $work/ready.json ]] || fail "the demo is not ready after a minute: $(cat "$work/demo.log")"
    read -r NLA_URL NLA_TOKEN NLA_CA < <(python3 -c '
import json, sys
ready = json.load(open(sys.argv[1]))
print(ready["mcp_urls"][0], ready["token"], ready["ca_cert"])' "$work/ready.json")
    NLA_DATABASE=shop
    export NLA_URL NLA_TOKEN NLA_CA NLA_DATABASE
}

if [[ -z ${NLA_URL:-} ]]; then
    start_demo
fi
for name in NLA_URL NLA_TOKEN NLA_DATABASE; do
    [[ -n ${!name:-} ]] || fail "$name is not set"
done
export NLA_CA=${NLA_CA:-}
if [[ -n $NLA_CA ]]; then
    [[ -r $NLA_CA ]] || fail "NLA_CA=$NLA_CA cannot be read"
    NLA_CA=$(cd "$(dirname "$NLA_CA")" && pwd)/$(basename "$NLA_CA")
    export NODE_EXTRA_CA_CERTS=$NLA_CA
fi

install_node() {
    if cmp -s "$here/package-lock.json" "$cache/node/installed-lock.json"; then
        return
    fi
    command -v npm >/dev/null || fail "npm is needed once, to install the clients (apt install npm)"
    mkdir -p "$cache/node"
    cp "$here/package.json" "$here/package-lock.json" "$cache/node/"
    # One client asks for a newer Node than npm may run on; its own comes along.
    npm ci --prefix "$cache/node" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp "$here/package-lock.json" "$cache/node/installed-lock.json"
}

install_python() {
    local generation=$1
    local requirements=$here/python/requirements-$generation.txt
    local venv=$cache/python-$generation
    if cmp -s "$requirements" "$venv/installed.txt"; then
        return
    fi
    rm -rf "$venv"
    python3 -m venv "$venv" || fail "python3 with venv is needed (apt install python3-venv)"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$venv/installed.txt"
}

find_node() {
    local candidate
    for candidate in "$cache"/node/node_modules/node-linux-*/bin/node "$(command -v node || true)"; do
        if [[ -x $candidate ]] &&
            "$candidate" -e 'process.exit(parseInt(process.versions.node) >= 22 ? 0 : 1)' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no Node 22 or newer: install one, the bundled ones are for Linux on x64 and arm64"
}

install_node
install_python 1
install_python 2
node=$(find_node)
# Node looks for packages beside the script, so that the scripts go to the packages.
cp "$here"/node/*.mjs "$cache/node/"

failures=0
client() {
    # The Inspector writes a folder into the home directory.
    if ! HOME=$cache/home timeout 120 "$@"; then
        echo "FAILED: $*" >&2
        failures=$((failures + 1))
    fi
}
mkdir -p "$cache/home"
export PYTHONDONTWRITEBYTECODE=1
client "$cache/python-2/bin/python" "$here/python/mcp_2.py"
client "$cache/python-1/bin/python" "$here/python/mcp_1.py"
client "$node" "$cache/node/client_2.mjs"
client "$node" "$cache/node/sdk_1.mjs"
client "$node" "$cache/node/inspector.mjs" "$cache/node/node_modules/.bin/mcp-inspector"

echo "clients: $((5 - failures)) passed, $failures failed"
exit $((failures > 0))
