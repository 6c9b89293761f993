#!/usr/bin/env bash
# Runs fuzz targets, each for some seconds. Stops at the first finding.
# usage: tools/fuzz.sh SECONDS [TARGET...]        (default: all targets)
#
# ROOMSERVER_FUZZ_SANITIZER=none runs several times as many inputs a second: the address sanitizer, the default, looks
# at the dependencies, since the library has no unsafe code. ROOMSERVER_FUZZ_RUNS=N ends a target after N inputs.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: tools/fuzz.sh SECONDS [TARGET...]}
shift
cargo fuzz --version >/dev/null 2>&1 || { echo "fuzz: install cargo-fuzz first: cargo install --locked cargo-fuzz" >&2; exit 1; }
# The sanitizer flags are for nightly compilers; this makes a stable one take them.
export RUSTC_BOOTSTRAP=1
# Its own directory: the flags are not those of the other builds.
unset CARGO_TARGET_DIR
build=(--target-dir "${ROOMSERVER_FUZZ_TARGET:-fuzz/target}" --sanitizer "${ROOMSERVER_FUZZ_SANITIZER:-address}")

# The most bytes of an input: beyond the longest event, beyond two blocks of a log.
most() {
    case $1 in
        body | import_line | json | pdu) echo 70000 ;;
        wal) echo 100000 ;;
        *) echo 16384 ;;
    esac
}

stat() {
    sed -n "s/^stat::$1: *//p" "$2"
}

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
cargo fuzz build "${build[@]}"
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    log=$(mktemp)
    # No input takes a second on an idle machine; none takes 20 on a busy one.
    if ! cargo fuzz run "${build[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -runs="${ROOMSERVER_FUZZ_RUNS:--1}" -max_len="$(most "$target")" \
        -timeout=20 -report_slow_units=1 -rss_limit_mb=2048 -print_final_stats=1 </dev/null >"$log" 2>&1; then
        cat "$log" >&2
        echo "fuzz: $target has a finding; again: RUSTC_BOOTSTRAP=1 cargo fuzz run $target fuzz/artifacts/$target/..." >&2
        exit 1
    fi
    printf 'fuzz: %-12s %s runs, no finding, slowest input %s s\n' "$target" \
        "$(stat number_of_executed_units "$log")" "$(stat slowest_unit_time_sec "$log")"
    rm -f "$log"
done
