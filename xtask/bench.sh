#!/usr/bin/env bash
# Ingest, the log, freshness and fan-out, measured here and now; `--long` for the long form of ingest, and the same in
# 1 GiB of memory; `--queries` for queries alone, built with all optimisation. docs/performance.md says how.
. "$(dirname "$0")/lib.sh"

tools() {
  need_toolchains
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || {
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
  }
}

step 'tools' tools
if [ "${1:-}" = --queries ]; then
  shift
  # DuckDB is among what the client tests need.
  step 'DuckDB' venv requirements
  step 'benches' cargo build --profile bench --locked --no-default-features -p nowcast-bench --bins
  step 'queries' "$CARGO_TARGET_DIR/release/nowcast-bench" query "$@"
  exit
fi
# The profile of `make demo`: a release build, with thin LTO of the whole SQL stack, takes much longer.
step 'server and benches' cargo build --profile demo --locked --no-default-features -p nowcast-server -p nowcast-bench --bins
bench="$CARGO_TARGET_DIR/demo/nowcast-bench"
step 'ingest' "$bench" ingest "$@"
step 'late rows and connections' "$bench" order
step 'log, appended' "$bench" append
step 'log, replayed' "$bench" replay
step 'freshness' "$bench" freshness
step 'fan-out' "$bench" fanout
if [ "${1:-}" = --long ]; then
  # A bound by a control group is root's to set.
  if [ "$(id -u)" = 0 ]; then
    step 'ingest in 1 GiB' "$bench" ingest --long --memory-max 1GiB
  else
    printf 'ingest in 1 GiB: not measured, root is needed\n'
  fi
fi
