#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prepares a compiler for musl: tools/musl-compiler.sh FOLDER writes FOLDER/bin/musl-cc and FOLDER/musl.ini, meson's file for a build with it.
# With FILTERS, the seccomp_filters.c of a build for glibc, meson makes none itself. PYEXEC_MACHINE=aarch64 prepares a cross compiler, with the
# tree of tools/arm64-tree.sh. It exits with 3 if something that it needs is missing.
#
# Debian's musl-gcc has no headers of the kernel, so links to those of this machine are put into FOLDER/include, and Python's headers
# find their pyconfig.h there too. Libraries of FOLDER/root are found first, if there are any.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mkdir -p "${1:?usage: tools/musl-compiler.sh FOLDER [FILTERS]}/bin" "$1/include" && cd "$1" && pwd)
filters=${2:-}
here=$(uname -m)
machine=${PYEXEC_MACHINE:-$here}
tree='' python_includes=$("$source/tools/python-includes.sh") wrapper=''

for tool in musl-gcc gcc pkg-config; do
    command -v "$tool" >/dev/null || { echo "pyexec: a build with musl needs $tool (Debian: apt-get install musl-tools)" >&2; exit 3; }
done
if [ "$machine" = "$here" ]; then
    compiler=musl-gcc
    kernel=$(printf '#include <asm/unistd.h>\n' | gcc -E - | sed -n 's/^# [0-9]* "\(.*\)\/asm\/unistd.h".*/\1/p' | head -n 1)
else
    tree=${PYEXEC_ARM64:-$source/build/arm64}/tree
    [ -d "$tree/usr/lib/$machine-linux-musl" ] || { echo "pyexec: there is no musl for $machine in $tree: run tools/arm64-tree.sh" >&2; exit 3; }
    # musl-gcc is gcc with a file of options, which names folders of this machine.
    sed "s#/usr/\(lib\|include\)/$here-linux-musl#$tree/usr/\1/$machine-linux-musl#g; s#ld-musl-$here#ld-musl-$machine#" \
        "/usr/lib/$here-linux-musl/musl-gcc.specs" >"$folder/musl-gcc.specs"
    compiler="$machine-linux-gnu-gcc -specs $folder/musl-gcc.specs"
    # The functions for atomics in Debian's libgcc call __getauxval, which only glibc has.
    [ "$machine" != aarch64 ] || compiler="$compiler -mno-outline-atomics"
    kernel=$tree/usr/include/$machine-linux-gnu
    python_includes=-I$(echo "$tree"/usr/include/python3.*)
    wrapper="exe_wrapper = ['qemu-$machine', '-L', '$tree']"
fi
ln -sfn "$tree/usr/include/linux" "$folder/include/linux"
ln -sfn "$tree/usr/include/asm-generic" "$folder/include/asm-generic"
ln -sfn "$kernel/asm" "$folder/include/asm"
mkdir -p "$folder/include/$machine-linux-gnu"
for python in "$tree/usr/include/$machine-linux-gnu"/python3.*; do
    [ ! -e "$python" ] || ln -sfn "$python" "$folder/include/$machine-linux-gnu/"
done
cat >"$folder/bin/musl-cc" <<END
#!/bin/sh
case "\$*" in -print-multiarch | --print-multiarch) echo $machine-linux-musl; exit ;; esac
exec $compiler -isystem "$folder/root/include" -isystem "$folder/include" "\$@"
END
chmod +x "$folder/bin/musl-cc"
cat >"$folder/musl.ini" <<END
[binaries]
c = ['$folder/bin/musl-cc']
ar = 'gcc-ar'
strip = 'strip'
pkgconfig = 'pkg-config'
$wrapper
[built-in options]
c_link_args = ['-L$folder/root/lib']
[properties]
needs_exe_wrapper = $([ "$machine" = "$here" ] && echo false || echo true)
pkg_config_libdir = ['$folder/root/lib/pkgconfig']
python_includes = ['$python_includes']
seccomp_filters = '$filters'
[host_machine]
system = 'linux'
cpu_family = '$machine'
cpu = '$machine'
endian = 'little'
END
