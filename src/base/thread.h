/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the library. They block every signal, so that none of the host's handlers runs on
 * one: its stack is small, and it may hold a lock. */
#ifndef PX_BASE_THREAD_H
#define PX_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>

/* As pthread_create(3): 0, or an errno. Inline so that only the rooms that have threads need it. */
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
