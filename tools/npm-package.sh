#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the npm packages of the TypeScript client: tools/npm-package.sh FOLDER BUILD [FILES] leaves pyexec-client-VERSION.tgz and
# pyexec-runtime-PLATFORM-VERSION.tgz for glibc and for musl in FOLDER, and prints their paths. The runtime packages have the program of
# tools/bundle.sh, which runs with both, or the files of the folder FILES. They are of this machine's architecture, or of
# PYEXEC_MACHINE (aarch64). 77: see tools/typescript-build.sh.
set -eu
umask 022
mkdir -p "${1:?usage: tools/npm-package.sh FOLDER BUILD [FILES]}"
target=$(cd "$1" && pwd) build=$(cd "${2:?}" && pwd)
files=${3:+$(cd "$3" && pwd)}
cd "$(dirname "$0")/.."
client=$(tools/typescript-build.sh "$build") || exit $?
machine=${PYEXEC_MACHINE:-$(uname -m)}
case $(uname -s)-$machine in
Linux-x86_64) platform=linux-x64 ;;
Linux-aarch64) platform=linux-arm64 ;;
*) echo "npm-package.sh: there is no folder for this platform in clients/typescript/runtime" >&2; exit 1 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The client depends on all runtime packages, of which npm installs the one that fits.
mkdir "$work/client"
cp -r "$client/dist" clients/typescript/README.md LICENSE "$work/client"
node - clients/typescript "$work/client/package.json" <<'END'
const { readFileSync, readdirSync, writeFileSync } = require("node:fs");
const [, , folder, output] = process.argv;
const { devDependencies, ...given } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
const platforms = readdirSync(`${folder}/runtime`, { withFileTypes: true }).filter((one) => one.isDirectory());
const packages = platforms.map((one) => JSON.parse(readFileSync(`${folder}/runtime/${one.name}/package.json`, "utf8")));
const optionalDependencies = Object.fromEntries(packages.map(({ name, version }) => [name, version]));
writeFileSync(output, JSON.stringify({ ...given, optionalDependencies }, null, 2) + "\n");
END

if [ -z "$files" ]; then
    tools/bundle.sh "$work/bundle"
    files=$work/bundle/linux-$machine
fi
for libc in gnu musl; do
    runtime=$work/runtime-$libc
    mkdir -p "$runtime/bin"
    cp "clients/typescript/runtime/$platform-$libc/package.json" LICENSE "$runtime"
    install -m 755 "$files"/* "$runtime/bin"
    cat >"$runtime/README.md" <<'END'
The program `pyexec`, which the package pyexec-client starts. It has no JavaScript of its own.
END
done

cd "$work"
npm pack ./runtime-gnu ./runtime-musl ./client --ignore-scripts --no-update-notifier --loglevel=error --pack-destination "$target" | sed "s|^|$target/|"
