#!/bin/sh
# Writes what a database with objects of its own holds, as the edge loads it for
# the guard, for the fuzzer and the benchmark, which have no server:
#
#   dump-facts.sh BIN_DIR
#
# BIN_DIR holds initdb and postgres. To be run again when src/catalog/facts.sql or
# tests/corpus/own-setup.sql changes. As dump-catalog.sh, in a private cluster.
set -eu

bin=$1
guard=$(cd "$(dirname "$0")/.." && pwd)
if [ "$(id -u)" = 0 ]; then as="setpriv --reuid=nobody --regid=nogroup --clear-groups"; else as=""; fi

work=$(mktemp -d /tmp/nla-facts.XXXXXX)
[ -z "$as" ] || chown nobody "$work"
$as "$bin/initdb" -D "$work/data" -U postgres --auth=trust --no-locale -E UTF8 -N >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
$as "$bin/postgres" -D "$work/data" -k "$work" -c listen_addresses= -c fsync=off >>"$work/server.log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -rf "$work"' EXIT
tries=0
until psql -h "$work" -U postgres -d postgres -Atqc 'select 1' >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$work/server.log"; exit 1; }
    sleep 0.1
done
ask() { psql -h "$work" -U postgres -d postgres -v ON_ERROR_STOP=1 -Atq "$@"; }

ask -f "$guard/tests/corpus/own-setup.sql" >/dev/null
# What the statements of the benchmark name.
ask -c 'CREATE TABLE public.orders (id int, customer_id int, placed_at timestamptz, status text, total numeric, discount numeric)' \
    -c 'CREATE TABLE public.order_lines (order_id int, quantity int, price numeric)' \
    -c 'CREATE TABLE public.customers (id int, name text, country text, active boolean)' \
    -c 'CREATE TABLE public.countries (code text, active boolean)'
ask -c 'SET search_path = own, public' -c 'BEGIN READ ONLY' -f "$guard/src/catalog/facts.sql" -c 'ROLLBACK' |
    sed '/^$/d' >"$guard/fuzz/facts.json"
wc -c "$guard/fuzz/facts.json"
