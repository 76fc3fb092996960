# Shared by the scripts beside it: where things are cached, and how a missing tool is got.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export NOWCAST_CACHE="${NOWCAST_CACHE:-$HOME/.cache/nowcast}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$NOWCAST_CACHE/target}"
export PATH="$HOME/.cargo/bin:$NOWCAST_CACHE/tools/bin:$PATH"
mkdir -p "$NOWCAST_CACHE"

started=$(date +%s)

# step NAME COMMAND…: runs it, prints the name before and the time after. A step's output is shown as it comes.
step() {
  local name=$1 from took
  shift
  printf '==> %s\n' "$name"
  from=$(date +%s)
  "$@"
  took=$(($(date +%s) - from))
  printf '    %s: %d s (%d s since the start)\n' "$name" "$took" "$(($(date +%s) - started))"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    printf 'root is needed to install: %s\nrun it as root, then try again\n' "$*" >&2
    exit 1
  fi
}

# install PACKAGE…: from Debian.
install() {
  command -v apt-get >/dev/null || {
    printf 'please install: %s\n' "$*" >&2
    exit 1
  }
  printf '    installing %s\n' "$*"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need PACKAGE COMMAND [PACKAGE COMMAND …]: installs Debian packages whose command is missing.
need() {
  local missing=()
  while [ $# -gt 0 ]; do
    command -v "$2" >/dev/null || missing+=("$1")
    shift 2
  done
  [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"
}

need_toolchains() {
  command -v cargo >/dev/null || {
    printf 'cargo is missing: install Rust 1.95 or newer with rustup\n' >&2
    exit 1
  }
  command -v npm >/dev/null || need nodejs node npm npm
  need build-essential cc
}

# npm_in DIR: installs what its lock file pins, once for each state of the lock file.
npm_in() {
  local stamp
  stamp=$(sha256sum "$1/package-lock.json" | cut -d' ' -f1)
  if [ "$(cat "$1/node_modules/.stamp" 2>/dev/null)" != "$stamp" ]; then
    (cd "$1" && npm ci --no-audit --no-fund --loglevel=error)
    printf '%s' "$stamp" >"$1/node_modules/.stamp"
  fi
}

# The page is built again when anything in it is newer than what was built.
build_page() {
  if [ -f web/dist/index.html ] && [ -z "$(find web clients/js -newer web/dist/index.html -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -print -quit)" ]; then
    return 0
  fi
  npm_in web
  (cd web && npm run --silent build)
}

# A virtual environment with what tests/clients/NAME.txt pins.
venv() {
  local dir="$NOWCAST_CACHE/venv/$1" file="tests/clients/$1.txt" stamp
  stamp=$(sha256sum "$file" | cut -d' ' -f1)
  if [ "$(cat "$dir/.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/pip" install --quiet --disable-pip-version-check -r "$file"
    printf '%s' "$stamp" >"$dir/.stamp"
  fi
}
