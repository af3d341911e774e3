/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a thread when the limit of threads has been reached. */
#ifndef PX_GUEST_THREADS_H
#define PX_GUEST_THREADS_H

/* Called in the zygote: from here on, starting a thread at the limit waits a short time for another thread to end.
 * join() returns when Python's part of a thread has ended, but the kernel counts the thread (RLIMIT_NPROC) until
 * it is gone. Without the wait the next start would sometimes fail. Returns 0, or -1 with a Python exception set. */
int px_threads_install(void);

#endif
