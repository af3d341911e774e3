/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks in nanoseconds, and condition variables that wait on the monotonic clock: setting the machine's time
 * neither shortens nor lengthens a wait. */
#ifndef PX_BASE_CLOCK_H
#define PX_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>

#define PX_NS_PER_MS INT64_C(1000000)
#include <time.h>

static inline int64_t px_timespec_ns(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t px_clock_ns(clockid_t clock);

/* CLOCK_MONOTONIC. */
int64_t px_now_ns(void);

/* These two are inline so that only the rooms that use threads need to link them. */
static inline void px_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &clock);
    pthread_condattr_destroy(&clock);
}

/* Waits until the condition is signalled or px_now_ns() reaches `when_ns`. Returns 0, or ETIMEDOUT. */
static inline int px_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t when_ns)
{
    struct timespec at = {.tv_sec = when_ns / 1000000000, .tv_nsec = when_ns % 1000000000};
    return pthread_cond_timedwait(cond, mutex, &at);
}

#endif
