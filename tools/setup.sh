#!/usr/bin/env bash
# Makes sure that what the build needs is here: Rust, a C++ compiler for RocksDB, libclang for its bindings.
# Installs what can be installed, else says what to install. Says one line when nothing is to do.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

check_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    command -v cargo >/dev/null || fail "cargo is not on the PATH; install Rust $wanted or newer, for example with rustup"
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" != "$wanted" ]; then
        fail "Rust $found is too old, $wanted is the oldest that works; with rustup: rustup update stable"
    fi
    say_rust="Rust $found"
}

has_compiler() {
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null
}

# The directories in which the bindings' generator looks for libclang.
libclang_dirs() {
    [ -z "${LIBCLANG_PATH:-}" ] || printf '%s\n' "$LIBCLANG_PATH"
    ! command -v llvm-config >/dev/null || llvm-config --libdir
    ! command -v ldconfig >/dev/null || ldconfig -p | sed -n 's|.* => \(/.*\)/libclang[-.][^/]*$|\1|p'
    printf '%s\n' /usr/lib/llvm-*/lib /usr/local/llvm*/lib /usr/lib64 /usr/lib /usr/lib/*-linux-* /usr/local/lib \
        /opt/homebrew/opt/llvm/lib /usr/local/opt/llvm/lib /Library/Developer/CommandLineTools/usr/lib
}

# Prints the file; the library alone is not enough, it needs the compiler's own headers too.
find_libclang() {
    local dir library headers
    headers=(/usr/lib{,64}/llvm-*/lib/clang/*/include/stddef.h /usr/lib{,64}/clang/*/include/stddef.h)
    while read -r dir; do
        for library in "$dir"/libclang.{so,dylib} "$dir"/libclang.so.* "$dir"/libclang-[0-9]*.so*; do
            [ -e "$library" ] || continue
            headers+=("$dir"/clang/*/include/stddef.h)
            [ ${#headers[@]} -eq 0 ] || { printf '%s\n' "$library" && return 0; }
        done
    done < <(libclang_dirs)
    return 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null; then
        return 1
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

install_missing() {
    if command -v apt-get >/dev/null; then
        local apt=(env DEBIAN_FRONTEND=noninteractive timeout 900 apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3)
        say "installing g++ and libclang-dev with apt-get"
        as_root "${apt[@]}" update && as_root "${apt[@]}" install -y --no-install-recommends g++ libclang-dev >/dev/null
    elif command -v dnf >/dev/null; then
        say "installing gcc-c++ and clang-devel with dnf"
        as_root timeout 900 dnf install -q -y gcc-c++ clang-devel
    elif command -v brew >/dev/null; then
        say "installing llvm with brew"
        brew install --quiet llvm
        say "if the build does not find it: export LIBCLANG_PATH=$(brew --prefix llvm)/lib"
    else
        return 1
    fi
}

check_rust
if ! has_compiler || ! find_libclang >/dev/null; then
    install_missing || true
fi
if ! has_compiler || ! find_libclang >/dev/null; then
    fail "a C++ compiler or libclang is missing and could not be installed from here; as root, run one of:" \
        "  apt-get update && apt-get install g++ libclang-dev    (Debian, Ubuntu)" \
        "  dnf install gcc-c++ clang-devel                       (Fedora)" \
        "  pacman -S gcc clang                                   (Arch)" \
        "  apk add g++ clang-dev                                 (Alpine)" \
        "  xcode-select --install                                (macOS)" \
        "libclang in an unusual place is found through LIBCLANG_PATH, the directory that holds it"
fi
say "ready: $say_rust, $(find_libclang)"
