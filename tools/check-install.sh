#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs into a scratch DESTDIR, compiles the C example against what was installed, and runs
# both it and the installed program.
set -eu
build=$(cd "${1:-build}" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
# Runs have another user id, which must be able to read the installed files.
umask 022
DESTDIR="$root" meson install -C "$build" --no-rebuild --quiet
prefix=$root/usr/local
pc=$(dirname "$(find "$root" -name libpyexec.pc)")
libdir=$(dirname "$pc")
export PKG_CONFIG_PATH="$pc" PKG_CONFIG_SYSROOT_DIR="$root"
# shellcheck disable=SC2046
gcc -Wall -Werror -o "$root/run_once" "$source/examples/run_once.c" $(pkg-config --cflags --libs libpyexec) ${SANITIZE:-}
echo "example: $(LD_LIBRARY_PATH="$libdir" "$root/run_once")"
test "$(LD_LIBRARY_PATH="$libdir" "$root/run_once")" = 42
test "$("$prefix/bin/pyexec" run -c '6 * 7')" = 42
for file in include/pyexec.h share/man/man1/pyexec.1 libexec/pyexec/pyexec-launch \
    libexec/pyexec/pyexec_guest.abi3.so share/bash-completion/completions/pyexec \
    share/zsh/site-functions/_pyexec share/fish/vendor_completions.d/pyexec.fish; do
    test -s "$prefix/$file" || { echo "not installed: $file"; exit 1; }
done
# The programs for MCP servers over HTTP and for traces, if they were built (with libcurl).
if [ -e "$build/pyexec-mcp-http" ]; then
    test -x "$prefix/libexec/pyexec/pyexec-mcp-http" || { echo "not installed: pyexec-mcp-http"; exit 1; }
    test -x "$prefix/libexec/pyexec/pyexec-otlp" || { echo "not installed: pyexec-otlp"; exit 1; }
    echo '{"mcpServers": {"a": {"url": "http://127.0.0.1:1/"}}}' >"$root/servers.json"
    "$prefix/bin/pyexec" mcp --mcp-servers "$root/servers.json" </dev/null || { echo "pyexec-mcp-http is not found"; exit 1; }
fi
# The proxy for allowed_hosts, if it was built (with libevent, c-ares and OpenSSL 3).
if [ -e "$build/pyexec-egress" ]; then
    test -x "$prefix/libexec/pyexec/pyexec-egress" || { echo "not installed: pyexec-egress"; exit 1; }
fi
# The program for nodes of a fleet, if it was built (with libnats).
if [ -e "$build/pyexec-worker" ]; then
    test -x "$prefix/libexec/pyexec/pyexec-worker" || { echo "not installed: pyexec-worker"; exit 1; }
    case $("$prefix/bin/pyexec" fleet list --nats nats://127.0.0.1:1 2>&1) in
    *"can't connect to NATS"*) ;;
    *) echo "pyexec_gateway.so is not found"; exit 1 ;;
    esac
    case $("$prefix/bin/pyexec" worker 2>&1) in
    *'no NATS server is named'*) ;;
    *) echo "pyexec worker does not start"; exit 1 ;;
    esac
fi
# The server: its module can be loaded, its units name the installed program, and its monitoring files are there.
if [ -e "$build/pyexec_serve.so" ]; then
    for file in libexec/pyexec/pyexec_serve.so lib/systemd/system/pyexec.socket lib/sysusers.d/pyexec.conf \
        share/pyexec/grafana-dashboard.json share/pyexec/grafana-fleet.json share/pyexec/prometheus-rules.yml share/pyexec/pyexec.conf; do
        test -s "$prefix/$file" || { echo "not installed: $file"; exit 1; }
    done
    grep -q 'exec /usr/local/bin/pyexec serve' "$prefix/lib/systemd/system/pyexec.service"
    served=$(env -u XDG_RUNTIME_DIR "$prefix/bin/pyexec" serve --listen 127.0.0.1:0 2>&1) || true
    case $served in
        *'needs one'*) ;;
        *) echo "the server's module: $served"; exit 1 ;;
    esac
fi
# The library exports its own names and nothing else.
exported=$(nm -D --defined-only "$libdir/libpyexec.so.0" | awk '$2 == "T" && $3 !~ /^pyexec_/ {print $3}')
test -z "$exported" || { echo "exported: $exported"; exit 1; }
# Hardening: PIE, full RELRO, no executable stack.
for file in "$prefix/bin/pyexec" "$prefix/libexec/pyexec/pyexec-launch"; do
    readelf -hW "$file" | grep -q 'DYN ' || { echo "not PIE: $file"; exit 1; }
    readelf -dW "$file" | grep -q 'BIND_NOW\|NOW' || { echo "no full RELRO: $file"; exit 1; }
    readelf -lW "$file" | grep 'GNU_STACK' | grep -q 'RW ' || { echo "executable stack: $file"; exit 1; }
done
