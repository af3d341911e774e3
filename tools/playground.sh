#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Bundles web/ into a C file: tools/playground.sh auto|enabled|disabled OUTPUT.c FOLDER
# FOLDER keeps the packages of npm between builds. Without npm, or without its registry, "auto" writes a file
# without the page, and the server says so.
set -eu
mode=$1 output=$(realpath -m "$2") folder=$3
web=$(cd "$(dirname "$0")/../web" && pwd)

bundle() {
    mkdir -p "$folder" && cp -r "$web/src" "$web/build.mjs" "$web/package.json" "$web/.npmrc" "$folder" || return
    cd "$folder" || return
    if ! cmp -s "$web/package-lock.json" installed.json; then
        rm -f installed.json
        cp "$web/package-lock.json" . && npm ci --omit=dev --loglevel=error >npm.log 2>&1 || {
            tail -n 5 npm.log >&2
            return 1
        }
        cp package-lock.json installed.json
    fi
    node build.mjs "$output"
}

if [ "$mode" != disabled ]; then
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        echo "pyexec: npm is not there to bundle the playground with" >&2
    elif bundle; then
        exit 0
    else
        echo "pyexec: the playground could not be bundled" >&2
    fi
    [ "$mode" = auto ] || exit 1
    echo "pyexec: the server is built without the playground" >&2
fi
printf '#include "serve/playground.h"\nconst struct px_asset px_assets[] = {{0}};\n' >"$output"
