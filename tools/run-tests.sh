#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every test of a build folder and ends with "N passed, N failed, N skipped", counted over
# unit tests (again under valgrind), whole-program tests, the checks of the installed files, and the tests of the
# clients (Java, Python, TypeScript). In a build with a sanitizer (SANITIZE: its compiler flags) each file that it reports
# to is a failure. With TESTS (files or folders of tests/) it runs the unit tests and those alone.
build=${1:-build}
# Files of an earlier run must not be counted.
rm -rf "$build/times.txt" "$build/pytest.xml" "$build/python.xml" "$build/typescript" "$build"/*.status "$build/summary.txt" "$build"/meson-logs/testlog* "$build/reports"
[ -z "${SANITIZE:-}" ] || . tools/sanitizers.sh
# Notes how many seconds have passed since the part before: took NAME. tools/test-summary.py prints them.
since=$(date +%s)
took() {
    now=$(date +%s)
    echo "$((now - since)) $*" >> "$build/times.txt"
    since=$now
}
# The whole-program tests: run_lanes ARGUMENT… (tools/lanes.py)
run_lanes() {
    # shellcheck disable=SC2086
    tools/lanes.py "$@" "$build" ${TESTS:-}
    echo $? > "$build/program.status"
}
if [ -n "${TESTS:-}" ]; then
    meson test -C "$build" --no-rebuild --suite unit --print-errorlogs ${SANITIZE:+-t 4}
    took unit tests
    run_lanes
    took whole-program tests: "$TESTS"
    [ -z "${SANITIZE:-}" ] || mv "$PYEXEC_REPORTS" "$build/reports"
    exec python3 tools/test-summary.py "$build"
fi
# Sanitizers take several times as long.
meson test -C "$build" --print-errorlogs --no-suite program ${SANITIZE:+-t 4}
took unit tests, warnings, short fuzzing
if [ -z "${SANITIZE:-}" ] && command -v valgrind >/dev/null; then
    meson test -C "$build" --no-rebuild --print-errorlogs --setup valgrind
    took unit tests under valgrind
fi
tools/check-install.sh "$build" > "$build/install.txt" 2>&1
echo $? > "$build/install.status"
[ "$(cat "$build/install.status")" = 0 ] || cat "$build/install.txt"
took installed files
run_lanes --clients
took whole-program tests, clients
[ -z "${SANITIZE:-}" ] || mv "$PYEXEC_REPORTS" "$build/reports"
exec python3 tools/test-summary.py "$build"
