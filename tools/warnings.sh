#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles everything with one compiler, gcc or clang, and takes each warning for an error: tools/warnings.sh clang
# The user's own build does not: another version of a compiler may warn about something new.
# Exits 77, which counts as skipped, when the compiler is not there.
set -eu
cd "$(dirname "$0")/.."
compiler=$1
if ! command -v "$compiler" >/dev/null; then
    echo "skipped: $compiler is not installed (tools/bootstrap.sh test)" >&2
    exit 77
fi
build=build-warnings-$compiler
cache=
! command -v ccache >/dev/null || cache="ccache "
[ -f "$build/build.ninja" ] ||
    CC="$cache$compiler" meson setup "$build" -Dwerror=true -Dplayground=disabled >/dev/null
nice -n 5 ninja -C "$build" -k 0 >"$build/warnings.txt" 2>&1 || {
    grep -E '(error|warning):' "$build/warnings.txt" || tail -20 "$build/warnings.txt"
    exit 1
}
