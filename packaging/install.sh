#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs pyexec from the folder of this script, and removes it again. Needs no network.
set -eu
umask 022
export LC_ALL=C

usage() {
    cat <<'END'
usage: ./install.sh [--prefix FOLDER]             installs pyexec
       ./install.sh --uninstall [--prefix FOLDER]  removes it

FOLDER is /usr/local for root and ~/.local for other users, if it is not given.
END
}

fail() {
    echo "pyexec: $*" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
prefix='' uninstall=''
while [ $# -gt 0 ]; do
    case $1 in
    --prefix)
        [ $# -gt 1 ] || fail "--prefix needs a folder"
        prefix=$2
        shift
        ;;
    --prefix=*) prefix=${1#--prefix=} ;;
    --uninstall) uninstall=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        fail "unknown argument: $1"
        ;;
    esac
    shift
done
if [ -z "$prefix" ]; then
    if [ -f "$here/installed" ] && [ -z "${here##*/share/pyexec}" ]; then
        prefix=${here%/share/pyexec} # this is the copy that was installed
    elif [ "$(id -u)" = 0 ]; then
        prefix=/usr/local
    elif [ -n "${HOME:-}" ]; then
        prefix=$HOME/.local
    else
        fail "HOME is not set; give --prefix FOLDER"
    fi
fi
case $prefix in
/*) ;;
*) prefix=$(pwd)/$prefix ;;
esac
[ "$(printf '%s' "$prefix" | wc -l)" = 0 ] || fail "the prefix has a line break in its name"
# The files of an installation, one on each line, and the folders that it made, with a slash at the end.
list=$prefix/share/pyexec/installed

# Removes the files that LIST names and FILE does not, and then the folders of LIST that are empty: LIST FILE
remove() {
    sed '/\/$/d' "$1" | while IFS= read -r file; do
        case /$file/ in
        */../*) continue ;;
        esac
        grep -Fqx -e "$file" "$2" || rm -f "$prefix/$file"
    done
    sed -n 's#/$##p' "$1" | sort -r | while IFS= read -r folder; do
        grep -Fqx -e "$folder/" "$2" || rmdir "$prefix/$folder" 2>/dev/null || true
    done
}

if [ -n "$uninstall" ]; then
    [ -f "$list" ] || fail "there is no $list: this script did not install pyexec below $prefix"
    [ -w "$prefix/share/pyexec" ] || fail "no permission to write below $prefix"
    copy=$(mktemp)
    trap 'rm -f "$copy"' EXIT
    cat "$list" >"$copy"
    remove "$copy" /dev/null
    echo "pyexec: removed from $prefix"
    exit 0
fi

# ---- What is to be installed, and whether it can run here ----

[ -f "$here/SHA256SUMS" ] || fail "there is no SHA256SUMS beside this script; unpack the whole archive"
wrong=$(cd "$here" && sha256sum -c SHA256SUMS 2>/dev/null | grep -v ': OK$' || true)
[ -z "$wrong" ] || fail "the archive is damaged, nothing was installed:
$wrong"
[ "$(cd "$here" && sha256sum -c SHA256SUMS 2>/dev/null | grep -c ': OK$')" = "$(wc -l <"$here/SHA256SUMS")" ] ||
    fail "the checksums can't be verified (sha256sum); nothing was installed"
machine=$(basename "$here")
machine=${machine##*-linux-}
[ "$(uname -s)" = Linux ] || fail "this is a program for Linux, and the system is $(uname -s)"
"$here/bin/pyexec" --version >/dev/null 2>&1 || fail "this program ($machine) does not start on this processor ($(uname -m))"

if [ -e "$prefix/bin/pyexec" ] && [ ! -f "$list" ]; then
    fail "$prefix/bin/pyexec is there, and this script did not install it. Remove it, or give another --prefix"
fi

# ---- Install ----

made='' # the folders that this script makes, one on each line, with a slash at the end
make_folder() {
    [ ! -d "$prefix/$1" ] || return 0
    case $1 in
    */*) make_folder "${1%/*}" ;;
    esac
    mkdir "$prefix/$1" || fail "can't make the folder $prefix/$1"
    made="$made$1/
"
}

mkdir -p "$prefix" 2>/dev/null || fail "can't make the folder $prefix; give another with --prefix"
[ -w "$prefix" ] || fail "no permission to write below $prefix; give another folder with --prefix"
echo "pyexec: installing $("$here/bin/pyexec" --version) below $prefix"
new=$(mktemp)
trap 'rm -f "$new"' EXIT

# A file that is in use can't be written, but replaced: MODE FROM TO
put() {
    make_folder "${3%/*}"
    cp "$2" "$prefix/$3.new" && chmod "$1" "$prefix/$3.new" && mv -f "$prefix/$3.new" "$prefix/$3" || {
        rm -f "$prefix/$3.new"
        fail "can't write $prefix/$3"
    }
    echo "$3" >>"$new"
    echo "  $prefix/$3"
}

while read -r _ file; do
    case $file in
    install.sh) put 755 "$here/$file" share/pyexec/install.sh ;;
    bin/* | libexec/*) put 755 "$here/$file" "$file" ;;
    *) put 644 "$here/$file" "$file" ;;
    esac
done <"$here/SHA256SUMS"
echo share/pyexec/installed >>"$new"
printf '%s' "$made" >>"$new"
if [ -f "$list" ]; then
    # An upgrade: folders that the installation before made are still to be removed at the end.
    grep '/$' "$list" >>"$new" || true
    remove "$list" "$new"
fi
cp "$new" "$list.new" && chmod 644 "$list.new" && mv -f "$list.new" "$list" || fail "can't write $list"

# ---- Does it work? ----

echo "pyexec: installed; $prefix/share/pyexec/install.sh --uninstall removes it"
case :${PATH:-}: in
*":$prefix/bin:"*) ;;
*) echo "pyexec: $prefix/bin is not in PATH; add it: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
if ! command -v python3 >/dev/null 2>&1; then
    echo "pyexec: there is no python3 yet; scripts need CPython 3.8 or later (Debian, Ubuntu: apt install python3)"
elif answer=$("$prefix/bin/pyexec" run -c '6 * 7' 2>&1) && [ "$answer" = 42 ]; then
    echo "pyexec: a first script ran in the sandbox"
else
    echo "pyexec: no script can run yet. Try '$prefix/bin/pyexec doctor'. The first script failed with:"
    echo "$answer"
fi
