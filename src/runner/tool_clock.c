/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/tool_clock.h"

#include "base/clock.h"

#define TOOL_WINDOW_NS (100 * PX_NS_PER_MS)
#define PERIOD_MAX_NS (5000 * PX_NS_PER_MS)
#define SHARE 100 /* 1 % */

static void settle(struct px_tool_clock *clock, int64_t now)
{
    if (!clock->since_ns)
        return;
    clock->waited_ns += now - clock->since_ns;
    clock->total_ns += now - clock->since_ns;
    clock->since_ns = now;
}

void px_tool_clock_set(struct px_tool_clock *clock, bool waiting, int64_t now)
{
    settle(clock, now);
    clock->since_ns = waiting ? now : 0;
}

bool px_tool_clock_is_due(const struct px_tool_clock *clock, int64_t now)
{
    return now - clock->looked_ns >= TOOL_WINDOW_NS;
}

int64_t px_tool_clock_next(const struct px_tool_clock *clock)
{
    return clock->since_ns ? clock->looked_ns + clock->period_ns : INT64_MAX;
}

/* Returns how much of `waited` the process only waited. In a window (100 ms) in which it used 1 % of a CPU, it did not only
 * wait. If it used less than that in the whole stretch, there is no such window. If it used more, each such 1 % may have been
 * in another window, so one window is subtracted for each. */
static int64_t stood_still(int64_t stretch, int64_t waited, int64_t used)
{
    if (used < TOOL_WINDOW_NS / SHARE || (stretch < 2 * TOOL_WINDOW_NS && used < stretch / SHARE))
        return waited;
    int64_t busy = stretch < 2 * TOOL_WINDOW_NS ? stretch : used * SHARE;
    return waited > busy ? waited - busy : 0;
}

int64_t px_tool_clock_look(struct px_tool_clock *clock, int64_t now, int64_t cpu)
{
    settle(clock, now);
    bool first = !clock->looked_ns;
    int64_t stretch = now - clock->looked_ns, used = cpu - clock->cpu_ns;
    int64_t still = first || cpu < 0 ? 0 : stood_still(stretch, clock->waited_ns, used);
    bool sleeps = !first && cpu >= 0 && used < stretch / (10 * SHARE);
    clock->period_ns = sleeps && clock->since_ns ? clock->period_ns * 2 : TOOL_WINDOW_NS;
    if (clock->period_ns < TOOL_WINDOW_NS)
        clock->period_ns = TOOL_WINDOW_NS;
    if (clock->period_ns > PERIOD_MAX_NS)
        clock->period_ns = PERIOD_MAX_NS;
    clock->looked_ns = now;
    clock->cpu_ns = cpu;
    clock->waited_ns = 0;
    return still;
}
