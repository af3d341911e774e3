/* SPDX-License-Identifier: Apache-2.0 */
/* Starting threads at the limit of threads. */
#ifndef PX_GUEST_THREADS_H
#define PX_GUEST_THREADS_H

/* Zygote: from here on, starting a thread waits a little for one that is ending. join() returns
 * when Python's part of a thread has ended; the kernel counts it (RLIMIT_NPROC) until it is gone,
 * so that the next start would fail at random. 0, or -1 with a Python exception set. */
int px_threads_install(void);

#endif
