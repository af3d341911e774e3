#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes FOLDER/pyexec-VERSION-linux-ARCHITECTURE.tar.gz, the program for a Linux and a Python for glibc 2.31 or for musl 1.2, or later, with
# its installer (packaging/install.sh): tools/tarball.sh [--without-server] FOLDER. Prints its path. The same source and the same packages of the
# machine give the same bytes, in any folder and at any time. --without-server leaves out `pyexec serve`, MCP servers over HTTP and the
# exporter of traces, whose libraries take minutes to build, and need apt.
set -eu
umask 022
export LC_ALL=C
source=$(cd "$(dirname "$0")/.." && pwd)
server=--server
[ "${1:-}" != --without-server ] || { server=''; shift; }
mkdir -p "${1:?usage: tools/tarball.sh [--without-server] FOLDER}"
target=$(cd "$1" && pwd)
version=$(sed -n "s/^  version: '\(.*\)',$/\1/p" "$source/meson.build" | head -n 1)
machine=${PYEXEC_MACHINE:-$(uname -m)}
name=pyexec-$version-linux-$machine
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2086
"$source/tools/bundle.sh" $server "$work"
root=$work/$name
put() { # MODE FROM TO
    install -D -m "$1" "$2" "$root/$3"
}
bundle=$work/linux-$machine
program=$bundle/pyexec
[ "$machine" = "$(uname -m)" ] || program="qemu-$machine $program"
put 755 "$bundle/pyexec" bin/pyexec
for file in "$bundle"/pyexec[-_]*; do
    put 755 "$file" "libexec/pyexec/$(basename "$file")"
done
$program manpage >"$work/manpage"
put 644 "$work/manpage" share/man/man1/pyexec.1
for shell in bash zsh fish; do
    $program completion "$shell" >"$work/$shell"
done
put 644 "$work/bash" share/bash-completion/completions/pyexec
put 644 "$work/zsh" share/zsh/site-functions/_pyexec
put 644 "$work/fish" share/fish/vendor_completions.d/pyexec.fish
put 644 "$source/packaging/pyexec.conf" share/pyexec/pyexec.conf
put 644 "$source/packaging/apparmor/pyexec-launch" share/pyexec/apparmor/pyexec-launch
for file in README.md CHANGELOG.md LICENSE; do
    put 644 "$source/$file" "share/doc/pyexec/$file"
done
# What is linked into the program, with its licenses.
"$source/tools/sbom.py" "$root" --name "$name" --licenses "$work/licenses" >"$work/sbom"
put 644 "$work/sbom" "share/doc/pyexec/pyexec.spdx.json"
for file in "$work/licenses"/*; do
    put 644 "$file" "share/doc/pyexec/licenses/$(basename "$file")"
done
put 755 "$source/packaging/install.sh" install.sh
(cd "$root" && find . -type f ! -name SHA256SUMS | sed 's#^\./##' | sort | xargs sha256sum >SHA256SUMS)

tar -C "$work" --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mode=u+rwX,go=rX \
    --mtime="@$("$source/tools/source-date.sh")" -c "$name" | gzip -9n >"$target/$name.tar.gz.new"
mv "$target/$name.tar.gz.new" "$target/$name.tar.gz"
echo "$target/$name.tar.gz"
