#!/bin/sh
# Dumps the functions and operators that PostgreSQL itself ships, one pair of
# files for each server given, as input for build-builtins.sh:
#
#   dump-catalog.sh OUT_DIR BIN_DIR...
#
# BIN_DIR holds initdb and postgres of one major version (14 to 18). Each gets a
# private cluster in a temporary folder that is removed afterwards. As root the
# server runs as nobody. psql is taken from PATH; any version of it will do.
set -eu

out=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
if [ "$(id -u)" = 0 ]; then as="setpriv --reuid=nobody --regid=nogroup --clear-groups"; else as=""; fi

for bin in "$@"; do
    work=$(mktemp -d /tmp/nla-catalog.XXXXXX)
    [ -z "$as" ] || chown nobody "$work"
    $as "$bin/initdb" -D "$work/data" -U postgres --auth=trust --no-locale -E UTF8 -N >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    $as "$bin/postgres" -D "$work/data" -k "$work" -c listen_addresses= -c fsync=off >>"$work/server.log" 2>&1 &
    pid=$!
    trap 'kill $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -rf "$work"' EXIT
    tries=0
    until psql -h "$work" -U postgres -d template1 -Atqc 'select 1' >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { cat "$work/server.log"; exit 1; }
        sleep 0.1
    done
    major=$(psql -h "$work" -U postgres -d template1 -Atqc "select current_setting('server_version_num')::int / 10000")

    psql -h "$work" -U postgres -d template1 -AtqF '	' -f "$here/functions.sql" >"$out/functions-$major.tsv"
    psql -h "$work" -U postgres -d template1 -Atq -f "$here/operators.sql" >"$out/operators-$major.txt"
    kill $pid
    wait $pid 2>/dev/null || true
    rm -rf "$work"
    trap - EXIT
    echo "$major: $(wc -l <"$out/functions-$major.tsv") functions, $(wc -l <"$out/operators-$major.txt") operators"
done
