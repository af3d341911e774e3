/* SPDX-License-Identifier: Apache-2.0 */
/* The library's threads. They block every signal, so that no handler of the host program runs on one of them:
 * their stacks are small, and they may hold a lock. */
#ifndef PX_BASE_THREAD_H
#define PX_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>

/* As pthread_create(3): returns 0 or an errno. Inline so that only the rooms that use threads need to link it. */
static inline int px_thread_create(pthread_t *ret, void *(*run)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(ret, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

#endif
