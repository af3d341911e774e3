/* SPDX-License-Identifier: Apache-2.0 */
/* Included first in the guest extension of a bundle, which must load into interpreters on systems with glibc
 * 2.31 (Debian 11). What this build's headers would take from a later version of glibc comes from an earlier
 * one, or from old_libc.c. */
#ifndef PX_BASE_OLD_LIBC_H
#define PX_BASE_OLD_LIBC_H

/* In glibc 2.32 or 2.34 these functions moved to libc itself, with a new symbol version. Before that they were in
 * libdl and libpthread, which every such interpreter has loaded, with the first symbol version of the
 * architecture. So the extension asks for that first version. */
#if defined(__x86_64__)
#define PX_FIRST_VERSION "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define PX_FIRST_VERSION "GLIBC_2.17"
#endif
#ifdef PX_FIRST_VERSION
#define PX_FIRST(name) __asm__(".symver " #name "," #name "@" PX_FIRST_VERSION)
PX_FIRST(dlsym);
PX_FIRST(pthread_create);
PX_FIRST(pthread_join);
PX_FIRST(pthread_kill);
PX_FIRST(pthread_sigmask);
PX_FIRST(sem_destroy);
PX_FIRST(sem_init);
PX_FIRST(sem_post);
PX_FIRST(sem_wait);
#endif

#endif
