#!/usr/bin/env bash
# Every test, or one group of them: lint rust fuzz web clients kills browser.
. "$(dirname "$0")/lib.sh"

tools() {
  need_toolchains
  need chromium chromium postgresql-client psql python3 python3 default-jdk-headless javac
  python3 -c 'import venv, ensurepip' 2>/dev/null || install python3-venv
}

deny() {
  if ! command -v cargo-deny >/dev/null; then
    CARGO_TARGET_DIR="$NOWCAST_CACHE/tools-target" cargo install --quiet --debug --locked --root "$NOWCAST_CACHE/tools" cargo-deny@0.20.2
  fi
  # A build fetches the crates of this platform alone; licences are held of those of every platform.
  cargo fetch --locked --quiet
  cargo deny --offline --log-level error check licenses bans sources
}

lint() {
  step 'rustfmt' cargo fmt --all --check
  step 'clippy' cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
  step 'licences' deny
}

rust() {
  step 'Rust tests' cargo test --workspace --locked
}

# Fifteen seconds a target; `make soak` gives them hours.
fuzz() {
  step 'fuzz' xtask/fuzz.sh
}

web() {
  step 'page' build_page
  step 'page tests' bash -c 'cd web && npm test --silent'
  step 'live client tools' npm_in clients/js
  step 'live client tests' bash -c 'cd clients/js && npm test --silent'
}

# venv NAME: a virtual environment with what tests/clients/NAME.txt pins.
binary() {
  cargo build --locked --quiet -p nowcast-server --bin nowcast
  export NOWCAST_BIN="$CARGO_TARGET_DIR/debug/nowcast"
}

# Not in `all`: `clients` has a short form. NOWCAST_SOAK_KILLS says how many.
kills() {
  step 'server' binary
  step 'Python clients' venv requirements
  step 'kills' "$NOWCAST_CACHE/venv/requirements/bin/python" -m pytest -q -s -x tests/clients/test_kills.py
}

# What Autobahn's cases are run against.
echo_server() {
  cargo build --locked --quiet -p nowcast-feed --features echo --example echo
  export NOWCAST_ECHO="$CARGO_TARGET_DIR/debug/examples/echo"
}

clients() {
  step 'server' binary
  step 'echo server' echo_server
  step 'Python clients' venv requirements
  step 'Python client of 2022' venv questdb-1.2
  step 'SQLAlchemy 1.4' venv sqlalchemy-1.4
  export NOWCAST_BIN="$CARGO_TARGET_DIR/debug/nowcast" NOWCAST_OLD_PYTHON="$NOWCAST_CACHE/venv/questdb-1.2/bin/python"
  export NOWCAST_SQLALCHEMY_1_4="$NOWCAST_CACHE/venv/sqlalchemy-1.4/bin/python"
  step 'clients' "$NOWCAST_CACHE/venv/requirements/bin/python" -m pytest -q tests/clients
}

browser() {
  step 'page' build_page
  step 'server' binary
  step 'browser tools' npm_in tests/browser
  export NOWCAST_BIN="$CARGO_TARGET_DIR/debug/nowcast"
  step 'browser' bash -c 'cd tests/browser && npm test --silent'
}

step 'tools' tools
case "${1:-all}" in
all)
  web
  lint
  rust
  fuzz
  clients
  browser
  ;;
lint | rust | fuzz | web | clients | kills | browser) "$1" ;;
*)
  printf 'unknown group %s; one of: all lint rust fuzz web clients kills browser\n' "$1" >&2
  exit 2
  ;;
esac
printf 'all passed\n'
