#!/bin/sh
# Runs every test of a build folder and ends with "N passed, N failed, N skipped", counted over
# unit tests (again under valgrind), whole-program tests and the checks of the installed files. In a
# build with a sanitizer (SANITIZE: its compiler flags) each file that it reports to is a failure.
build=${1:-build}
# What an earlier run has left must not be counted.
rm -rf "$build/pytest.xml" "$build/summary.txt" "$build/meson-logs" "$build/reports"
[ -z "${SANITIZE:-}" ] || . tools/sanitizers.sh
# Sanitizers take several times as long.
meson test -C "$build" --print-errorlogs ${SANITIZE:+-t 4}
if [ -z "${SANITIZE:-}" ] && command -v valgrind >/dev/null; then
    meson test -C "$build" --no-rebuild --print-errorlogs --setup valgrind
fi
tools/check-install.sh "$build" > "$build/install.txt" 2>&1
echo $? > "$build/install.status"
[ "$(cat "$build/install.status")" = 0 ] || cat "$build/install.txt"
[ -z "${SANITIZE:-}" ] || mv "$PYEXEC_REPORTS" "$build/reports"
exec python3 tools/test-summary.py "$build"
