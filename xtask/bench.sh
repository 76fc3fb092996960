#!/usr/bin/env bash
# Ingest and freshness, measured here and now; `--long` for the long form of ingest. docs/performance.md says how.
. "$(dirname "$0")/lib.sh"

tools() {
  need_toolchains
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || {
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
  }
}

step 'tools' tools
# The profile of `make demo`: a release build, with thin LTO of the whole SQL stack, takes much longer.
step 'server and benches' cargo build --profile demo --locked --no-default-features -p nowcast-server -p nowcast-bench --bins
bench="$CARGO_TARGET_DIR/demo/nowcast-bench"
step 'ingest' "$bench" ingest "$@"
step 'freshness' "$bench" freshness
