#!/usr/bin/env bash
# Switches each mutant of tests/mutants on in turn and runs the tests, on the memory backend: one that no test notices is
# a hole in the tests. Works on a clean tree and leaves it clean.
# usage: tools/mutants.sh [NAME...]        (default: all)
set -euo pipefail
cd "$(dirname "$0")/.."

[ -z "$(git status --porcelain -- src)" ] || { echo "mutants: commit the changes in src first" >&2; exit 2; }
names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(basename -s .patch tests/mutants/*.patch)
log=$(mktemp)
trap 'git checkout -q -- src; rm -f "$log"' EXIT
missed=0
for name in "${names[@]}"; do
    git apply "tests/mutants/$name.patch"
    # A mutant may make code superfluous; what it must not do is fail to compile.
    if ! cargo test --quiet --no-default-features --features cli --lib --test it --no-run >"$log" 2>&1; then
        cat "$log" >&2
        echo "mutants: $name does not compile" >&2
        exit 2
    fi
    if cargo test --no-default-features --features cli --lib --test it --no-fail-fast >"$log" 2>&1; then
        echo "$name: NOT NOTICED"
        missed=1
    else
        printf '%s: noticed by %s\n' "$name" "$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | paste -sd ' ')"
    fi
    git checkout -q -- src
done
exit $missed
