#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS (20) one after the other, or only those named as arguments. What they find
# is kept under target/fuzz, together with the inputs that proved worth keeping, so the next run goes on from there.
set -eu

cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-20}
work=${CARGO_TARGET_DIR:-$PWD/target}/fuzz

missing() {
    echo "fuzzing needs $1: $2" >&2
    exit 1
}
cargo +nightly --version >/dev/null 2>&1 ||
    missing "a nightly Rust toolchain beside the stable one" "rustup toolchain install nightly --profile minimal"
command -v cargo-fuzz >/dev/null || missing "cargo-fuzz" "cargo install cargo-fuzz --locked"
command -v c++ >/dev/null || missing "a C++ compiler, for libFuzzer" "install g++ or clang"

host=$(rustc +nightly -vV | sed -n 's/^host: //p')
cargo +nightly fuzz build --fuzz-dir tests/fuzz --target-dir "$work" --target "$host"

# Some targets write files; nobody needs them on a disk.
if test -w /dev/shm; then
    TMPDIR=/dev/shm
    export TMPDIR
fi

# What a target begins with the first time. The bytes in front are the arguments that it takes before the text.
seed() {
    case $1 in
        stream)
            for capture in tests/captures/*/*.ami; do
                { printf '@\0\0' && head -c 16000 "$capture"; } >"$corpus/$(basename "$capture" .ami)"
            done ;;
        config) cp conf/sipban.conf "$corpus/sample" ;;
        whitelist) cp conf/sipban.wl "$corpus/sample" ;;
        console) printf '\001\0block 192.0.2.1 60\r\nunblock 2001:db8::/64\nwl add host.example\n--json top\n' >"$corpus/sample" ;;
        dump) printf '# [2019-06-13 12:01:55]\n192.0.2.1,1560427315,Failed ACL\n192.0.2.0/24,7\n' >"$corpus/sample" ;;
    esac
}

test $# -gt 0 || set -- config console dump events journal judge stream whitelist
failed=
for target; do
    program=$work/$host/release/$target
    corpus=$work/corpus/$target
    finds=$work/finds/$target
    log=$work/$target.log
    mkdir -p "$corpus" "$finds"
    test -n "$(ls "$corpus")" || seed "$target"
    echo "fuzz $target for $seconds s"
    if "$program" -max_total_time="$seconds" -timeout=10 -artifact_prefix="$finds/" "$corpus" >"$log" 2>&1; then
        grep -a '^Done ' "$log"
    else
        grep -a -A 4 'panicked at\|^SUMMARY' "$log" || tail -n 20 "$log"
        sed -n "s|.*Test unit written to |replay: $program |p" "$log"
        failed="$failed $target"
    fi
done
test -z "$failed" || { echo "failed:$failed" >&2; exit 1; }
