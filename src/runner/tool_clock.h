/* SPDX-License-Identifier: Apache-2.0 */
/* How long a run only waited for its caller: its wall-clock limit stands still meanwhile.
 *
 * By the kernel's measure of CPU time, never by the child's word: of a stretch of time between two looks, the part in
 * which a call was under way counts as waiting when the process used less than 1 % of a CPU. Looks are 100 ms apart,
 * and further apart while the process sleeps, so that a wait of days costs next to nothing. */
#ifndef PX_RUNNER_TOOL_CLOCK_H
#define PX_RUNNER_TOOL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct px_tool_clock {
    int64_t looked_ns, cpu_ns; /* at the last look; 0: none yet */
    int64_t period_ns;         /* to the next */
    int64_t since_ns;          /* a call has been under way since, or 0 */
    int64_t waited_ns;         /* with one under way, since the last look */
    int64_t total_ns;          /* with one under way, in all */
};

/* A call is under way from now on, or none is. */
void px_tool_clock_set(struct px_tool_clock *clock, bool waiting, int64_t now);

/* Whether the last look is so long ago that the next one is worth it. */
bool px_tool_clock_is_due(const struct px_tool_clock *clock, int64_t now);

/* When the next look is due while a call is under way; INT64_MAX: never. */
int64_t px_tool_clock_next(const struct px_tool_clock *clock);

/* A look; `cpu` is the process's CPU time. Returns for how long it only waited since the last look. */
int64_t px_tool_clock_look(struct px_tool_clock *clock, int64_t now, int64_t cpu);

#endif
