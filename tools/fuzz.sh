#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs each fuzz target for some seconds (60), at low priority: tools/fuzz.sh SECONDS [TARGET…].
# New inputs that reach more code are kept in build-fuzz/corpus, a failing input in build-fuzz/TARGET-….
# Exits 77, which counts as skipped, when there is no clang with libFuzzer.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
build=build-fuzz
runtime=$(clang -print-runtime-dir 2>/dev/null || true)
if ! ls "$runtime"/libclang_rt.fuzzer* >/dev/null 2>&1; then
    echo "skipped: fuzzing needs clang with libFuzzer (Debian: tools/bootstrap.sh fuzz)" >&2
    exit 77
fi
# `meson test` starts this script several times at once. Only one of them builds.
mkdir -p "$build"
exec 9>"$build/lock"
flock 9
[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" -Dfuzz=true >/dev/null
[ $# -gt 0 ] || set -- $(ls fuzz/seeds)
# shellcheck disable=SC2046
ninja -C "$build" $(printf '%s_fuzz ' "$@") >/dev/null
flock -u 9
exec 9>&-
failed=0
for name in "$@"; do
    mkdir -p "$build/corpus/$name"
    if nice -n 19 "$build/${name}_fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=8192 \
        -verbosity=0 -print_final_stats=1 -artifact_prefix="$build/$name-" "$build/corpus/$name" "fuzz/seeds/$name" \
        >"$build/$name.log" 2>&1; then
        echo "$name: passed, $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log") inputs"
    else
        echo "$name: FAILED, see $build/$name.log"
        failed=1
    fi
done
exit $failed
