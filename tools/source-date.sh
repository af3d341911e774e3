#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the date of the source in seconds since 1970, which artifacts have instead of the time of their build:
# $SOURCE_DATE_EPOCH, or the date of the last commit, or without git the date of the last Debian changelog entry.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
    echo "$SOURCE_DATE_EPOCH"
elif [ -e "$source/.git" ] && git -C "$source" log -1 --format=%ct 2>/dev/null; then
    :
else
    date -d "$(sed -n 's/^ -- .*>  //p' "$source/packaging/debian/changelog" | head -n 1)" +%s
fi
