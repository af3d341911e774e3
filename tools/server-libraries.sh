# SPDX-License-Identifier: Apache-2.0
# Functions of tools/old-libc.sh and tools/static-libraries.sh, which read it: the libraries of the server from Debian's sources, with only what
# pyexec uses, because Debian's own need sixty others (LDAP, Kerberos, SSH, GnuTLS, ICU). Each is built in its folder below
# $folder/sources. The arguments are those of configure for a static or a shared library.

# The same hardening as pyexec's own (meson.build).
hardening="-O2 -fPIC -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero -D_FORTIFY_SOURCE=2"
[ "${PYEXEC_MACHINE:-$(uname -m)}" != x86_64 ] || hardening="$hardening -fcf-protection"

configure() {
    # The patches of Debian are newer than what was made of the patched files.
    find . -name aclocal.m4 -exec touch {} +
    find . \( -name configure -o -name config.h.in -o -name Makefile.in \) -exec touch {} +
    quietly ./configure -q "$@"
}

build_microhttpd() {
    cd "$folder/sources/libmicrohttpd"
    configure "$@" --disable-https --disable-curl --disable-doc --disable-examples --disable-bauth --disable-dauth
    quietly make -s -j"$(nproc)"
    quietly make -s install DESTDIR="$destination"
}

build_archive() {
    cd "$folder/sources/libarchive"
    configure "$@" --disable-bsdtar --disable-bsdcpio --disable-bsdcat --disable-xattr --disable-acl --without-zlib --without-bz2lib \
        --without-libb2 --without-iconv --without-lz4 --without-zstd --without-lzma --without-lzo2 --without-cng --without-openssl \
        --without-xml2 --without-expat --without-nettle --without-mbedtls
    quietly make -s -j"$(nproc)" libarchive.la
    quietly make -s install-libLTLIBRARIES install-includeHEADERS install-pkgconfigDATA DESTDIR="$destination"
}

build_curl() {
    cd "$folder/sources/curl"
    [ -x configure ] || quietly autoreconf -fi
    configure "$@" --with-openssl --without-zlib --without-brotli --without-zstd --without-libpsl --without-libidn2 --without-nghttp2 \
        --without-librtmp --without-libgsasl --without-gssapi --disable-ldap --disable-ldaps --disable-rtsp --disable-dict --disable-telnet \
        --disable-tftp --disable-pop3 --disable-imap --disable-smb --disable-smtp --disable-gopher --disable-mqtt --disable-ftp \
        --disable-file --disable-manual --disable-libcurl-option --disable-unix-sockets --disable-ntlm --disable-alt-svc --disable-hsts \
        --with-ca-bundle=/etc/ssl/certs/ca-certificates.crt
    quietly make -s -j"$(nproc)" -C lib
    quietly make -s -C lib install DESTDIR="$destination"
    quietly make -s -C include install DESTDIR="$destination"
    quietly make -s install-pkgconfigDATA DESTDIR="$destination"
}
