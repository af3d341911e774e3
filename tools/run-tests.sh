#!/bin/sh
# Runs every test of a build folder and ends with "N passed, N failed, N skipped", counted over
# unit tests, whole-program tests and the checks of the installed files.
build=${1:-build}
# What an earlier run has left must not be counted.
rm -f "$build/pytest.xml" "$build/summary.txt" "$build/meson-logs/testlog.json"
meson test -C "$build" --print-errorlogs
tools/check-install.sh "$build" > "$build/install.txt" 2>&1
echo $? > "$build/install.status"
[ "$(cat "$build/install.status")" = 0 ] || cat "$build/install.txt"
exec python3 tools/test-summary.py "$build"
