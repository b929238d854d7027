#!/usr/bin/env bash
# Runs every fuzz target of a build folder for a number of seconds, from the seeds in
# tests/fuzz/<target>. What it finds is left in <build>/corpus/<target> and <build>/findings.
#   tools/fuzz.sh BUILD SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2
shopt -s nullglob
targets=("$build"/bin/fuzz_*)
(( ${#targets[@]} )) || { echo "no fuzz targets in $build/bin" >&2; exit 1; }
mkdir -p "$build/findings"
failed=0
for target in "${targets[@]}"; do
  name=$(basename "$target")
  corpus=$build/corpus/$name
  seeds=()
  [[ -d tests/fuzz/$name ]] && seeds=("tests/fuzz/$name")
  mkdir -p "$corpus"
  log=$build/findings/$name.log
  if UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$target" "$corpus" "${seeds[@]}" \
      -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
      -artifact_prefix="$build/findings/$name-" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$name: nothing found in $runs runs, $seconds s"
  else
    tail -n 60 "$log"
    echo "$name: FAILED; the input is in $build/findings"
    failed=$((failed + 1))
  fi
done
echo "fuzz: $((${#targets[@]} - failed)) targets passed, $failed failed"
(( failed == 0 ))
