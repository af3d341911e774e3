#!/bin/sh
# The main job, shown: what `make run` runs.
pyexec=${1:-build/pyexec}

if ! "$pyexec" doctor --json >/dev/null; then
    "$pyexec" doctor
    exit 1
fi

show() {
    printf '\n$ pyexec run -c %s\n' "$1"
    "$pyexec" run -c "$2" 2>&1
    printf '(exit status %d)\n' $?
}

show "'a = 5; b = 10; a * b'" 'a = 5
b = 10
a * b'
show "'result = 1 / 0'" 'result = 1 / 0'
show "'import subprocess'" 'import subprocess'
show "'import socket; socket.create_connection((\"example.com\", 80))'" \
    'import socket
socket.create_connection(("example.com", 80))'
exit 0
