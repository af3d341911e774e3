/* SPDX-License-Identifier: Apache-2.0 */
/* Included before all else in a bundle's guest extension, which the interpreters of systems with glibc
 * 2.31 (Debian 11) load: what this build's headers would take from a later version is taken from an
 * earlier one, or from old_libc.c. */
#ifndef PX_BASE_OLD_LIBC_H
#define PX_BASE_OLD_LIBC_H

/* In libdl until 2.34, which every such interpreter has loaded. */
#if defined(__x86_64__)
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver dlsym,dlsym@GLIBC_2.17");
#endif

#endif
