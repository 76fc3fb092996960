#!/usr/bin/env bash
# From a fresh clone to a moving dashboard.
. "$(dirname "$0")/lib.sh"
step 'tools' need_toolchains
step 'page' build_page
step 'server' cargo build --profile demo --locked --no-default-features -p nowcast-server --bin nowcast
exec "$CARGO_TARGET_DIR/demo/nowcast" demo "$@"
