/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

int64_t px_clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return px_timespec_ns(now);
}

int64_t px_now_ns(void)
{
    return px_clock_ns(CLOCK_MONOTONIC);
}
