#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy over our sources with .clang-tidy's checks, each finding an error: tools/tidy.sh BUILD
# Its version is pinned, because other versions report other problems. Without it the exit status is 77, which counts as skipped.
set -eu
build=$(cd "${1:-build}" && pwd)
cd "$(dirname "$0")/.."
if ! command -v clang-tidy-14 >/dev/null; then
    echo "skipped: clang-tidy-14 is not installed (tools/bootstrap.sh test)" >&2
    exit 77
fi
# Leaves out the files that only a build for another C library, or of a static program, compiles.
find src tools -name '*.c' ! -name '*_test.c' ! -name old_libc.c ! -name musl.c ! -name signal_names.c ! -name serve_inside.c -print0 |
    xargs -0 -n 8 -P "$(nproc)" nice -n 5 clang-tidy-14 --quiet -p "$build" >"$build/tidy.txt" 2>&1 && exit 0
grep -E '(error|warning):' "$build/tidy.txt" | sort -u
exit 1
