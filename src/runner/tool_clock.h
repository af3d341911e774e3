/* SPDX-License-Identifier: Apache-2.0 */
/* Measures for how long a run only waited for its caller: its wall-clock limit stands still during that time. The
 * measure is the kernel's CPU time, never what the child says. In a stretch between two measurements, the time in
 * which a call was in progress counts as waiting if the process used less than 1 % of a CPU. Measurements are 100
 * ms apart, and further apart while the process sleeps, so that a wait of days costs almost nothing. */
#ifndef PX_RUNNER_TOOL_CLOCK_H
#define PX_RUNNER_TOOL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct px_tool_clock {
    int64_t looked_ns, cpu_ns; /* time of the last measurement; 0: none yet */
    int64_t period_ns;         /* time until the next one */
    int64_t since_ns;          /* since when a call has been in progress, or 0 */
    int64_t waited_ns;         /* time with a call in progress, since the last measurement */
    int64_t total_ns;          /* total time with a call in progress */
};

/* A call is in progress from now on, or none is. */
void px_tool_clock_set(struct px_tool_clock *clock, bool waiting, int64_t now);

/* True if the last measurement is so long ago that another one is worth its cost. */
bool px_tool_clock_is_due(const struct px_tool_clock *clock, int64_t now);

/* Returns when the next measurement is due while a call is in progress; INT64_MAX: never. */
int64_t px_tool_clock_next(const struct px_tool_clock *clock);

/* Measures. `cpu` is the process's CPU time. Returns for how long the process only waited since the last
 * measurement. */
int64_t px_tool_clock_look(struct px_tool_clock *clock, int64_t now, int64_t cpu);

#endif
