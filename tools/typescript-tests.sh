#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The TypeScript client's tests, with the program of a build folder: tools/typescript-tests.sh BUILD [NAME…]. NAME is a test file without
# .test.ts (client, tools). The reports are BUILD/typescript/NAME.xml. A file that fails runs once more, as in tools/lanes.py; its
# first report is then NAME.first.xml. 77: see tools/typescript-build.sh.
set -eu
build=$(cd "${1:-build}" && pwd)
[ $# = 0 ] || shift
cd "$(dirname "$0")/.."
source=$PWD reports=$build/typescript
rm -rf "$reports"
folder=$(tools/typescript-build.sh "$build") || exit $?
mkdir -p "$reports"
cd "$folder"
# shellcheck disable=SC2046
[ $# != 0 ] || set -- $(cd test && ls -- *.test.ts | sed 's/\.test\.ts$//')

run() {
    PYEXEC_BUILD=$build PYEXEC_SOURCE=$source timeout -k 10 300 node --test --test-timeout=120000 --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=junit --test-reporter-destination="$reports/$1.xml" "dist-test/$1.test.js"
}
status=0
for name; do
    echo "== $name"
    run "$name" && continue
    mv "$reports/$name.xml" "$reports/$name.first.xml"
    echo "== $name, once more"
    run "$name" || status=1
done
exit $status
