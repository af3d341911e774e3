#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints meson's file for a cross build for arm64: tools/arm64-cross.sh PYTHON_INCLUDES [TREE]. Its filters are made by a program of arm64,
# because they need the numbers of that architecture; qemu-aarch64 runs it. TREE has the libraries (tools/arm64-tree.sh); without it they are
# those of this machine.
set -eu
includes=${1:?usage: tools/arm64-cross.sh PYTHON_INCLUDES [TREE]} tree=${2:-}
# With -B the C library is that of the tree, and not the one of the cross compiler, which gets no updates.
cat <<END
[constants]
tree = '$tree'
[binaries]
c = ['aarch64-linux-gnu-gcc'${tree:+", '--sysroot=' + tree, '-B' + tree + '/usr/lib/aarch64-linux-gnu/'"}]
ar = 'aarch64-linux-gnu-gcc-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64'${tree:+", '-L', tree"}]
[properties]
needs_exe_wrapper = true
${tree:+sys_root = tree}
pkg_config_libdir = tree + '/usr/lib/aarch64-linux-gnu/pkgconfig:' + tree + '/usr/share/pkgconfig'
python_includes = ['$includes']
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
END
