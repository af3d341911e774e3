/* SPDX-License-Identifier: Apache-2.0 */
/* The library's threads. They block every signal, so that no handler of the host program runs on one of them:
 * their stacks are small, and they may hold a lock. */
#ifndef PX_BASE_THREAD_H
#define PX_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

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

/* As pthread_create(3), with a stack of this size. The program has blocked its signals itself. */
static inline int px_thread_create_sized(pthread_t *ret, size_t stack_bytes, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    int failed = pthread_create(ret, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    return failed;
}

/* For any number of threads that end at any time. Each thread joins the one that ended before it, and their owner joins
 * the last one. So no thread is left when the owner is freed, and at most one ended thread waits to be joined. The
 * owner's lock protects the struct. {0}: no thread has ended. A detached thread could still run when the module with
 * its code is already unloaded. */
struct px_ended_threads {
    pthread_t last;
    bool any;
};

/* A thread calls this at its end, with the lock held. It then releases the lock, and joins the thread that is returned. */
static inline struct px_ended_threads px_threads_leave(struct px_ended_threads *ended)
{
    struct px_ended_threads before = *ended;
    *ended = (struct px_ended_threads){pthread_self(), true};
    return before;
}

static inline void px_threads_join(struct px_ended_threads ended)
{
    if (ended.any)
        pthread_join(ended.last, NULL);
}

#endif
