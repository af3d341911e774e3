#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A virtual environment with the Python client and the packages that it is tested with, at the versions of
# clients/python/tests/requirements.txt, in BUILD/python-client: made when it is not there or these have changed. Prints the
# path of its interpreter. 77: the packages can't be had, and pip says why.
set -eu
build=$(cd "${1:-build}" && pwd)
cd "$(dirname "$0")/.."
folder=$build/python-client
exec 3>"$build/python-client.lock"
flock 3
pins=$(sha256sum < clients/python/tests/requirements.txt)
if [ "$(cat "$folder/pins" 2>/dev/null)" != "$pins" ]; then
    rm -rf "$folder"
    /usr/bin/python3 -m venv "$folder" >&2
    "$folder/bin/pip" install -q --disable-pip-version-check -r clients/python/tests/requirements.txt >&2 || exit 77
    echo "$pins" > "$folder/pins"
fi
client=$(find clients/python/pyproject.toml clients/python/src -name __pycache__ -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
if [ "$(cat "$folder/client" 2>/dev/null)" != "$client" ]; then
    "$folder/bin/pip" install -q --disable-pip-version-check --no-deps --force-reinstall ./clients/python >&2 || exit 77
    echo "$client" > "$folder/client"
fi
echo "$folder/bin/python"
