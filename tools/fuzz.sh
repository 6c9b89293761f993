#!/usr/bin/env bash
# Runs fuzz targets, each for some seconds. Stops at the first finding.
# usage: tools/fuzz.sh SECONDS [TARGET...]        (default: all targets)
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: tools/fuzz.sh SECONDS [TARGET...]}
shift
cargo fuzz --version >/dev/null 2>&1 || { echo "fuzz: install cargo-fuzz first: cargo install --locked cargo-fuzz" >&2; exit 1; }
# The sanitizer flags are for nightly compilers; this makes a stable one take them.
export RUSTC_BOOTSTRAP=1
# Its own directory: the flags are not those of the other builds.
unset CARGO_TARGET_DIR
build=(--target-dir "${ROOMSERVER_FUZZ_TARGET:-fuzz/target}")

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
cargo fuzz build "${build[@]}"
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    log=$(mktemp)
    # Bodies are at most 65,536 bytes, rows are smaller; one input may take seconds on a busy machine, never 20.
    if ! cargo fuzz run "${build[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 </dev/null >"$log" 2>&1; then
        cat "$log" >&2
        echo "fuzz: $target has a finding; again: RUSTC_BOOTSTRAP=1 cargo fuzz run $target fuzz/artifacts/$target/..." >&2
        exit 1
    fi
    printf 'fuzz: %-12s %s runs, no finding\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    rm -f "$log"
done
