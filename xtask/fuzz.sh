#!/usr/bin/env bash
# xtask/fuzz.sh [SECONDS [TARGET…]]: builds the fuzz targets and lets each run for so long (15), two at a time.
# FUZZ_SEED repeats a run's beginning. What was found is kept in $NOWCAST_CACHE/fuzz, never in the checkout.
. "$(dirname "$0")/lib.sh"

seconds=${1:-15}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frame record line json)
seed=${FUZZ_SEED:-$((RANDOM * 32768 + RANDOM + 1))}
work="$NOWCAST_CACHE/fuzz"
# Instrumented code shares nothing with other builds, so it has a directory of its own.
build_dir="$NOWCAST_CACHE/fuzz-target"
triple=$(rustc -vV | sed -n 's/^host: //p')

tool() {
  need_toolchains
  if ! cargo fuzz --version 2>/dev/null | grep -qF 0.13.2; then
    CARGO_TARGET_DIR="$NOWCAST_CACHE/tools-target" cargo install --quiet --debug --locked --root "$NOWCAST_CACHE/tools" cargo-fuzz@0.13.2
  fi
}

# Under AddressSanitizer, whose runtime comes with the stable toolchain; only its flag is called unstable.
build() {
  (cd fuzz && cargo metadata --locked --format-version 1 >/dev/null)
  (cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir . --dev --sanitizer address --strip-dead-code --target-dir "$build_dir")
}

# Written anew each time: seeds are what the checkout holds, behind them the mode that the target reads.
seeds() {
  local file mode
  rm -rf "$work/seeds"
  mkdir -p "$work/seeds/frame" "$work/seeds/record" "$work/seeds/line" "$work/seeds/json"
  for file in testdata/log-formats/*/*.log; do
    for mode in 0 1 2 3; do
      { cat "$file" && printf "\\x0$mode"; } >"$work/seeds/frame/$(basename "$file").$mode"
    done
    # The first record stands behind the segment's header and the frame's.
    tail -c +129 "$file" >"$work/seeds/record/$(basename "$file")"
  done
  cp fuzz/seeds/line/* "$work/seeds/line/"
  cp fuzz/seeds/json/* "$work/seeds/json/"
}

# fuzz TARGET: in the corpus that earlier runs left, with the seeds beside it.
fuzz() {
  local log="$work/$1.log" found="$work/artifacts/$1"
  mkdir -p "$work/corpus/$1" "$found"
  if "$build_dir/$triple/debug/$1" -max_total_time="$seconds" -seed="$seed" -max_len=8192 -timeout=10 \
    -rss_limit_mb=2048 -artifact_prefix="$found/" "$work/corpus/$1" "$work/seeds/$1" >"$log" 2>&1; then
    printf '    %s: %s, %s\n' "$1" "$(sed -n 's/^Done \([0-9]*\) runs.*/\1 inputs/p' "$log" | tail -1)" \
      "$(grep -ao 'cov: [0-9]*' "$log" | tail -1)"
    return 0
  fi
  local artifact
  artifact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
  grep -a -m1 -A8 -E 'panicked|ERROR: libFuzzer' "$log" | cut -c1-2000 >&2 || true
  printf '%s failed with seed %s; the whole output is in %s\n' "$1" "$seed" "$log" >&2
  printf 'again:  %s %s\n' "$build_dir/$triple/debug/$1" "$artifact" >&2
  printf 'smaller:  (cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz tmin --fuzz-dir . --dev --sanitizer address --strip-dead-code --target-dir %s %s %s)\n' \
    "$build_dir" "$1" "$artifact" >&2
  return 1
}

# All targets, two at a time; all are let run to their end, also if one fails.
run() {
  local pids=() failed=0 target pid
  printf '    seed %s, %s s each: %s\n' "$seed" "$seconds" "${targets[*]}"
  for target in "${targets[@]}"; do
    if [ ${#pids[@]} -eq 2 ]; then
      wait "${pids[0]}" || failed=1
      pids=("${pids[1]}")
    fi
    fuzz "$target" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
  done
  return $failed
}

step 'cargo-fuzz' tool
step 'fuzz targets' build
step 'seeds' seeds
step 'fuzzing' run
