#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prepares a compiler for musl: tools/musl-compiler.sh FOLDER writes FOLDER/bin/musl-cc and FOLDER/musl.ini, meson's file for a build with it.
# It exits with 3 if something that it needs is missing.
#
# Debian's musl-gcc has no headers of the kernel, so links to those of this machine are put into FOLDER/include, and Python's headers
# find their pyconfig.h there too. Libraries of FOLDER/root are found first, if there are any.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mkdir -p "${1:?usage: tools/musl-compiler.sh FOLDER}/bin" "$1/include" && cd "$1" && pwd)
machine=$(uname -m)

for tool in musl-gcc gcc pkg-config; do
    command -v "$tool" >/dev/null || { echo "pyexec: a build with musl needs $tool (Debian: apt-get install musl-tools)" >&2; exit 3; }
done
kernel=$(printf '#include <asm/unistd.h>\n' | gcc -E - | sed -n 's/^# [0-9]* "\(.*\)\/asm\/unistd.h".*/\1/p' | head -n 1)
ln -sfn /usr/include/linux "$folder/include/linux"
ln -sfn /usr/include/asm-generic "$folder/include/asm-generic"
ln -sfn "$kernel/asm" "$folder/include/asm"
mkdir -p "$folder/include/$machine-linux-gnu"
for python in "/usr/include/$machine-linux-gnu"/python3.*; do
    [ ! -e "$python" ] || ln -sfn "$python" "$folder/include/$machine-linux-gnu/"
done
cat >"$folder/bin/musl-cc" <<END
#!/bin/sh
case "\$*" in -print-multiarch | --print-multiarch) echo $machine-linux-musl; exit ;; esac
exec musl-gcc -isystem "$folder/root/include" -isystem "$folder/include" "\$@"
END
chmod +x "$folder/bin/musl-cc"
cat >"$folder/musl.ini" <<END
[binaries]
c = ['$folder/bin/musl-cc']
ar = 'gcc-ar'
strip = 'strip'
pkgconfig = 'pkg-config'
[built-in options]
c_link_args = ['-L$folder/root/lib']
[properties]
needs_exe_wrapper = false
pkg_config_libdir = ['$folder/root/lib/pkgconfig']
python_includes = ['$("$source/tools/python-includes.sh")']
[host_machine]
system = 'linux'
cpu_family = '$machine'
cpu = '$machine'
endian = 'little'
END
