/* SPDX-License-Identifier: Apache-2.0 */
/* Included first in the guest extension of a bundle, which must load into interpreters on systems with glibc
 * 2.31 (Debian 11). What this build's headers would take from a later version of glibc comes from an earlier
 * one, or from old_libc.c. */
#ifndef PX_BASE_OLD_LIBC_H
#define PX_BASE_OLD_LIBC_H

/* In libdl before glibc 2.34. Every such interpreter has loaded libdl. */
#if defined(__x86_64__)
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver dlsym,dlsym@GLIBC_2.17");
#endif

#endif
