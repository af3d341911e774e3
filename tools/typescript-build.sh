#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The TypeScript client, built with the packages that it is tested with (clients/typescript/package-lock.json), in
# BUILD/typescript-client: made again when the sources or the lock have changed. Prints the folder. 77: Node 20 or later or npm is not
# there, or the packages can't be had; it says which.
set -eu
build=$(cd "${1:-build}" && pwd)
cd "$(dirname "$0")/.."
folder=$build/typescript-client
command -v npm >/dev/null && command -v node >/dev/null || { echo "there is no node or no npm" >&2; exit 77; }
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || { echo "Node $major is here, and the TypeScript client needs Node 20 or later" >&2; exit 77; }

exec 3>"$build/typescript-client.lock"
flock 3
mkdir -p "$folder"
if ! cmp -s clients/typescript/package-lock.json "$folder/installed.json"; then
    rm -f "$folder/installed.json" "$folder/built"
    cp clients/typescript/package.json clients/typescript/package-lock.json clients/typescript/.npmrc "$folder"
    (cd "$folder" && npm ci --loglevel=error >npm.log 2>&1) || { tail -n 5 "$folder/npm.log" >&2; exit 77; }
    cp clients/typescript/package-lock.json "$folder/installed.json"
fi
sources=$(find clients/typescript \( -name node_modules -o -name 'dist*' \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
if [ "$(cat "$folder/built" 2>/dev/null)" != "$sources" ]; then
    for part in src test dist dist-test; do
        rm -rf "${folder:?}/$part"
    done
    cp -r clients/typescript/src clients/typescript/test clients/typescript/*.json clients/typescript/README.md "$folder"
    (cd "$folder" && node_modules/.bin/tsc -p . && node_modules/.bin/tsc -p test) >&2
    # A package finds itself by its own name; snippets of the documentation that run elsewhere find it here.
    ln -sfn .. "$folder/node_modules/pyexec-client"
    echo "$sources" >"$folder/built"
fi
echo "$folder"
