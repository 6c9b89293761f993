#!/usr/bin/env bash
# Replays the real rooms in examples/rooms, then shows the commands behind it, one by one.
# usage: examples/demo.sh [path of the roomserver binary]
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-target/release/roomserver}
[ -x "$bin" ] || { echo "demo: no binary at $bin; run: make demo" >&2; exit 2; }

"$bin" demo examples/rooms

store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
show() {
    printf '\n$ roomserver %s\n' "$*"
    "$bin" "$@"
}
echo
echo "The same by hand, with one of the rooms:"
show import --store "$store/db" examples/rooms/forks-v10.jsonl.gz
show rooms --store "$store/db"
show stats --store "$store/db"
show verify --store "$store/db"
