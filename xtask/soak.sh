#!/usr/bin/env bash
# xtask/soak.sh [HOURS]: the long form of what `make test` does briefly, stopped by the first failure: models over many
# cases, a thousand `kill -9`, then fuzzing, HOURS (1) a target. SOAK_SEED repeats the choices of a run; SOAK_PERCENT
# (100) of the cases and kills makes it shorter.
. "$(dirname "$0")/lib.sh"

hours=${1:-1}
percent=${SOAK_PERCENT:-100}
seed=${SOAK_SEED:-$((RANDOM * 32768 + RANDOM + 1))}
fuzz_s=$(python3 -c 'import sys; print(max(1, int(float(sys.argv[1]) * 3600)))' "$hours")
kills=$((1000 * percent / 100))

# again HOW: what to run to see a failure once more.
again() {
  printf '\nsoak failed after %d s; again:  %s\n' "$(($(date +%s) - started))" "$1" >&2
  exit 1
}

# model CRATE TEST CASES
model() {
  local cases=$(($3 * percent / 100)) out="$NOWCAST_CACHE/soak-$1.log"
  local run=(cargo test --locked --quiet -p "$1" --lib -- --exact --nocapture "$2")
  printf '    %d cases, seed %s\n' "$cases" "$seed"
  PROPTEST_CASES=$cases PROPTEST_RNG_SEED=$seed "${run[@]}" >"$out" 2>&1 || {
    tail -n 60 "$out" >&2
    again "PROPTEST_CASES=$cases PROPTEST_RNG_SEED=$seed ${run[*]}"
  }
  # A test that was given another name would pass unseen.
  grep -q '1 passed' "$out" || again "a look at xtask/soak.sh: there is no test $2 in $1"
}

kills() {
  printf '    %d kills, seed %s\n' "$kills" "$seed"
  # The test prints the seed of each round of a hundred.
  NOWCAST_SOAK_KILLS=$kills NOWCAST_SEED=$seed xtask/test.sh kills ||
    again "NOWCAST_SOAK_KILLS=$kills NOWCAST_SEED=$seed xtask/test.sh kills (or a round alone, as printed above)"
}

fuzz() {
  FUZZ_SEED=$seed xtask/fuzz.sh "$fuzz_s" || again "what is printed above, or FUZZ_SEED=$seed xtask/fuzz.sh $fuzz_s"
}

printf 'soak: models for about half an hour, %d kills at two seconds each, four fuzz targets for %s h each, two at a time\n' \
  "$kills" "$hours"
printf 'SOAK_SEED=%s\n' "$seed"
step 'model of the log' model nowcast-log tests::model::the_log_holds_what_it_acknowledged 50000
step 'model of the store' model nowcast-store tests::model::histories_agree_with_a_list_of_rows 5000
step 'model of the views' model nowcast-views tests::property::live_is_batch 60000
step 'kills' kills
step 'fuzzing' fuzz
printf 'soak passed\n'
