#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds pyexec for arm64 on another machine: tools/arm64.sh BUILD [TARGET…]. It writes only below BUILD/arm64: the tree of
# tools/arm64-tree.sh, and the build folder build/. It exits with 3 if something that it needs is missing.
set -eu
cd "$(dirname "$0")/.."
folder=$(mkdir -p "${1:?usage: tools/arm64.sh BUILD [TARGET…]}/arm64" && cd "$1/arm64" && pwd)
shift
tools/arm64-tree.sh "$folder"
[ -f "$folder/build/build.ninja" ] || meson setup "$folder/build" --cross-file "$folder/cross.ini" -Dplayground=disabled >/dev/null
exec ninja -C "$folder/build" "$@"
