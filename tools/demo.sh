#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main job, shown: what `make run` runs. Exit status 1 when this machine lacks a layer (after
# `pyexec doctor` has said which, and how to get it) or when something shown is not what it should be.
pyexec=${1:-build/pyexec}

if ! "$pyexec" doctor --json >/dev/null 2>&1; then
    "$pyexec" doctor
    exit 1
fi

failed=0

# show CODE TEXT: runs CODE and expects TEXT in what is printed.
show() {
    local output status
    printf '\n$ pyexec run -c %s\n' "$(quoted "$1")"
    output=$("$pyexec" run -c "$1" 2>&1 </dev/null)
    status=$?
    printf '%s\n(exit status %d)\n' "$output" "$status"
    if [[ $output != *"$2"* ]]; then
        printf 'demo: expected to see: %s\n' "$2" >&2
        failed=1
    fi
}

# Prints the command as a user would type it.
quoted() {
    if [[ $1 == *[$'\n'\']* ]]; then
        printf '%q' "$1"
    else
        printf "'%s'" "$1"
    fi
}

show $'a = 5\nb = 10\na * b' 50
show 'result = 1 / 0' 'ZeroDivisionError: division by zero'
show 'import subprocess' "import 'subprocess' not allowed"
show $'import socket\nsocket.create_connection(("example.com", 80))' 'network disabled'
exit $failed
